"""What killed runs left is removed from the other host's queue and Slurm, and from there alone."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from .conftest import SITE, SNAKEMAKE, Pool, until

SNAKEFILE = """
rule all:
    input: expand("out-{n}", n=range(2))
rule nap:
    output: "out-{n}"
    shell: "sleep 600; touch {output}"
"""
AT_AP = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}
BEHIND_SSH = {**SITE, "slurm": {"ssh": "login"}}
STRANGER = """
executable = /bin/sleep
arguments = 1000
My.OSGPilotWorkflow = "20261122-101010-abc123"
queue
"""


def start(pool: Pool, name: str, site: dict[str, object], host: str) -> "subprocess.Popen[bytes]":
    folder = pool.work / name
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    with (folder / "said").open("w") as said:
        line = pool.argv(*SNAKEMAKE, "--osgpilot-max-pilots", "1", host=host, folder=folder)
        return subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)


def queue(pool: Pool, host: str, *more: str) -> list[str]:
    asked = pool.say("condor_q", "-allusers", "-af", "Owner", "JobStatus", *more, host=host)
    return asked.splitlines()


@contextmanager
def killed(pool: Pool, name: str, site: dict[str, object], host: str) -> Iterator[None]:
    """A run whose Snakemake on `host` was killed when its jobs ran at the access point `ap`."""
    process = start(pool, name, site, host)

    def all_run() -> bool:
        return queue(pool, "ap").count("alice 2") == 2 or process.poll() is not None

    until(all_run, 120, "two jobs that run")
    assert process.poll() is None, (pool.work / name / "said").read_text()
    pool.say("pkill", "-KILL", "-u", "alice", "-f", "snakemake --executor", host=host, user="root")
    process.wait()
    yield
    assert queue(pool, "ap") == ["bob 1"], "nothing of ours, all of others"
    assert pool.say("squeue", "--noheader") == ""


@pytest.fixture
def shared(pool: Pool) -> Pool:
    """The pool with a job of another user's in the queue, who has our kind of tag on it."""
    if not queue(pool, "ap"):
        stranger = pool.run("condor_submit", user="bob", host="ap", folder="/", stdin=STRANGER)
        assert stranger.returncode == 0, stranger.stderr
    return pool


def reap(pool: Pool, *options: str, host: str, folder: object = "/") -> str:
    wide = ("env", "COLUMNS=250", "osgpilot", "reap")
    done = pool.run(*wide, *options, host=host, folder=folder)
    return done.stdout + done.stderr


def seen_from_elsewhere(pool: Pool, folder: Path, host: str) -> str:
    """What is told of a run on another host than its own, when it is long since it was heard of."""
    assert "goes on" in reap(pool, "--dir", str(folder), "--yes", host=host)
    (lease,) = folder.glob(".snakemake/osgpilot/2*/lease")
    pool.say("touch", "--date=1 hour ago", str(lease))
    return reap(pool, "--dir", str(folder), "--yes", host=host)


def test_jobs_at_an_access_point_elsewhere(shared: Pool):
    with killed(shared, "far", AT_AP, "login"):
        folder = shared.work / "far"
        from_ap = seen_from_elsewhere(shared, folder, "ap")
        assert "out of reach from here" in from_ap, "its pilots are in the Slurm of login"
        assert len(queue(shared, "ap")) == 3

        shown = reap(shared, host="login")
        assert "was cut short" in shown, "found by its pilots, and its jobs by its journal"
        assert "ap.localpool, here" in shown
        assert "say --yes" in shown
        assert len(queue(shared, "ap")) == 3
        said = reap(shared, "--yes", host="login")
        assert "its jobs are out of the queue of ap.localpool" in said
        assert "removed what 1 run(s) had left" in said


def test_jobs_of_a_run_whose_folder_is_gone(shared: Pool):
    with killed(shared, "gone", AT_AP, "login"):
        folder = shared.work / "gone"
        shared.say("rm", "-rf", str(folder / ".snakemake"))
        site = ("--site", str(folder / "site.yaml"))
        assert "not seen from here" in reap(shared, *site, "--yes", host="login")
        assert len(queue(shared, "ap")) == 3
        said = reap(shared, *site, "--dir", str(folder), "--yes", host="login")
        assert "removed what 1 run(s) had left" in said


def test_pilots_behind_ssh(shared: Pool):
    with killed(shared, "behind", BEHIND_SSH, "ap"):
        folder = shared.work / "behind"
        there = "/home/alice/.local/state/osgpilot"
        assert shared.say("ls", there) != ""
        from_login = seen_from_elsewhere(shared, folder, "login")
        assert "out of reach from here" in from_login, "its jobs are at the access point of ap"
        assert len(queue(shared, "ap")) == 3

        said = reap(shared, "--dir", str(folder), "--yes", host="ap")
        assert "its pilots are gone from login" in said
        assert shared.say("ls", there) == ""
