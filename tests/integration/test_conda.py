"""Rules with a `conda:` environment, of packages from a channel that a web server has."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from conftest import WebServer, Workflow

from snakemake_executor_plugin_osgpilot.local_pool.paths import KIT

RUNTIME = "/opt/sif/runtime.sif"
JOB_IMAGE = "/opt/sif/job.sif"
PLACEHOLDER = "/opt/" + 20 * "placeholder"
"""Stands in a package's files for the folder of the environment that it is installed into."""

SNAKEFILE = """
rule all:
    input: expand("{n}.txt", n=range(4)), "scripted.txt"

rule greeted:
    output: "{n}.txt"
    conda: "envs/greet.yaml"
    shell: "greet {wildcards.n} > {output}; echo $GREETING >> {output}"

rule scripted:
    output: "scripted.txt"
    conda: "envs/greet.yaml"
    script: "scripts/greet.sh"
"""


def package(folder: Path, name: str, version: str, needs: list[str], files: dict[str, str]) -> dict:
    """Put a package that any machine can use into `folder`; return its entry in the index."""
    index = {"name": name, "version": version, "build": "0", "build_number": 0, "depends": needs}
    index |= {"subdir": "noarch", "noarch": "generic"}
    held = {"prefix_placeholder": PLACEHOLDER, "file_mode": "text"}
    paths = [
        {"_path": path, "path_type": "hardlink", **(held if PLACEHOLDER in text else {})}
        for path, text in files.items()
    ]
    about = {
        "info/index.json": json.dumps(index),
        "info/paths.json": json.dumps({"paths_version": 1, "paths": paths}),
    }
    file = folder / f"{name}-{version}-0.tar.bz2"
    with tarfile.open(file, "w:bz2") as archive:
        for path, text in {**files, **about}.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(text), 0o755
            archive.addfile(member, io.BytesIO(text.encode()))
    content = file.read_bytes()
    index |= {"size": len(content), "md5": hashlib.md5(content).hexdigest()}
    return {file.name: index | {"sha256": hashlib.sha256(content).hexdigest()}}


@pytest.fixture
def channel(web: WebServer) -> str:
    """The URL of a channel with a program and, in three versions, what it needs."""
    folder = web.folder / "channel/noarch"
    folder.mkdir(parents=True)
    listed: dict[str, dict] = {}
    for version in ("1.0", "2.0", "3.0"):
        listed |= package(folder, "words", version, [], {"share/words": f"words {version}\n"})
    files = {
        "bin/greet": f'#!/bin/bash\necho "$1"\ncat {PLACEHOLDER}/share/words\n',
        "etc/conda/activate.d/greet.sh": "export GREETING=activated\n",
    }
    listed |= package(folder, "greet", "1.2", ["words >=2,<3"], files)
    reported = {"info": {"subdir": "noarch"}, "packages": listed, "packages.conda": {}}
    (folder / "repodata.json").write_text(json.dumps(reported | {"repodata_version": 1}))
    return f"{web.url}/channel"


def prepare(folder: Path, channel: str) -> None:
    files = {
        "Snakefile": SNAKEFILE,
        "envs/greet.yaml": f"channels: [{channel}, nodefaults]\ndependencies: [greet=1.2]\n",
        "envs/greet.post-deploy.sh": "echo and more >> $CONDA_PREFIX/share/words\n",
        "scripts/greet.sh": 'greet script > "${snakemake_output[0]}"\n',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def made(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.txt")}


@pytest.fixture
def conda(tmp_path_factory, monkeypatch) -> None:
    """Have a program `conda` on this host, too: Snakemake wants it wherever it runs."""
    programs = tmp_path_factory.mktemp("conda") / "bin"
    programs.mkdir()
    for name, source in (("conda", "conda"), ("activate", "conda-activate")):
        (programs / name).write_bytes((KIT / source).read_bytes())
        (programs / name).chmod(0o755)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)


@pytest.fixture
def expected(channel: str, tmp_path_factory, conda: None) -> dict[str, bytes]:
    """What the local executor makes of the same rules."""
    folder = tmp_path_factory.mktemp("local")
    prepare(folder, channel)
    locally = [sys.executable, "-m", "snakemake", "--cores", "2", "--sdm", "conda"]
    subprocess.run(locally, cwd=folder, check=True)
    return made(folder)


def test_environments_are_made_where_the_jobs_run_and_once_in_a_shared_folder(
    workflow: Workflow, channel: str, web: WebServer, expected: dict[str, bytes], shared: Path
):
    folder = workflow.folder
    prepare(folder, channel)
    assert expected["0.txt"] == b"0\nwords 2.0\nand more\nactivated\n"
    conda = ["--sdm", "conda", "--osgpilot-runtime-image", RUNTIME]

    web.asked.clear()
    assert workflow.run(*conda, "scripted.txt", "0.txt") == 0, workflow.said
    assert made(folder) == {name: expected[name] for name in ("scripted.txt", "0.txt")}
    fetched = "GET /channel/noarch/greet-1.2-0.tar.bz2"
    assert web.asked.count(fetched) == 2
    assert not list(folder.glob(".snakemake/conda/*"))

    web.asked.clear()
    envs = shared / "envs"
    once = ["--conda-prefix", str(envs), "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run(*conda, *once, "--forceall") == 0, workflow.said
    assert made(folder) == expected
    assert web.asked.count(fetched) == 1
    assert len([path for path in envs.iterdir() if path.is_dir()]) == 1


def test_what_no_environment_could_come_of_is_refused_at_once(
    workflow: Workflow, channel: str, conda: None
):
    prepare(workflow.folder, channel)
    assert workflow.run("--sdm", "conda", "--osgpilot-runtime-image", JOB_IMAGE) != 0
    assert f"rule greeted has a `conda:` environment and {JOB_IMAGE} has no conda" in workflow.said
    conda = ["--sdm", "conda", "--osgpilot-runtime-image", RUNTIME]
    own = str(workflow.folder / "envs-here")
    assert workflow.run(*conda, "--conda-prefix", own) != 0
    assert f"do not see --conda-prefix {own}: name a folder below one of" in workflow.said
