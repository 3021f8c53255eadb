"""Pilots as the OSG container runs them, with the intervals of tests and, when asked for, its own.

`tests/run --only pilot-real-time` runs the latter, which take up to 20 minutes each.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import (
    PACES,
    SITE,
    SITE_AT,
    Workflow,
    jobs_in_queue,
    nothing_left,
    pilots_in_slurm,
    tool,
    until,
)

pytestmark = pytest.mark.parametrize("pace", PACES)

ONE = """
rule all:
    output: "out"
    shell: "touch {output}"
"""
STUBBORN = """
rule all:
    output: "out"
    shell:
        "trap '' TERM; echo start >> SHARED/starts; FIRST"
        " until [ -e SHARED/go ]; do sleep 0.2; done; touch {output}"
"""

STOP_WRAPPER = """
pid=$1
for _ in 1 2 3 4 5 6 7 8 9; do
    parent=$(ps -o ppid= -p $pid | tr -d ' ')
    if [ "$(ps -o comm= -p $parent)" = condor_starter ]; then kill -STOP $pid; exit; fi
    pid=$parent
done
exit 1
"""
"""Stops the process that HTCondor knows of the job."""


def with_knobs(workflow: Workflow, pace: str, **knobs: str | int) -> None:
    site = SITE_AT[pace]
    workflow.write_site({**site, "condor": {**site["condor"], **knobs}})


def failed_pilot(workflow: Workflow, words: str) -> None:
    """Wait for the first pilot to fail; check that each place shows the reason."""
    workflow.start("--osgpilot-max-pilots", "1")
    until(lambda: words in workflow.said, "the reason in what Snakemake says", 180)
    first = next(line for line in workflow.said.splitlines() if words in line)
    assert " on n" in first
    assert "failed" in first
    until(lambda: any(words in pilot["why"] for pilot in workflow.record()["pilots"]), "the record")
    pilot = next(each for each in workflow.record()["pilots"] if words in each["why"])
    explained = subprocess.run(
        ["osgpilot", "explain", pilot["name"]],
        cwd=workflow.folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert words in explained
    assert pilot["node"] in explained


def test_a_master_that_cannot_start_is_told_at_the_first_pilot(workflow: Workflow, pace: str):
    """The container stays up then, and a pilot would take its whole time to boot."""
    with_knobs(workflow, pace, LOG="/nowhere")
    workflow.snakefile(ONE)
    failed_pilot(workflow, "condor_master does not start: ")


def test_an_image_that_cannot_be_fetched_is_told_before_a_job_is_lost(
    workflow: Workflow, pace: str
):
    """Each job would fail in the hook before it, with code 306, after ten minutes."""
    with_knobs(workflow, pace, DEFAULT_IMAGE_HOST="http://127.0.0.1:9")
    workflow.snakefile(ONE)
    failed_pilot(workflow, "the image in which jobs start could not be fetched")
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    assert "\n001 (" not in log.read_text(), "a job started"
    assert "\n021 (" not in log.read_text(), "a job failed in the hook"


def test_a_job_that_ignores_term_is_returned_to_the_queue(
    workflow: Workflow, shared: Path, pace: str
):
    """Were HTCondor cut off with it, it would keep the job for its lease.

    A job that only ignores TERM is ended by its wrapper, so this one stops the wrapper, too.
    """
    with_knobs(workflow, pace)
    stop = shared / "stop"
    stop.write_text(STOP_WRAPPER)
    first = f"[ $(wc -l < SHARED/starts) -gt 1 ] || sh {stop} $$ && touch SHARED/stopped;"
    workflow.snakefile(STUBBORN.replace("FIRST", first).replace("SHARED", str(shared)))
    process = workflow.start("--osgpilot-shared-prefixes", str(shared))
    until(lambda: (shared / "stopped").exists(), "the job's start", 300)
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    asked_s = time.time()
    tool("scancel", "--batch", "--signal=TERM", allocation)
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    until(lambda: "\n004 (" in log.read_text(), "the eviction of the job", 180)
    assert time.time() - asked_s > 10, "the job ended with supervisord's time, or ignored nothing"
    assert "\n022 (" not in log.read_text(), "HTCondor waits for a pilot that has gone"
    until(lambda: len((shared / "starts").read_text().split()) == 2, "another start", 300)
    (shared / "go").touch()
    assert process.wait(300) == 0, workflow.said
    states = tool("squeue", "--noheader", "--states=all", f"--jobs={allocation}", "--format=%T")
    assert states.strip() == "COMPLETED"


def test_a_pilot_without_jobs_leaves_by_itself(workflow: Workflow, pace: str):
    knobs = {"STARTD_NOCLAIM_SHUTDOWN": 10} if pace == "brisk" else {}
    with_knobs(workflow, pace, **knobs)
    workflow.snakefile(ONE.replace("touch", "sleep 20; touch"))
    process = workflow.start()
    until(lambda: any(row.endswith(" 2") for row in jobs_in_queue()), "the job's start", 300)
    os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not pilots_in_slurm(), "the pilot to leave", 300 if pace == "brisk" else 1500)
    assert "COMPLETED" in tool("squeue", "--noheader", "--me", "--states=all", "--format=%T")


def test_a_pilot_at_the_end_of_its_life_returns_its_jobs(
    workflow: Workflow, shared: Path, pace: str
):
    ends_s = int(time.time()) + 60
    knobs = {"GLIDEIN_ToDie": ends_s} if pace == "brisk" else {}
    with_knobs(workflow, pace, **knobs)
    workflow.snakefile(STUBBORN.replace("FIRST", "").replace("SHARED", str(shared)))
    workflow.start("--osgpilot-shared-prefixes", str(shared), "--osgpilot-max-pilots", "1")
    until(lambda: (shared / "starts").exists(), "the job's start", 300)
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    until(lambda: "\n004 (" in log.read_text(), "the eviction of the job", 1200)
    assert "\n022 (" not in log.read_text(), "HTCondor waits for a pilot that has gone"

    def state() -> str:
        shown = tool("squeue", "--noheader", "--states=all", f"--jobs={allocation}", "--format=%T")
        return shown.strip()

    until(lambda: state() not in ("RUNNING", "COMPLETING"), "the pilot's end")
    assert state() == "COMPLETED"
    (shared / "go").touch()


def test_a_job_sees_the_variables_of_a_real_pilot(workflow: Workflow, pace: str):
    with_knobs(workflow, pace)
    workflow.snakefile("""
rule all:
    input: "bare", "inside"
rule bare:
    output: "bare"
    shell: "env > {output}"
rule inside:
    output: "inside"
    container: "/opt/sif/job.sif"
    shell: "env > {output}"
""")
    done = workflow.start("--sdm", "apptainer", "--osgpilot-max-pilots", "1").wait(600)
    assert done == 0, workflow.said
    bare, inside = (
        dict(line.partition("=")[::2] for line in (workflow.folder / name).read_text().splitlines())
        for name in ("bare", "inside")
    )
    assert bare["GLIDEIN_Site"] == SITE["site"]
    assert bare["OSG_SITE_NAME"] == bare["GLIDEIN_ResourceName"] == SITE["resource"]
    assert bare["GWMS_DIR"].startswith("/pilot/osgvo-pilot-")
    assert bare["HAS_SINGULARITY"] == inside["HAS_SINGULARITY"] == "True"
    assert inside["OSG_SITE_NAME"] == SITE["site"]
    assert nothing_left()
