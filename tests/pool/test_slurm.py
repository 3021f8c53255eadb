"""A cluster with a hidden partition, another time zone, and jobs of the user with odd names."""

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

HERE = "/home/alice/odd"
PROJECT = "/home/alice/project/step"
"""Where the user's own jobs work."""

HIDDEN = {**SITE, "slurm": {"ssh": "login", "partition": "secret"}}
SNAKEFILE = """
rule all:
    input: "out"
rule nap:
    output: "out"
    shell: "sleep 600; touch {output}"
"""
NEW_YORK = "America/New_York"

FORGED = (
    "x\n999999\x1fosgpilot-r1-1\x1fCANCELLED\x1fNone\x1fN/A\x1fN/A\x1fn1",
    "two\nlines",
    "osgpilot-mine-1",
)
"""Names of the user's own jobs; the last is that of a pilot, in a folder that is none of its."""

CANCEL = """
import sys
from pathlib import Path
from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.slurm.client import SlurmClient
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host

act, *pilots = sys.argv[1:]
slurm = SlurmClient(Host(Here()), "alice", SlurmOptions(), Path("/nowhere"))
try:
    getattr(slurm, act)(dict(each.split("=") for each in pilots))
except RejectedError as refusal:
    print("refused", refusal)
"""


def put(pool: Pool, path: str, text: str, *, host: str = "ap") -> None:
    done = pool.run("sh", "-c", 'mkdir -p "${1%/*}"; cat > "$1"', "-", path, host=host, stdin=text)
    assert done.returncode == 0, done.stderr


def shown(pool: Pool, field: str, *options: str) -> list[str]:
    """Return one field of alice's jobs as Slurm's own `squeue` shows it."""
    wanted = ("squeue", "--noheader", "--all", "--user=alice", *options, f"--format={field}")
    return pool.say("env", "TZ=UTC0", *wanted).splitlines()


def sleeper(pool: Pool, name: str, *options: str) -> str:
    argv = ("sbatch", "--parsable", "--mem=10", f"--job-name={name}", *options)
    return pool.say(*argv, "--wrap=exec sleep 3600", folder=PROJECT)


@pytest.fixture(scope="module")
def odd(pool: Pool) -> Iterator[tuple[Pool, set[str]]]:
    """The pool with a hidden partition, and the ids of jobs of alice's that are no pilots."""
    pool.say(
        "scontrol", "create", "PartitionName=secret", "Nodes=ALL", "State=UP", "Hidden=YES",
        user="root",
    )  # fmt: skip
    pool.say("mkdir", "-p", PROJECT)
    for name in FORGED:
        sleeper(pool, name)
    sleeper(pool, "array", "--array=1-2", "--begin=now+1hour")
    sleeper(pool, "hidden", "--partition=secret")
    foreign = set(shown(pool, "%i"))
    yield pool, foreign
    assert set(shown(pool, "%i")) == foreign, "no job of others was affected"


def in_run(pool: Pool, command: str, name: str) -> str:
    """Return what `command` says of a file of the run's folder."""
    line = f"{command} {HERE}/.snakemake/osgpilot/*/{name}"
    return pool.run("sh", "-c", line, host="ap").stdout


def has_job(pool: Pool) -> bool:
    """Return True if a job of the run is running, by its event log."""
    return bool(in_run(pool, "grep '^001 '", "jobs.log"))


def recorded(pool: Pool) -> dict[str, Any]:
    """Return the pilot of the run as its history has it last."""
    lines = map(json.loads, in_run(pool, "cat", "history.jsonl").splitlines())
    return [line for line in lines if line["kind"] == "pilot"][-1]


@contextmanager
def started(pool: Pool) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the workflow until its job runs; give the process."""
    put(pool, f"{HERE}/Snakefile", SNAKEFILE)
    put(pool, f"{HERE}/site.yaml", yaml.safe_dump(HIDDEN))
    line = f"exec env TZ={NEW_YORK} {' '.join(SNAKEMAKE)} --osgpilot-max-pilots 1 > said 2>&1"
    argv = pool.argv("sh", "-c", line, host="ap", folder=HERE)
    with subprocess.Popen(argv) as workflow:
        try:
            until(lambda: has_job(pool) or workflow.poll() is not None, 120, "a running job")
            assert workflow.poll() is None, pool.say("cat", f"{HERE}/said", host="ap")
            yield workflow
        finally:
            workflow.kill()
            pool.say("rm", "-rf", HERE, host="ap")


def pilots(pool: Pool, foreign: set[str]) -> list[str]:
    return sorted(set(shown(pool, "%i")) - foreign)


def test_a_run_sees_its_pilots_and_its_end_leaves_none(odd: tuple[Pool, set[str]]):
    pool, foreign = odd
    with started(pool) as workflow:
        (pilot,) = pilots(pool, foreign)
        assert pilot not in pool.say("squeue", "--noheader", "--format=%i").split(), "it is hidden"
        began, ends = shown(pool, "%S %e", f"--jobs={pilot},999999")[0].split()
        times = [float(pool.say("date", f"--date={each}Z", "+%s")) for each in (began, ends)]
        until(lambda: recorded(pool)["state"] == "ready", 60, "a pilot that is ready")
        reported = recorded(pool)
        assert [reported["started_s"], reported["ends_s"]] == times, "in any time zones"
        workflow.send_signal(signal.SIGINT)
        workflow.wait(PATIENCE_S)
        said = pool.say("cat", f"{HERE}/said", host="ap")
        assert "could not" not in said, said
        assert pilots(pool, foreign) == []


def test_what_a_killed_run_left_is_reaped_and_nothing_else(odd: tuple[Pool, set[str]]):
    pool, foreign = odd
    put(pool, "/home/alice/jobs/kept", "", host="login")
    with started(pool) as workflow:
        kill = ("pkill", "-KILL", "-u", "alice", "-f", "snakemake --executor")
        pool.say(*kill, host="ap", user="root")
        workflow.wait()
        assert len(pilots(pool, foreign)) == 1
        cleaned = ("osgpilot", "cleanup", "--dir", HERE, "--yes")
        said = pool.run(*cleaned, host="ap", folder=HERE)
        assert "removed what 1 run left behind" in said.stdout + said.stderr
        assert pilots(pool, foreign) == []
    # from anywhere, and without being confined to a folder
    pool.say("osgpilot", "cleanup", "--yes", folder="/home/alice")
    assert pool.run("ls", "/home/alice/jobs/kept").returncode == 0
    assert set(shown(pool, "%i")) == foreign


@pytest.mark.parametrize("act", ["cancel_pending", "drain_running", "end_running", "kill"])
def test_a_job_under_the_id_of_a_pilot_is_left_alone(odd: tuple[Pool, set[str]], act: str):
    pool, _ = odd
    begin = ("--begin=now+1hour",) if act == "cancel_pending" else ()
    waits = sleeper(pool, "mine", *begin)
    ours = sleeper(pool, "osgpilot-r1-2", "--partition=secret", *begin)
    if not begin:
        until(lambda: shown(pool, "%T", f"--jobs={waits},{ours}") == ["RUNNING"] * 2, 60, "both")
    wanted = (f"{waits}=osgpilot-r1-1", f"{ours}=osgpilot-r1-2", "999999=osgpilot-r1-3")
    said = pool.say("python", "-c", CANCEL, act, *wanted, folder=str(pool.work))
    assert "refused scancel" in said
    assert "Invalid job id" in said
    until(lambda: shown(pool, "%i", f"--jobs={waits},{ours}") == [waits], 60, "the end of one")
    pool.say("scancel", waits)
    until(lambda: waits not in shown(pool, "%i"), 60, "the end of the other")
