"""Another user of the access point gives his jobs tags and keys of ours: it changes nothing."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from snakemake_executor_plugin_osgpilot.htcondor.worker import HOLD_REASON
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

JOBS = 8
SHARED = "/home/alice/shared"
SNAKEFILE = f"""
rule all:
    input: "sum"
rule one:
    output: "out/{{n}}"
    retries: 0
    shell:
        "echo {{wildcards.n}} >> {SHARED}/ran; "
        "mkdir {SHARED}/first 2> /dev/null || mkdir {SHARED}/second 2> /dev/null || "
        "until [ -e {SHARED}/go ]; do sleep 0.2; done; "
        "echo {{wildcards.n}} > {{output}}"
rule gather:
    input: expand("out/{{n}}", n=range({JOBS}))
    output: "sum"
    localrule: True
    shell: "cat {{input}} > {{output}}"
"""
"""Two jobs end at once, the others when `go` exists; each counts its executions."""

AT_AP = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}
FORGED = """
executable = /bin/sleep
arguments = 1000
request_memory = 1
request_disk = 1
My.ProjectName = "TestProject"
My.OSGPilotWorkflow = "{run}"
My.OSGPilotJobKey = "{run}/$(key)"
hold = $(hold)
queue key, hold from (
{lines}
)
"""
TOLD = ("OSGPilotPaused", "OSGPilotAvoid", "OSGPilotApart", "NumJobStarts", "HoldReason")


class Scene:
    """Alice's workflow, its access point and the folder that her jobs see."""

    def __init__(self, pool: Pool, name: str, site: dict[str, object], queue: str) -> None:
        self.pool, self.queue = pool, queue
        self.folder = pool.work / name
        self.folder.mkdir()
        (self.folder / "Snakefile").write_text(SNAKEFILE)
        (self.folder / "site.yaml").write_text(yaml.safe_dump(site))
        pool.say("mkdir", SHARED)

    def start(self) -> "subprocess.Popen[bytes]":
        options = ("--osgpilot-shared-prefixes", SHARED, "--osgpilot-max-pilots", "1")
        options += ("--nolock", "--rerun-incomplete")
        line = self.pool.argv(*SNAKEMAKE, *options, folder=self.folder)
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)

    @property
    def said(self) -> str:
        return (self.folder / "said").read_text()

    @property
    def run(self) -> Path:
        (found,) = self.folder.glob(".snakemake/osgpilot/2*")
        return found

    def ran(self) -> list[str]:
        return sorted(self.pool.run("cat", f"{SHARED}/ran").stdout.split())

    def ids(self, user: str, *what: str) -> list[str]:
        wanted = (f'Owner == "{user}"', *what)
        asked = ("condor_q", "-allusers", "-constraint", " && ".join(wanted), "-af:j")
        return self.pool.say(*asked, "JobStatus", *TOLD, host=self.queue).splitlines()

    def forge(self) -> None:
        """Queue jobs of bob's with the run's tag and its keys, those to come included."""
        lines = "\n".join(f"{n:06} {n % 2 == 0}" for n in range(1, JOBS + 4))
        text = FORGED.format(run=self.run.name, lines=lines)
        done = self.pool.run("condor_submit", user="bob", host=self.queue, folder="/", stdin=text)
        assert done.returncode == 0, done.stderr


@pytest.fixture(params=["login", "ap"])
def scene(request, pool: Pool) -> Iterator[Scene]:
    yield Scene(pool, request.param, SITE if request.param == "login" else AT_AP, request.param)
    for user in ("alice", "bob"):
        pool.run("condor_rm", "-all", user=user, host=request.param)
    pool.run("scancel", "--user=alice")
    pool.say("rm", "-rf", SHARED)


def test_jobs_of_others_with_our_tags_change_nothing(scene: Scene):
    pool = scene.pool
    first = scene.start()
    # outputs are there a moment before the run knows that their job is done
    until(lambda: scene.said.count("Finished jobid") == 2, 120, "two ends of jobs")
    until(lambda: len(scene.ran()) == 6, 60, "six executions")
    scene.forge()
    pool.say("pkill", "-KILL", "-u", "alice", "-f", "snakemake --executor", user="root")
    first.wait()
    # those of bob's are the latest in the queue, and those of alice's wait for a word from her
    scene.forge()
    waiting = [line.split()[0] for line in scene.ids("alice", "JobStatus == 1")]
    assert len(waiting) == 2
    woken = ("-reason", HOLD_REASON, "-subcode", str(REMATCHING), *waiting)
    pool.say("condor_hold", *woken, host=scene.queue)
    forged = scene.ids("bob")
    assert {line.split()[1] for line in forged} == {"1", "5"}

    second = scene.start()
    until(
        lambda: "resumed tracking 6 jobs of the previous session" in scene.said,
        60,
        "the jobs of the first life",
    )
    held = "JobStatus == 5"
    until(lambda: not scene.ids("alice", held), 60, "the release of what was held")
    (allocation,) = pool.say("squeue", "--noheader", "--me", "--format=%A").split()
    pool.say("scancel", "--full", "--signal=KILL", allocation)
    there = ("squeue", "--noheader", "--me", "--format=%A", "--states=RUNNING")
    until(lambda: allocation not in pool.say(*there).split(), 60, "the end of the pilot")
    pool.say("touch", f"{SHARED}/go")
    assert second.wait(PATIENCE_S) == 0, scene.said
    assert (scene.folder / "sum").read_text().split() == [str(n) for n in range(JOBS)]
    assert "running it again" in scene.said, "jobs of the pilot that was killed"
    assert "could not" not in scene.said
    assert all(scene.ran().count(str(n)) <= 2 for n in range(JOBS)), scene.ran()
    assert scene.ids("alice") == []
    assert scene.ids("bob") == forged, "not touched"
    with closing(sqlite3.connect(scene.run / JOURNAL)) as journal:
        assert journal.execute("SELECT closed FROM run").fetchone() == (1,)
        known = {job_id for (job_id,) in journal.execute("SELECT job_id FROM jobs")}
    assert known.isdisjoint(line.split()[0] for line in forged)
