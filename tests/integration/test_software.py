"""Rules whose software is not just a shell: R, notebooks, environment modules."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow

RUNTIME = "/opt/sif/runtime.sif"
JOB_IMAGE = "/opt/sif/job.sif"

SNAKEFILE = r"""
configfile: "config.yaml"

rule all:
    input: "out/it's, $HOME.txt"

rule report:
    input: "in.txt", named="in.txt"
    output: "out/{name}.txt", other="out/{name}.more"
    log: "out/{name}.log"
    params: text="it's $x \"y\"\n", several=["a b", "c"], number=1.5, yes=True, nothing=None
    threads: 2
    resources: extra="more", container_image="/opt/sif/job.sif"
    script: "scripts/report.R"
"""

REPORT = r"""
snakemake@source("helper.R")
shown <- c(shout("hello"), capture.output(str(list(
    snakemake@input, snakemake@output, snakemake@params, snakemake@wildcards, snakemake@threads,
    snakemake@log, snakemake@config, snakemake@rule, snakemake@bench_iteration,
    snakemake@resources[["extra"]], Sys.getenv("OMP_NUM_THREADS"), basename(snakemake@scriptdir),
    dir.exists(snakemake@resources[["tmpdir"]]), basename(getwd()) == basename(Sys.getenv("PWD"))
))))
writeLines(shown, snakemake@output[[1]])
writeLines(snakemake@params[["text"]], snakemake@output[["other"]])
writeLines("logged", snakemake@log[[1]])
"""

HELPER = "shout <- function(text) toupper(text)\n"


def prepare(folder: Path) -> None:
    files = {
        "Snakefile": SNAKEFILE,
        "config.yaml": "greeting: hello\nnested: {list: [1, 2], text: [a, b]}\n",
        "in.txt": "in\n",
        "scripts/report.R": REPORT,
        "scripts/helper.R": HELPER,
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.fixture
def expected(tmp_path_factory, monkeypatch):
    """Return the result of the same rule with the local executor, with the R of the same image."""
    folder = tmp_path_factory.mktemp("local")
    prepare(folder)
    programs = folder / "programs"
    programs.mkdir()
    (programs / "Rscript").write_text(
        f'#!/bin/sh\nexec apptainer exec --bind "$PWD" {JOB_IMAGE} Rscript "$@"\n'
    )
    (programs / "Rscript").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    subprocess.run([sys.executable, "-m", "snakemake", "--cores", "2"], cwd=folder, check=True)
    return made(folder)


def test_a_script_in_r_needs_only_r_and_makes_what_it_makes_locally(workflow: Workflow, expected):
    prepare(workflow.folder)
    assert workflow.run() == 0, workflow.said
    assert made(workflow.folder) == expected
    assert "needs Snakemake" not in workflow.said


def notebook(*cells: str) -> str:
    return json.dumps(
        {
            "cells": [
                {
                    "cell_type": "code", "execution_count": None, "id": f"c{number}",
                    "metadata": {}, "outputs": [], "source": text,
                }
                for number, text in enumerate(cells)
            ],
            "metadata": {
                "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                "language_info": {"name": "python"},
            },
            "nbformat": 4, "nbformat_minor": 5,
        }
    )  # fmt: skip


def test_notebooks_and_environment_modules_run_where_snakemake_is(
    workflow: Workflow, shared: Path, monkeypatch
):
    folder = workflow.folder
    (folder / "notebooks").mkdir()
    (folder / "notebooks" / "count.ipynb").write_text(
        notebook("n = snakemake.params.n * 2", "print(n, file=open(snakemake.output[0], 'w'))")
    )
    (shared / "greeting").mkdir()
    (shared / "greeting" / "1.0").write_text("#%Module\nsetenv GREETING {hello from a module}\n")
    monkeypatch.setenv("MODULEPATH", str(shared))
    workflow.snakefile("""
envvars: "MODULEPATH"

rule all:
    input: "counted.txt", "greeted.txt"

rule counted:
    output: "counted.txt"
    log: notebook="logs/counted.ipynb"
    params: n=21
    notebook: "notebooks/count.ipynb"

rule greeted:
    output: "greeted.txt"
    envmodules: "greeting/1.0"
    shell: "echo $GREETING > {output}"
""")
    options = ["--sdm", "env-modules", "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run("--osgpilot-runtime-image", RUNTIME, *options) == 0, workflow.said
    assert (folder / "counted.txt").read_text() == "42\n"
    executed = json.loads((folder / "logs/counted.ipynb").read_text())
    assert [cell["execution_count"] for cell in executed["cells"]] == [1, 2, 3]
    assert (folder / "greeted.txt").read_text() == "hello from a module\n"
