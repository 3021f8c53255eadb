"""Working folders with any name, files at any path, and workflows in the usual layouts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
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


SNAKEFILE = r"""
import os
configfile: "config/config.yaml"
include: "rules/more.smk"
HERE = os.getcwd()

rule all:
    input:
        "results/aligned.txt", f"{HERE}/results/absolute.txt", "results/helped.txt",
        config["archive"] + "/final.txt", "../shared out/summary.txt", "results/summed.txt",
        "results/own.txt", "results/module/there.txt", "results/folder/listed.txt",

rule align:
    input: ref="../reference/genome.fa", index=config["genome"] + ".idx", reads="reads/a.txt"
    output: "results/aligned.txt"
    params: prefix=config["genome"]
    shell:
        "cat {input.ref:q} {input.reads} {params.prefix:q}.idx > {output}; "
        "echo {input} {params.prefix} >> {output}; pwd >> {output}; "
        "cat '../reference/genome.fa' >> {output}"

rule absolute:
    input: f"{HERE}/reads/a.txt"
    output: f"{HERE}/results/absolute.txt"
    log: f"{HERE}/logs/absolute.log"
    shell: "cat {input:q} > {output:q}; echo {output:q} >> {output:q}; echo note > {log:q}"

rule helped:
    input: "reads/a.txt"
    output: "results/helped.txt"
    shell:
        "bash {workflow.basedir:q}/scripts/helper.sh {input} > {output}; "
        "bash {config[helper]:q} {input} >> {output}"

rule archive:
    input: "results/aligned.txt"
    output: config["archive"] + "/final.txt", "../shared out/summary.txt"
    shell: "cp {input} {output[0]:q}; wc -l < {input} > {output[1]:q}"

rule folder:
    input: config["archive"] + "/final.txt"
    output: directory("../shared out/parts"), "results/folder/listed.txt"
    shell:
        "mkdir {output[0]:q}; for i in 1 2; do echo $i > {output[0]:q}/$i; done; "
        "ls {output[0]:q} > {output[1]}"

checkpoint names:
    input: "../shared out/summary.txt"
    output: "results/names.txt"
    shell: "printf 'x\ny\n' > {output}"

rule part:
    input: "../reference/genome.fa"
    output: "results/parts/{n}.txt"
    shell: "cat {input:q} > {output}; echo {wildcards.n} >> {output}"

def parts(wildcards):
    with open(checkpoints.names.get().output[0]) as names:
        return [f"results/parts/{n}.txt" for n in names.read().split()]

rule sum:
    input: parts
    output: "results/summed.txt"
    shell: "cat {input} > {output}"

module other:
    snakefile: "modules/other.smk"
    config: config
    prefix: "results/module"
use rule * from other as other_*
"""

MORE = r"""
rule own:
    output: "results/own.txt"
    params: tool=workflow.source_path("../scripts/tool.sh")
    shell: "bash {params.tool:q} > {output}"
"""

OTHER = r"""
rule there:
    output: "there.txt"
    params: tool=workflow.source_path("../scripts/tool.sh")
    shell: "bash {params.tool:q} > {output}"
"""


def pipeline(top: Path) -> tuple[Path, Path]:
    """Make a pipeline of the standard layout, and beside it an analysis and what this needs."""
    flow, analysis, data = top / "pipeline v1" / "workflow", top / ODD, top / "data"
    files = {
        flow / "Snakefile": SNAKEFILE,
        flow / "rules" / "more.smk": MORE,
        flow / "modules" / "other.smk": OTHER,
        flow / "scripts" / "helper.sh": '. "$(dirname "$0")/lib/common.sh"; upper "$1"\n',
        flow / "scripts" / "lib" / "common.sh": 'upper() { tr a-z A-Z < "$1"; }\n',
        flow / "scripts" / "tool.sh": "echo tool\n",
        top / "reference" / "genome.fa": ">chr1\nACGT\n",
        data / "genomes" / "hg38.idx": "index\n" * 20_000,
        analysis / "reads" / "a.txt": "reads\n",
        analysis / "tools" / "local.sh": 'sed s/^/local:/ "$1"\n',
        analysis / "config" / "config.yaml": (
            f"genome: {data}/genomes/hg38\narchive: {top}/archive\nhelper: tools/local.sh\n"
        ),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return flow / "Snakefile", analysis


def made(top: Path) -> dict[str, bytes]:
    """Return what a run of `pipeline` made, by path."""
    found = [*top.glob("*/results/**/*"), *top.glob("archive/*"), *top.glob("shared out/**/*")]
    found += top.glob("*/logs/*")
    paths = (path for path in found if path.is_file() and path.name != ".snakemake_timestamp")
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


@pytest.fixture(params=["in an image", "without an image"])
def analyses(tmp_path: Path, request) -> Iterator[tuple[Workflow, Path]]:
    snakefile, folder = pipeline(tmp_path)
    workflow = Workflow(folder)
    yield workflow, snakefile, request.param == "in an image"
    workflow.stop()


def test_a_pipeline_elsewhere_runs_as_it_does_locally(analyses, tmp_path):
    workflow, snakefile, has_image = analyses
    where = ["--snakefile", str(snakefile), "--directory", str(workflow.folder)]
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *where], cwd=tmp_path, check=True
    )
    expected = made(tmp_path)
    assert len(expected) == 15
    for name in expected:
        (tmp_path / name).unlink()
    shutil.rmtree(tmp_path / "shared out")
    shutil.rmtree(workflow.folder / ".snakemake")
    image = "container_image='/opt/sif/job.sif'"
    done = workflow.run(
        *where, *(["--default-resources", "mem_mb=500", "disk_mb=100", image] if has_image else [])
    )
    assert done == 0, workflow.said
    found = made(tmp_path)
    if not has_image:
        # its own name for the folder that stands for /
        found = {
            name: re.sub(rb"/\S+/osgpilot-root(?=/)", b"", data) for name, data in found.items()
        }
    assert found == expected
