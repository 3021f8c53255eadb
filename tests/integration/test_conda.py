"""Rules with a `conda:` environment: made once here, packed once, sent once to each pilot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from conda_channel import PLACEHOLDER, Channel, add_programs, install_conda
from conftest import WebServer, Workflow

JOB_IMAGE = "/opt/sif/job.sif"

SNAKEFILE = """
rule all:
    input:
        expand("{kind}/{n}.txt", kind=["r", "python", "wrapped"], n=range(15)),
        expand("shell/{n}.txt", n=range(15)),

rule by_r:
    output: "r/{n}.txt"
    conda: "envs/r.yaml"
    script: "scripts/report.R"

rule by_python:
    output: "python/{n}.txt"
    conda: "envs/python.yaml"
    script: "scripts/report.py"

rule by_wrapper:
    output: "wrapped/{n}.txt"
    wrapper: "file:wrappers/stamp"

rule by_shell:
    output: "shell/{n}.txt"
    conda: "envs/r.yaml"
    shell:
        "Rscript -e 'cat({wildcards.n} * 2)' > {output}; echo >> {output}; "
        "cat $CONDA_PREFIX/share/deployed >> {output}; [ $CONDA_PREFIX/bin/Rscript = $(command -v Rscript) ]"
"""

FILES = {
    "scripts/report.R": """
        numbers <- c(as.numeric(snakemake@wildcards$n), 2, 3)
        writeLines(c(as.character(mean(numbers)), R.version$major), snakemake@output[[1]])
    """,
    "scripts/report.py": """
        import json, sys
        inside = sys.prefix == __import__("os").environ["CONDA_PREFIX"]
        with open(snakemake.output[0], "w") as file:
            print(json.dumps([snakemake.wildcards.n, inside, sys.version_info[:2]]), file=file)
    """,
    "wrappers/stamp/wrapper.py": """
        from snakemake.shell import shell
        shell("stamp {snakemake.wildcards.n} > {snakemake.output[0]}")
    """,
}

ENVIRONMENTS = {
    "envs/r.yaml": "r=4.5",
    "envs/python.yaml": "python=3.13",
    "wrappers/stamp/environment.yaml": "stamp=1.0, python=3.13",
}


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with R, Python, and a package whose files have the prefix in texts and binaries."""
    folder = tmp_path_factory.mktemp("channel")
    made = Channel(folder / "channel")
    add_programs(made, folder, large=False)
    for version in ("1.0", "2.0", "3.0"):
        made.add("words", version, {"share/words": f"words {version}\n"})
    files = {
        "bin/greet": f'#!/bin/bash\necho "$1"\ncat {PLACEHOLDER}/share/words\n',
        "etc/conda/activate.d/greet.sh": "export GREETING=activated\n",
    }
    made.add("greet", "1.2", files, ("words >=2,<3",))
    return folder / "channel"


@pytest.fixture
def served(channel: Path, web: WebServer) -> str:
    """The URL of the channel on a web server, which notes what is fetched."""
    (web.folder / "channel").symlink_to(channel)
    return f"{web.url}/channel"


@pytest.fixture(autouse=True)
def conda(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a program `conda` on this host, with a cache of packages of its own."""
    folder = tmp_path_factory.mktemp("conda")
    programs = install_conda(folder)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("OSGPILOT_CACHE", str(folder / "cache"))
    return programs


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        indent = re.match(r"\n( *)", text)
        (folder / name).write_text(text.replace(indent[0], "\n") if indent else text)


def prepare(folder: Path, channel: str) -> None:
    write(folder, FILES | {"Snakefile": SNAKEFILE})
    for name, needs in ENVIRONMENTS.items():
        text = f"channels: [{channel}, nodefaults]\ndependencies: [{needs}]\n"
        write(folder, {name: text})
    write(folder, {"envs/r.post-deploy.sh": "echo deployed > $CONDA_PREFIX/share/deployed\n"})


def made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.txt")}


def locally(folder: Path, *extra: str) -> dict[str, bytes]:
    """Return what the local executor makes of a workflow."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--sdm", "conda", *extra]
    subprocess.run(command, cwd=folder, check=True)
    return made(folder)


def ads(workflow: Workflow) -> list[dict]:
    (run,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    name = run.parent.name
    asked = ["condor_history", "-json", "-constraint", f'OSGPilotWorkflow == "{name}"']
    return json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)


def images(conda: Path) -> list[Path]:
    return sorted((conda.parent.parent / "cache/environments").glob("conda-*.sif"))


def test_each_environment_is_made_once_and_sent_once_to_each_pilot(
    workflow: Workflow, served: str, web: WebServer, conda: Path, tmp_path_factory
):
    folder = workflow.folder
    prepare(folder, served)
    assert workflow.run("--sdm", "conda") == 0, workflow.said
    outputs = made(folder)
    assert len(outputs) == 60
    assert len(images(conda)) == 3
    assert len([each for each in folder.glob(".snakemake/conda/*_") if each.is_dir()]) == 3
    assert workflow.said.count("Creating conda environment") == 3
    assert workflow.said.count("packing the conda environment") == 3
    assert "needs Snakemake" not in workflow.said

    pilots = defaultdict(set)
    jobs = ads(workflow)
    for ad in jobs:
        pilots[ad["ContainerImage"]].add(ad["LastRemoteHost"].partition("@")[2])
    log = next(folder.glob(".snakemake/osgpilot/*/jobs.log")).read_text()
    sent = log.count("Started transferring common files")
    assert (len(jobs), len(pilots), sent) == (60, 3, sum(map(len, pilots.values())))
    assert max(ad["BytesRecvd"] for ad in jobs) < 1_000_000

    clone = tmp_path_factory.mktemp("local")
    prepare(clone, served)
    assert locally(clone) == outputs

    web.asked.clear()
    assert workflow.run("--sdm", "conda", "--forceall") == 0, workflow.said
    assert made(folder) == outputs
    assert "packing" not in workflow.said
    assert "Creating conda" not in workflow.said
    assert not web.asked
