"""Working folders with any name, files at any path, and workflows in the usual layouts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Workflow

ODD = "my project (v1, it's ä)"
ODDER = 'a "quoted" $(HOME) [x] \\ %j #1 & ; $$(y)'


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Workflow]:
    """Return a workflow in an empty folder with an odd name, beside which files may be put."""
    folder = tmp_path / ODD
    folder.mkdir()
    made = Workflow(folder)
    yield made
    made.stop()


@pytest.mark.parametrize("name", [ODD, ODDER])
def test_a_working_folder_may_have_any_name(tmp_path, name):
    """Also with an image below it, and inputs and outputs of odd names too large to be packed."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "images").mkdir()
    (folder / "images" / "the job's.sif").symlink_to("/opt/sif/job.sif")
    (folder / "large, (1).txt").write_text("x" * 100_000)
    workflow = Workflow(folder)
    workflow.snakefile(
        """
rule all:
    input: "plain.txt", "in image.txt"
rule plain:
    input: "large, (1).txt"
    output: "plain.txt"
    shell: "wc -c < {input:q} > {output}"
rule image:
    input: "plain.txt"
    output: "in image.txt"
    resources: container_image="images/the job's.sif"
    shell: "cat {input} /.singularity.d/runscript > {output:q}"
"""
    )
    try:
        assert workflow.run() == 0, workflow.said
    finally:
        workflow.stop()
    assert (folder / "plain.txt").read_text().strip() == "100000"
    assert (folder / "in image.txt").read_text().startswith("100000\n#!/bin/sh")
    state = Path("~/.local/state/osgpilot/runs").expanduser()
    assert not list(state.iterdir())
    assert state.stat().st_mode & 0o77 == 0
