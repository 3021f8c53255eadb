"""A job that the schedd offers to nobody, beside a free pilot: noticed, woken, submitted anew."""

import os
import signal
import time
from contextlib import closing
from getpass import getuser

from conftest import SITE, tool, until

from snakemake_executor_plugin_osgpilot import waking
from snakemake_executor_plugin_osgpilot.access_point.local import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.core import forgotten
from snakemake_executor_plugin_osgpilot.core.forgotten import Beside, Span
from snakemake_executor_plugin_osgpilot.core.holds import WAKING
from snakemake_executor_plugin_osgpilot.core.jobs import Job, JobState
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.queue import Queue

SLEEPER = """
rule all:
    output: "out"
    shell: "sleep 600; touch {output}"
"""
SMALL = JobClass(Shape(1, 500, 100))
PAUSED = (("My.OSGPilotPaused", "true"),)
"""As the brake has it: negotiators are told of the job, and find no slot for it."""

FORGET = ("CurrentHosts", "1")
"""The schedd takes such a job for one that runs already, and offers it to nobody (`Runnable`)."""


def test_a_forgotten_job_is_held_and_released_and_then_submitted_anew(workflow, monkeypatch):
    monkeypatch.setattr(forgotten, "BESIDE_S", 2.0)
    monkeypatch.setattr(waking, "LOOK_EVERY_S", 1.0)
    workflow.snakefile(SLEEPER)
    process = workflow.start()
    until(lambda: "2" in tool("condor_q", "-allusers", "-af", "JobStatus").split(), "a running job")
    (run,) = (workflow.folder / ".snakemake/osgpilot").glob("*/")
    # a queue of our own with a job for the run's pilot, which has room for it
    folder = workflow.folder / "beside"
    (folder / "jobs/000001/osgpilot-in").mkdir(parents=True)
    (folder / "jobs/000001/osgpilot-in/osgpilot-job").write_text("mkdir osgpilot-out\n")
    seat = Seat(getuser(), "TestProject", run.name)
    with closing(LocalAccessPoint(seat, folder, SITE["central_manager"])) as access_point:
        queue = Queue(access_point, Shape(4, 3800))
        began_s, said = time.time(), []
        queue.add([Job("000001", "late", Request(SMALL, extras=PAUSED))])
        queue.send()

        def tend() -> str:
            queue.follow()
            queue.send()
            queue.mend(time.time())
            said.extend(queue.notices())
            return "\n".join(said)

        (job,) = queue.jobs(["000001"])
        until(lambda: job.job_id in access_point.offers(began_s).refused, "a refusal")
        room = Beside({SMALL: (Span(began_s, began_s + 3600),)}, {}, began_s + 3600)
        queue.waker.beside = room
        until(lambda: tend() or access_point.offers(began_s).cycles_s > began_s, "two cycles")
        assert said == [], "it was refused, so it is not forgotten"

        tool("condor_qedit", job.job_id, *FORGET)
        access_point.set_paused(paused=False)
        forgot_s = time.time()
        queue.waker.beside = Beside(
            {SMALL: (Span(forgot_s, forgot_s + 3600),)}, {}, forgot_s + 3600
        )
        until(lambda: "held and released" in tend(), "its waking")
        # the schedd writes both events a moment later, or the second alone
        told = (folder / "jobs.log").read_text
        until(lambda: "Job was released" in told(), "its release in the log")
        assert told().count("Job was released") == 1
        assert told().count("Job was held") == told().count(f"Code 1 Subcode {WAKING}") <= 1
        tend()
        (woken,) = queue.jobs(["000001"])
        assert (woken.state, woken.setbacks, woken.job_id) == (JobState.WAITING, (), job.job_id)
        assert tool("condor_q", job.job_id, "-af", "JobStatus").strip() == "1"

        # that did not help, and so another takes its place
        until(lambda: "submitted anew" in tend(), "its removal")
        until(lambda: tend() and queue.jobs(["000001"])[0].job_id not in ("", job.job_id), "anew")
        access_point.set_paused(paused=False)
        until(lambda: tend() and queue.has_news(), "its end")
        (over,) = queue.over().values()
        assert (over.succeeded, over.setbacks) == (True, ())
        assert len(said) == 2
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(120) == 1
