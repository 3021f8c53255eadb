"""A pilot that drains starts no job any more, finishes those that run, and leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import (
    PACES,
    PATIENCE_S,
    SITE_AT,
    Workflow,
    cycles,
    jobs_in_queue,
    pilots_in_slurm,
    tool,
    until,
)

SNAKEFILE = """
rule all:
    input: "kept", expand("short/{n}", n=range(600))
rule keep:
    output: "kept"
    priority: 9
    shell: "echo start >> SHARED/keep; until [ -e SHARED/go ]; do sleep 0.5; done; touch {output}"
rule short:
    output: "short/{n}"
    shell: "sleep 0.5; touch {output}"
"""


class Starts:
    """The starts of jobs that the event log of the run tells of, by Slurm job of the pilot."""

    def __init__(self, folder: Path) -> None:
        (self.run,) = (path.parent for path in folder.glob(".snakemake/osgpilot/*/jobs.log"))

    def on(self, allocation: str) -> int:
        reported = (self.run / "jobs.log").read_text(errors="replace")
        return len(re.findall(rf'OSGPILOT_SLURM_JOB_ID = "{allocation}"', reported))


def running_on(allocation: str) -> list[str]:
    """Return the jobs in slots of the pilot, as the pool has them."""
    clause = f'OSGPILOT_SLURM_JOB_ID == "{allocation}" && JobId =!= undefined'
    return tool("condor_status", "-constraint", clause, "-af", "JobId").split()


def is_closed(allocation: str) -> bool:
    """Return True if the pool knows that the pilot takes no more jobs."""
    clause = f'OSGPILOT_SLURM_JOB_ID == "{allocation}" && PartitionableSlot'
    return tool("condor_status", "-constraint", clause, "-af", "OSGPILOT_CLOSED").strip() == "true"


def ask_by_signal(process: subprocess.Popen[str], starts: Starts, allocation: str) -> None:
    tool("scancel", "--batch", "--signal=USR1", allocation)


def ask_by_lease(process: subprocess.Popen[str], starts: Starts, allocation: str) -> None:
    """Have the workflow die; its jobs stay in the queue, and its last sign of life is old."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    os.utime(starts.run / "lease", (0, 0))


@pytest.mark.parametrize("pace", PACES)
@pytest.mark.parametrize("ask", [ask_by_signal, ask_by_lease])
def test_a_draining_pilot_starts_no_job_finishes_its_own_and_leaves(
    workflow: Workflow, shared: Path, ask: Callable[..., None], pace: str
):
    workflow.write_site(SITE_AT[pace])
    workflow.snakefile(SNAKEFILE.replace("SHARED", str(shared)))
    alone = ("--osgpilot-bundle", "off")
    process = workflow.start(
        "--osgpilot-shared-prefixes", str(shared), "--osgpilot-max-pilots", "1", *alone
    )
    until(lambda: (shared / "keep").exists(), "the job that stays", PATIENCE_S)
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    starts = Starts(workflow.folder)
    until(lambda: starts.on(allocation) > 8, "jobs that start one after the other")

    ask(process, starts, allocation)
    # before that, all slots but one may be between two jobs
    until(lambda: is_closed(allocation), "the pilot to take no more jobs")
    until(lambda: len(running_on(allocation)) == 1, "the end of all jobs but one on the pilot")
    assert len(jobs_in_queue()) > 50, "some jobs are able to start"
    before = starts.on(allocation)
    cycles(4)
    assert starts.on(allocation) == before, "a job started on a pilot that drains"

    (shared / "go").touch()
    until(lambda: all(allocation not in line for line in pilots_in_slurm()), "the pilot's end")
    assert starts.on(allocation) == before, "a job started on a pilot that drains"
    assert (shared / "keep").read_text() == "start\n", "the job was interrupted"


SHARED_IMAGE = """
rule all:
    input: expand("made/{n}", n=range(12))
rule make:
    output: "made/{n}"
    container: "/opt/sif/job.sif"
    threads: 2
    shell: "echo > SHARED/{wildcards.n}; until [ -e SHARED/go ]; do sleep 0.5; done; touch {output}"
"""


def test_waiting_jobs_that_share_its_image_do_not_keep_a_draining_pilot(
    workflow: Workflow, shared: Path
):
    """HTCondor keeps their image on the pilot, with a process of its own."""
    workflow.snakefile(SHARED_IMAGE.replace("SHARED", str(shared)))
    process = workflow.start(
        "--sdm",
        "apptainer",
        "--osgpilot-shared-prefixes",
        str(shared),
        "--osgpilot-max-pilots",
        "1",
    )
    until(lambda: len(list(shared.iterdir())) == 2, "the jobs for which the pilot has room")
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())

    ask_by_signal(process, Starts(workflow.folder), allocation)
    (shared / "go").touch()
    until(lambda: all(allocation not in line for line in pilots_in_slurm()), "the pilot's end")
    assert process.wait(PATIENCE_S) == 0, workflow.said
