"""The same workflow by the local executor, to compare with."""

from pathlib import Path

import preloaded
from conftest import PATIENCE_S, Workflow

IMAGE = "/opt/sif/job.sif"
"""Has Python 3, R and R Markdown, and no Snakemake."""

IN_IMAGE = ("--default-resources", "mem_mb=500", "disk_mb=100", f"container_image={IMAGE}")
"""Has all rules run in that image."""


def prepare(workflow: Workflow, local: Path, text: str, **given: str) -> None:
    """Write a Snakefile and files, by path, into the folders of both."""
    for folder in (workflow.folder, local):
        for name, content in {"Snakefile": text, **given}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)


def run_locally(folder: Path, *options: str, status: int = 0) -> str:
    """Run the workflow of `folder` by the local executor; return what it says."""
    said = folder / "said"
    done = preloaded.start(["--cores", "4", *options], folder, said).wait(PATIENCE_S)
    assert done == status, said.read_text()
    return said.read_text()


def files(folder: Path, *but: str) -> dict[str, bytes]:
    """Return all that a run left behind, apart from its own files and those named `but`."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {str(path.relative_to(folder)): path for path in paths if path.suffix != ".pyc"}
    own = (".snakemake", "said", "site.yaml", *but)
    return {name: path.read_bytes() for name, path in named.items() if not name.startswith(own)}


def notebook(code: str, language: str = "python", kernel: str = "python3") -> dict[str, object]:
    """Return a notebook with one cell."""
    cell = {"cell_type": "code", "metadata": {}, "source": code, "outputs": []}
    spec = {"display_name": language, "language": language, "name": kernel}
    return {
        "cells": [{**cell, "execution_count": None}],
        "metadata": {"kernelspec": spec, "language_info": {"name": language}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
