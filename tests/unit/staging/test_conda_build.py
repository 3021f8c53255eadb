"""The script of the job that makes an environment, run with stand-ins for conda."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from uuid import uuid4

import pytest

from snakemake_executor_plugin_osgpilot.runtime_image.conda import prefix_for
from snakemake_executor_plugin_osgpilot.staging.conda_build import ARCHIVE, CondaBuild
from snakemake_executor_plugin_osgpilot.staging.container_image import Image

NEEDED = ["bash", "cat", "chmod", "command", "gzip", "ln", "mkdir", "mv", "rm", "sh", "tar"]

FRONT_END = """#!/bin/sh
echo "$0" "$@" >> "$CALLS"
printenv CONDA_OVERRIDE_GLIBC CONDA_CHANNEL_PRIORITY >> "$CALLS"
while [ $# -gt 1 ]; do
    case $1 in --prefix) prefix=$2 ;; --file) file=$2 ;; esac
    shift
done
mkdir -p "$CONDA_PKGS_DIRS/downloaded"
mkdir -p "$prefix/bin" "$prefix/conda-meta" "$prefix/etc/conda/activate.d" "$prefix/share"
echo 'export ACTIVE=activated' > "$prefix/etc/conda/activate.d/x.sh"
cat "$file" > "$prefix/conda-meta/history"
ln -s tool "$prefix/bin/link"
: > "$prefix/share/$file"
! grep -q unsolvable "$file" || { echo "no solution" >&2; exit 1; }
"""


@pytest.fixture
def run(tmp_path):
    """Runs the script of a build where there are these programs; returns the finished process."""
    key = uuid4().hex[:12]
    programs, here = tmp_path / "programs", tmp_path / "it's here"
    programs.mkdir()
    here.mkdir()
    for name in (*NEEDED, "grep", "printenv"):
        if found := shutil.which(name):
            (programs / name).symlink_to(found)

    def run(*front_ends, file=b"dependencies: [x]\n", **more):
        for name in front_ends:
            (programs / name).write_text(FRONT_END)
            (programs / name).chmod(0o755)
        build = CondaBuild(key, "envs/x.yaml", "r", "image.sif", file, **more)
        (here / "script").write_bytes(os.fsencode(build.script()))
        environment = {"PATH": str(programs), "CALLS": str(tmp_path / "calls")}
        done = subprocess.run(
            ["bash", "script"], cwd=here, env=environment, capture_output=True, text=True
        )
        done.prefix, done.archive, done.calls = prefix_for(key), here / ARCHIVE, ""
        if (tmp_path / "calls").exists():
            done.calls = (tmp_path / "calls").read_text()
        # on a node, others may have the place where it was
        assert not os.path.lexists(done.prefix)
        assert not os.path.lexists(f"{done.prefix}.packages")
        return done

    yield run
    shutil.rmtree(prefix_for(key), ignore_errors=True)


def content(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as members:
        files = (each for each in members if each.isreg())
        return {os.path.normpath(each.name): members.extractfile(each).read() for each in files}


def test_an_environment_is_made_at_its_prefix_and_packed(run):
    file = b"dependencies: [x]  # it's $x \\ \xff\n"
    done = run("conda", file=file)
    assert done.returncode == 0, done.stderr
    assert content(done.archive)["conda-meta/history"] == file
    assert (
        f"env create --no-default-packages --quiet --file environment.yaml --prefix {done.prefix}"
        in done.calls
    )
    version = os.confstr("CS_GNU_LIBC_VERSION").split()[1]
    assert done.calls.splitlines()[1:] == [version, "strict"]
    with tarfile.open(done.archive) as members:
        assert members.getmember("./bin/link").linkname == "tool"


@pytest.mark.parametrize("front_end", ["micromamba", "mamba"])
def test_other_front_ends_do_as_well(run, front_end):
    done = run(front_end)
    assert done.returncode == 0, done.stderr
    assert f"/{front_end} create --yes --quiet --file environment.yaml --prefix" in done.calls


def test_pinned_packages_are_tried_first(run):
    done = run("conda", pins=b"@EXPLICIT\n")
    assert content(done.archive)["conda-meta/history"] == b"@EXPLICIT\n"
    assert (
        "conda create --no-default-packages --yes --quiet --file environment.pin.txt" in done.calls
    )


def test_without_the_pinned_packages_the_file_counts(run):
    done = run("conda", pins=b"unsolvable\n")
    assert done.returncode == 0
    assert "no solution" in done.stderr
    made = content(done.archive)
    assert made["conda-meta/history"] == b"dependencies: [x]\n"
    assert "share/environment.pin.txt" not in made, "of the first attempt"


@pytest.mark.parametrize(
    ("begin", "shell"), [(b"", "sh"), (b"#!/usr/bin/env bash\n", "bash"), (b"#!bash\n", "bash")]
)
def test_the_post_deploy_script_runs_in_the_active_environment(run, begin, shell):
    deploy = begin + b'echo "$ACTIVE ${BASH_VERSION:+bash}" > "$CONDA_PREFIX/share/deployed"\n'
    done = run("conda", deploy=deploy)
    assert done.returncode == 0, done.stderr
    said = content(done.archive)["share/deployed"].decode().split()
    assert said[0] == "activated"
    assert shell == "sh" or said[1:] == ["bash"]


@pytest.mark.parametrize(
    ("front_ends", "more", "said"),
    [
        ([], {}, "there is no conda, micromamba or mamba in the image"),
        (["conda"], {"file": b"unsolvable"}, "no solution"),
        (["conda"], {"file": b"unsolvable", "pins": b"unsolvable"}, "no solution"),
        (["conda"], {"deploy": b"echo no luck >&2; exit 3\n"}, "no luck"),
    ],
)
def test_nothing_comes_back_of_what_failed(run, front_ends, more, said):
    done = run(*front_ends, **more)
    assert done.returncode not in (0, 127)
    assert said in done.stderr
    assert not done.archive.exists()


def test_what_an_earlier_attempt_left_is_not_used(run, tmp_path):
    first = run("conda")
    Path(first.prefix, "bin").mkdir(parents=True)
    Path(first.prefix, "bin/old").touch()
    again = run("conda")
    assert "bin/old" not in content(again.archive)


def test_the_job_asks_for_room_and_runs_in_its_image():
    build = CondaBuild("k", "envs/x.yaml", "r", "image.sif", b"")
    request = build.request(Image("/images/conda.sif", size_mb=500))
    assert (request.container_image, request.job_class.shape.cores) == ("/images/conda.sif", 1)
    assert request.job_class.shape.disk_mb > 5000
    payload = build.payload()
    assert (payload.outputs, payload.inputs) == ((ARCHIVE,), ())
