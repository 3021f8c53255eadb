"""A job returns from a bundle what it returns alone, by the real wrapper in both cases."""

import os
import shutil
import subprocess
from pathlib import Path
from stat import S_IMODE

import pytest

from snakemake_executor_plugin_osgpilot.htcondor.bundle_folder import BundleFolders
from snakemake_executor_plugin_osgpilot.staging import job_archive
from snakemake_executor_plugin_osgpilot.staging.payload import Payload
from snakemake_executor_plugin_osgpilot.staging.returned_files import MANIFEST, check_manifest, take
from snakemake_executor_plugin_osgpilot.staging.usage import TIMES


def returns(command: str, *outputs: str, **more) -> Payload:
    return Payload((f"set -euo pipefail; {command}\n",), "bash", (), outputs, (), **more)


KINDS = {
    "file": returns("echo 1 > a", "a"),
    "deep": returns("echo 1 > b/c/d; echo 22 > b/e; echo x > tmp", "b/c/d", "b/e"),
    "odd names": returns("echo 1 > $'a\\nb c'; : > \"'\"", "a\nb c", "'"),
    "executable": returns("echo 1 > a; chmod 500 a", "a"),
    "folder": returns("mkdir -p f/g; echo 1 > f/g/h", "f", folders=("f",)),
    "link": returns("echo 1 > a; ln -s a b", "a", "b"),
    "touched": returns("true", "a", touched=("a",)),
    "missing": returns("echo 1 > a", "a", "b"),
    "nothing": returns("true", "a"),
    "pipe": returns("mkfifo a", "a"),
    "failed": returns("echo 1 > a; exit 3", "a"),
    "many": returns("touch {1..60}", *map(str, range(1, 61))),
}


class Bench:
    def __init__(self, place: Path) -> None:
        self.workdir, self.run = place, place / "run"
        self.folders = BundleFolders(self.run, self.job)

    def job(self, key: str) -> Path:
        return self.run / "jobs" / key

    def write(self, key: str, payload: Payload) -> Path:
        job_archive.pack(payload, self.run, self.workdir).write(self.job(key))
        return self.job(key)

    def execute(self, folder: Path) -> tuple[int, Path]:
        there = self.workdir / f"node-{folder.name}"
        shutil.copytree(folder / "osgpilot-in", there)
        with (folder / "output").open("w") as said:
            done = subprocess.run(
                ["/bin/bash", "osgpilot-job"],
                cwd=there,
                stdout=said,
                stderr=said,
                check=False,
                timeout=60,
            )
        shutil.copytree(there / "osgpilot-out", folder / "osgpilot-out", symlinks=True)
        return done.returncode, there

    def alone(self, payload: Payload) -> tuple:
        folder = self.write("000001", payload)
        return self.back(folder, self.execute(folder)[0])

    def bundled(self, *payloads: Payload) -> list[tuple]:
        keys = [f"00001{n}" for n in range(len(payloads))]
        for key, payload in zip(keys, payloads, strict=True):
            self.write(key, payload)
        self.folders.write(keys, 60)
        _, there = self.execute(self.run / f"jobs/bundle-{keys[0]}")
        left = {each.name for each in there.iterdir()}
        assert not left & set(keys), "the folders of jobs are removed"
        ends = self.folders.take(keys)
        assert None not in ends
        return [
            self.back(self.job(key), end.exit_status) for key, end in zip(keys, ends, strict=True)
        ]

    def back(self, folder: Path, status: int) -> tuple:
        """Return exit status, links and files of a job, and what it printed."""
        came = take(folder)
        assert (came / TIMES).exists()
        links = check_manifest(came, succeeded=status == 0)
        files = {
            str(path.relative_to(came)): (path.read_text(), S_IMODE(path.stat().st_mode))
            for path in came.rglob("*")
            if path.is_file() and path.name not in (MANIFEST, TIMES)
        }
        said = (folder / "output").read_text()
        return status, links, files, said


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "run").mkdir()
    return Bench(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_returns_from_a_bundle_what_it_returns_alone(bench, kind):
    alone = bench.alone(KINDS[kind])
    first, own, last = bench.bundled(KINDS["file"], KINDS[kind], KINDS["file"])
    assert own == alone
    assert first == last == (0, {}, {"a": ("1\n", first[2]["a"][1])}, "")


def test_a_file_that_cannot_be_read_does_not_come_back(bench):
    """To root it can, so it shows only to the bundle, and the job runs alone."""
    closed = returns("echo 1 > a; chmod 0 a", "a")
    for key, payload in (("000010", KINDS["file"]), ("000011", closed), ("000012", KINDS["file"])):
        bench.write(key, payload)
    keys = ["000010", "000011", "000012"]
    bench.folders.write(keys, 60)
    bench.execute(bench.run / "jobs/bundle-000010")
    first, own, last = bench.folders.take(keys)
    for key, end in (("000010", first), ("000012", last)):
        assert bench.back(bench.job(key), end.exit_status)[2]["a"][0] == "1\n"
    assert own is None if os.geteuid() == 0 else own.exit_status == 125


def test_a_job_that_puts_a_pipe_in_place_of_its_list_does_not_stop_the_others(bench):
    evil = "echo 1 > a; list=${PWD%/*}/osgpilot-out/returned/${PWD##*/}/.osgpilot-manifest; "
    evil += "rm $list; mkfifo $list"
    payloads = (KINDS["file"], returns(evil, "a"), KINDS["file"])
    keys = ["000010", "000011", "000012"]
    for key, payload in zip(keys, payloads, strict=True):
        bench.write(key, payload)
    bench.folders.write(keys, 60)
    bench.execute(bench.run / "jobs/bundle-000010")
    assert [end and end.exit_status for end in bench.folders.take(keys)] == [0, None, 0]


def test_jobs_of_a_moment_share_the_programs_that_return_their_files(bench, monkeypatch):
    """To start a program takes longer than all else in such a job."""
    jobs = 30
    keys = [f"0000{n}" for n in range(10, 10 + jobs)]
    for key in keys:
        bench.write(key, returns("echo 1 > out/a", "out/a"))
    bench.folders.write(keys, 60)
    tools, started = bench.workdir / "tools", bench.workdir / "started"
    tools.mkdir()
    for name in ("chmod", "cp", "ln", "mkdir", "mv", "rm", "stat"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\necho {name} >> {started}\nexec {shutil.which(name)} "$@"\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    bench.execute(bench.run / f"jobs/bundle-{keys[0]}")
    assert [end.exit_status for end in bench.folders.take(keys)] == [0] * jobs
    assert len(started.read_text().split()) < jobs
