"""Stuck jobs beside a free pilot are rematched, and resubmitted if that does not help."""

import os
import re
import signal
import time
from contextlib import closing
from getpass import getuser
from pathlib import Path

from conftest import PATIENCE_S, SITE, tool, until

from snakemake_executor_plugin_osgpilot.htcondor.local_schedd import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.htcondor.worker import BLOCKED, FIRST
from snakemake_executor_plugin_osgpilot.jobs import rematch as waking
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state import stuck_jobs as forgotten
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import CapacityHistory, Span
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

SLEEPER = """
rule all:
    output: "out"
    shell: "sleep 600; touch {output}"
"""
SMALL = JobClass(Shape(1, 500, 100))
PAUSED = (("My.OSGPilotPaused", "true"),)
"""While starts are paused: negotiators get the job, and find no slot for it."""

FORGET = ("CurrentHosts", "1")
"""The schedd takes such a job for one that runs already, and offers it to nobody (`Runnable`)."""

BLOCK = ("JobStatus", str(BLOCKED))
"""As a job that waits for an image which nobody sends; holding it would not help."""

HELD_ONCE = ("NumHolds", "LastHoldReasonCode", "LastHoldReasonSubCode", "JobStatus")


def with_room(workflow):
    """Start a run whose pilot has room; return its process and the name of the run."""
    workflow.snakefile(SLEEPER)
    process = workflow.start()
    until(lambda: "2" in tool("condor_q", "-allusers", "-af", "JobStatus").split(), "a running job")
    (run,) = (workflow.folder / ".snakemake/osgpilot").glob("*/")
    return process, run.name


def test_stuck_jobs_are_rematched_or_resubmitted(workflow, monkeypatch):
    monkeypatch.setattr(forgotten, "STUCK_AFTER_S", 2.0)
    monkeypatch.setattr(forgotten, "BLOCKED_S", 2.0)
    monkeypatch.setattr(waking, "LOOK_EVERY_S", 1.0)
    process, run = with_room(workflow)
    # a queue of our own with jobs for the run's pilot, which has room for them
    folder, keys = workflow.folder / "beside", ["000001", "000002"]
    prepare(folder, keys)
    seat = RunIdentity(getuser(), "TestProject", run)
    with closing(LocalAccessPoint(seat, folder, SITE["central_manager"])) as access_point:
        queue = JobManager(access_point, Shape(4, 3800))
        began_s, said = time.time(), []
        queue.add([Job(key, "late", Request(SMALL, extras=PAUSED)) for key in keys])
        queue.send()
        idle, blocked = (job.job_id for job in queue.jobs(keys))

        def tend() -> str:
            queue.follow()
            queue.send()
            queue.repair(time.time())
            said.extend(queue.notices())
            return "\n".join(said)

        def ids() -> list[str]:
            return [job.job_id for job in queue.jobs(keys)]

        # one refusal stands for all that ask for the same
        until(
            lambda: access_point.negotiation_status(began_s).refused & {idle, blocked}, "a refusal"
        )
        queue.set_capacity(room_since(began_s))
        until(
            lambda: tend() or access_point.negotiation_status(began_s).cycles_s > began_s,
            "two cycles",
        )
        assert said == [], "they were refused, so they are not stuck"

        tool("condor_qedit", idle, *FORGET)
        tool("condor_qedit", blocked, *BLOCK)
        access_point.set_paused(paused=False)
        queue.set_capacity(room_since(time.time()))
        until(lambda: "held and released" in tend(), "its rematching")
        log = folder / "jobs.log"
        until(lambda: holds(log, idle)[-1:] == ["released"], "its release in the log")
        # the schedd writes the hold down a moment later, unless the job was released by then
        assert holds(log, idle) in (["held", "released"], ["released"])
        assert log.read_text().count(f"Code 1 Subcode {REMATCHING}") == len(holds(log, idle)) - 1
        assert tool("condor_q", idle, "-af", *HELD_ONCE).split() == ["1", "1", str(REMATCHING), "1"]
        assert tool("condor_q", idle, "-af", "JobPrio").split() == [str(FIRST)]
        queue.follow()
        (woken,) = queue.jobs(keys[:1])
        assert (woken.state, woken.failed_attempts, woken.job_id) == (JobState.WAITING, (), idle)

        # that did not help, and could not help the blocked one, so others take their place
        until(lambda: tend() and not {"", idle, blocked} & set(ids()), "others in their place")
        assert holds(log, blocked) == []
        queue.set_capacity(CapacityHistory())
        access_point.set_paused(paused=False)
        until(lambda: tend() and all(queue.ended(key) for key in keys), "their ends")
        over = queue.over().values()
        assert [(job.succeeded, job.failed_attempts) for job in over] == 2 * [(True, ())]
        assert [counted(said, what) for what in ("held and released", "resubmitted")] == [1, 2]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1


def prepare(folder: Path, keys: list[str]) -> None:
    """Write what jobs of a queue of our own do."""
    for key in keys:
        (folder / "jobs" / key / "osgpilot-in").mkdir(parents=True)
        (folder / "jobs" / key / "osgpilot-in/osgpilot-job").write_text("mkdir osgpilot-out\n")


def test_jobs_that_match_nothing_keep_no_job_back_from_a_pilot_with_room(workflow, monkeypatch):
    """The schedd offers the first 20 jobs of a user, here those of a run without a pilot."""
    monkeypatch.setattr(forgotten, "STUCK_AFTER_S", 2.0)
    monkeypatch.setattr(waking, "LOOK_EVERY_S", 1.0)
    process, run = with_room(workflow)
    many = [f"{n:06}" for n in range(1, 41)]
    (of_many, of_one) = (workflow.folder / name for name in ("many", "one"))
    prepare(of_many, many)
    prepare(of_one, many[:1])
    seats = (RunIdentity(getuser(), "TestProject", name) for name in (f"{run}x", run))
    with (
        closing(LocalAccessPoint(next(seats), of_many, SITE["central_manager"])) as crowded,
        closing(LocalAccessPoint(next(seats), of_one, SITE["central_manager"])) as access_point,
    ):
        crowd, queue = (JobManager(each, Shape(4, 3800)) for each in (crowded, access_point))
        crowd.add([Job(key, "late", Request(SMALL)) for key in many])
        crowd.send()
        began_s, said = time.time(), []
        until(lambda: crowded.negotiation_status(began_s).cycles_s > began_s, "two cycles")
        queue.add([Job(many[0], "late", Request(SMALL))])
        queue.send()
        queue.set_capacity(room_since(time.time()))

        def ended() -> bool:
            queue.follow()
            queue.send()
            queue.repair(time.time())
            said.extend(queue.notices())
            if counted(said, "held and released"):
                # on a busy machine the next cycle is not there in twice that time
                monkeypatch.setattr(forgotten, "STUCK_AFTER_S", 600.0)
            return queue.ended(many[0])

        until(ended, "the end of the job")
        assert [counted(said, what) for what in ("held and released", "resubmitted")] == [1, 0]
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1


def counted(said: list[str], what: str) -> int:
    """Return of how many jobs it was said."""
    return sum(int(line.split()[0]) for line in said if what in line)


def room_since(since_s: float) -> CapacityHistory:
    """Return that pilots have free capacity from then on, as if observed all the time."""
    return CapacityHistory({SMALL: (Span(since_s, since_s + 3600),)}, {}, since_s + 3600)


def holds(log: Path, job_id: str) -> list[str]:
    """Return the holds and releases of a job that the log tells of, in order."""
    cluster, proc = map(int, job_id.split("."))
    reported = rf"^01[23] \({cluster:03}\.{proc:03}\.\d+\) .* Job was (held|released)\."
    return re.findall(reported, log.read_text(), re.MULTILINE)
