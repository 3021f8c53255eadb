"""Leftovers of killed runs are removed from the other host's queue and Slurm, and only there."""

import json
import re
import subprocess

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


RUNS = {"far": (AT_AP, "login"), "gone": (AT_AP, "login"), "behind": (BEHIND_SSH, "ap")}
"""Site file and host of each run."""

CLUSTER = "/home/alice/.local/state/osgpilot"


def start(pool: Pool, name: str, site: dict[str, object], host: str) -> "subprocess.Popen[bytes]":
    folder = pool.work / name
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    with (folder / "said").open("w") as said:
        line = pool.argv(*SNAKEMAKE, "--osgpilot-max-pilots", "1", host=host, folder=folder)
        return subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)


def ours(pool: Pool) -> list[str]:
    """States of alice's jobs at the access point `ap`, where all have their jobs."""
    asked = pool.say("condor_q", "-allusers", "-af", "Owner", "JobStatus", host="ap").splitlines()
    assert "bob 1" in asked, "all of others"
    return [line for line in asked if line != "bob 1"]


@pytest.fixture(scope="module")
def dead(pool: Pool) -> Pool:
    """Three runs whose Snakemakes were killed; a job of another user's has our kind of tag."""
    stranger = pool.run("condor_submit", user="bob", host="ap", folder="/", stdin=STRANGER)
    assert stranger.returncode == 0, stranger.stderr
    started = [start(pool, name, *where) for name, where in RUNS.items()]
    ended = lambda: any(each.poll() is not None for each in started)  # noqa: E731
    until(lambda: ours(pool).count("alice 2") == 2 * len(RUNS) or ended(), 150, "running jobs")
    for host in ("login", "ap"):
        kill = ("pkill", "-KILL", "-u", "alice", "-f", "snakemake --executor")
        pool.say(*kill, host=host, user="root")
    assert {each.wait() for each in started} == {-9}
    pool.say("rm", "-rf", str(pool.work / "gone" / ".snakemake"))
    return pool


def cleanup(pool: Pool, *options: str, host: str) -> str:
    wide = ("env", "COLUMNS=250", "osgpilot", "cleanup")
    done = pool.run(*wide, *options, host=host, folder="/")
    return done.stdout + done.stderr


def fates(said: str) -> dict[str, str]:
    """Return the status of runs, by the name of their folder."""
    rows = [re.split(r"\s{2,}", line.strip()) for line in said.splitlines()]
    return {name: row[1] for row in rows for name in RUNS if row[-1].endswith(f"/{name}")}


def seen_from_elsewhere(pool: Pool, name: str, host: str) -> str:
    """Return the status of a run on another host than its own, long after its last lease."""
    folder = pool.work / name
    assert fates(cleanup(pool, "--dir", str(folder), "--yes", host=host)) == {name: "running"}
    (lease,) = folder.glob(".snakemake/osgpilot/2*/lease")
    pool.say("touch", "--date=1 hour ago", str(lease))
    return fates(cleanup(pool, "--dir", str(folder), "--yes", host=host))[name]


def test_jobs_at_an_access_point_elsewhere(dead: Pool):
    before = len(ours(dead))
    fate = seen_from_elsewhere(dead, "far", "ap")
    assert fate == "out of reach from here", "its pilots are in the Slurm of login"
    shown = cleanup(dead, host="login")
    assert fates(shown)["far"] == "interrupted", "found by its pilots, its jobs by its journal"
    assert "ap.localpool, here" in shown
    assert "use --yes" in shown
    (reported,) = [
        each for each in json.loads(cleanup(dead, "--json", host="login")) if each["may_go"]
    ]
    assert (reported["jobs"], reported["removed"]) == (2, False)
    assert reported["folder"].startswith(str(dead.work / "far"))
    assert len(ours(dead)) == before
    said = cleanup(dead, "--yes", host="login")
    assert "its jobs are out of the queue of ap.localpool" in said
    assert "removed what 1 run left behind" in said
    assert len(ours(dead)) == before - 2


def test_jobs_of_a_run_whose_folder_is_gone(dead: Pool):
    before, folder = len(ours(dead)), dead.work / "gone"
    site = ("--site", str(folder / "site.yaml"))
    assert fates(cleanup(dead, *site, host="login"))["gone"] == "not seen from here"
    said = cleanup(dead, *site, "--dir", str(folder), "--yes", host="login")
    assert "removed what 1 run left behind" in said
    assert len(ours(dead)) == before - 2


def test_pilots_behind_ssh(dead: Pool):
    before = len(ours(dead))
    assert dead.say("ls", CLUSTER) != ""
    fate = seen_from_elsewhere(dead, "behind", "login")
    assert fate == "out of reach from here", "its jobs are at the access point of ap"
    assert len(ours(dead)) == before
    said = cleanup(dead, "--dir", str(dead.work / "behind"), "--yes", host="ap")
    assert "its pilots are gone from login" in said
    assert len(ours(dead)) == before - 2
    assert dead.say("ls", CLUSTER) == ""
