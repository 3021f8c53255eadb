"""Pilots as the OSG container runs them, with the intervals of tests and, when asked for, its own.

`tests/run --only pilot-real-time` runs the latter, which take up to 12 minutes each.
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
    WebServer,
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


def shown(workflow: Workflow, *argv: str) -> str:
    """Return what a command of osgpilot prints in the workflow's folder."""
    done = subprocess.run(
        ["osgpilot", *argv], cwd=workflow.folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def failed_pilot(workflow: Workflow, words: str) -> None:
    """Wait for the first pilot to fail; check that each place shows the reason and the node."""
    workflow.start("--osgpilot-max-pilots", "1")
    until(lambda: words in workflow.said, "the reason in what Snakemake says", 180)
    first = next(line for line in workflow.said.splitlines() if words in line)
    assert "failed" in first
    until(lambda: words in shown(workflow, "status"), "the reason in what status shows")
    (pilot, *_) = (each for each in workflow.record()["pilots"] if words in each["why"])
    places = {
        "Snakemake": first,
        "status": shown(workflow, "status"),
        "explain": shown(workflow, "explain"),
        "explain PILOT": shown(workflow, "explain", pilot["name"]),
    }
    for place, said in places.items():
        assert words in said, place
        assert f" on {pilot['node']}" in said, place


def test_a_master_that_cannot_start_is_reported_at_the_first_pilot(workflow: Workflow, pace: str):
    """The container stays up then, and a pilot would take its whole time to boot."""
    with_knobs(workflow, pace, LOG="/nowhere")
    workflow.snakefile(ONE)
    failed_pilot(workflow, "condor_master does not start: ")


def test_an_image_that_cannot_be_fetched_is_reported_before_a_job_is_lost(
    workflow: Workflow, pace: str
):
    """Each job would fail in the hook before it, with code 306, after two minutes."""
    with_knobs(workflow, pace, DEFAULT_IMAGE_HOST="http://127.0.0.1:9")
    workflow.snakefile(ONE)
    failed_pilot(workflow, "the image in which jobs start could not be fetched")
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    assert "\n001 (" not in log.read_text(), "a job started"
    assert "\n021 (" not in log.read_text(), "a job failed in the hook"


def test_a_node_without_a_container_runtime_is_reported_at_the_first_pilot(
    workflow: Workflow, pace: str
):
    hide = "mkdir tools; ln -s /usr/bin/* tools; rm tools/{apptainer,singularity}; PATH=$PWD/tools"
    workflow.write_site({**SITE_AT[pace], "setup": [hide]})
    workflow.snakefile(ONE)
    failed_pilot(workflow, "neither apptainer nor singularity on ")


def default_images(web: WebServer) -> str:
    """Serve the images of jobs that bring none; return their host's address."""
    for name in ("htc__rocky__8", "htc__rocky__9"):
        folder = web.folder / os.uname().machine / name
        folder.mkdir(parents=True)
        (folder / "latest.txt").write_text("v1.sif\n")
        (folder / "v1.sif").symlink_to("/opt/sif/runtime.sif")
    return web.url


TWO = """
rule all:
    input: "first", "second"
rule one:
    output: "{n}"
    wildcard_constraints: n="first|second"
    threads: 4
    shell: "touch SHARED/started; until [ -e SHARED/go ]; do sleep 0.2; done; touch {output}"
"""


def test_a_default_image_that_vanishes_costs_a_pilot_and_no_job(
    workflow: Workflow, shared: Path, web: WebServer, pace: str
):
    """The hook before a job ends with code 306: the job returns to the queue (event 021)."""
    with_knobs(workflow, pace, DEFAULT_IMAGE_HOST=default_images(web))
    workflow.snakefile(TWO.replace("SHARED", str(shared)))
    process = workflow.start(
        "--osgpilot-shared-prefixes", str(shared), "--osgpilot-max-pilots", "1"
    )
    until(lambda: (shared / "started").exists(), "the first job", 300)
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    images = "/var/tmp/osg-pilot.*/pilot/osgvo-pilot-*/images/*.sif"
    tool("srun", "--overlap", f"--jobid={allocation}", "sh", "-c", f"rm {images}")
    (shared / "go").touch()
    words = "does not exist as a local file"
    until(lambda: words in workflow.said, "the reason in what Snakemake says", 300)
    assert process.wait(600) == 0, workflow.said
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    # a job may start once more before the pool hears that the pilot takes none
    assert log.read_text().count("Error from starter") in (1, 2)
    (failed,) = (each for each in workflow.record()["pilots"] if each["state"] == "failed")
    assert "the container takes no more jobs" in failed["why"]
    assert words in failed["why"]


def test_an_image_that_is_missing_below_cvmfs_is_reported_with_its_name(
    workflow: Workflow, pace: str
):
    """The hook stops the pilot with 307, but what HTCondor reads of it is 7: it holds the job."""
    image = "/cvmfs/singularity.opensciencegrid.org/none:1"
    with_knobs(workflow, pace)
    workflow.snakefile(ONE.replace("    shell", f'    container: "{image}"\n    shell'))
    workflow.start("--sdm", "apptainer", "--osgpilot-max-pilots", "1")
    held = f"Unable to download or build singularity image {image}"
    until(lambda: held in workflow.said, "the hold in what Snakemake says", 600)
    line = next(line for line in workflow.said.splitlines() if held in line)
    assert "file transfer" not in line
    until(lambda: "takes no more jobs" in shown(workflow, "status"), "the pilot's end", 600)
    assert held in shown(workflow, "explain", "all")


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
    assert "\n022 (" not in log.read_text(), "HTCondor waits for a pilot that no longer exists"
    until(lambda: len((shared / "starts").read_text().split()) == 2, "another start", 300)
    (shared / "go").touch()
    assert process.wait(300) == 0, workflow.said
    states = tool("squeue", "--noheader", "--states=all", f"--jobs={allocation}", "--format=%T")
    assert states.strip() == "COMPLETED"


def test_logs_are_sent_away_only_where_the_site_file_says_so(
    workflow: Workflow, web: WebServer, pace: str
):
    """The container hands its token over for it, and can write the certificate it gets."""
    site = SITE_AT[pace]
    knobs = {**site["condor"], "LOG_REGISTRY": web.url}
    for wanted in (False, True):
        pilot = {**site["pilot"], "remote_log": wanted}
        workflow.write_site({**site, "condor": knobs, "pilot": pilot})
        workflow.snakefile(ONE.replace('"out"', f'"{wanted}"'))
        assert workflow.start("--osgpilot-max-pilots", "1").wait(600) == 0, workflow.said
        token = Path(SITE["token"]).expanduser().read_text().strip()
        assert web.sent_by == [f"Bearer {token}"] * wanted
        logs = [each.read_text() for each in workflow.folder.rglob("slurm.log")]
        sent = [log for log in logs if "logs are sent away with the certificate" in log]
        assert len(sent) == int(wanted), logs
        assert token not in "".join(logs)


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


def test_a_pilot_without_jobs_leaves_by_itself(workflow: Workflow, pace: str):
    knobs = {"STARTD_NOCLAIM_SHUTDOWN": 10} if pace == "brisk" else {}
    with_knobs(workflow, pace, **knobs)
    workflow.snakefile(ONE.replace("touch", "sleep 20; touch"))
    process = workflow.start()
    until(lambda: any(row.endswith(" 2") for row in jobs_in_queue()), "the job's start", 300)
    os.killpg(process.pid, signal.SIGKILL)
    until(lambda: not pilots_in_slurm(), "the pilot to leave", 300 if pace == "brisk" else 1500)
    assert "COMPLETED" in tool("squeue", "--noheader", "--me", "--states=all", "--format=%T")
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/pilots/*/slurm.log")
    assert "taking no new jobs" not in log.read_text(), "it ended because its workflow had ended"


def test_a_pilot_at_the_end_of_its_life_returns_its_jobs(
    workflow: Workflow, shared: Path, pace: str
):
    # from when its HTCondor starts, so that a job has time to start on a busy machine, too
    knobs = {"GLIDEIN_ToDie": "DaemonStartTime + 60"} if pace == "brisk" else {}
    with_knobs(workflow, pace, **knobs)
    workflow.snakefile(STUBBORN.replace("FIRST", "").replace("SHARED", str(shared)))
    workflow.start("--osgpilot-shared-prefixes", str(shared), "--osgpilot-max-pilots", "1")
    until(lambda: (shared / "starts").exists(), "the job's start", 300)
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    until(lambda: "\n004 (" in log.read_text(), "the eviction of the job", 1200)
    assert "\n022 (" not in log.read_text(), "HTCondor waits for a pilot that no longer exists"

    def state() -> str:
        shown = tool("squeue", "--noheader", "--states=all", f"--jobs={allocation}", "--format=%T")
        return shown.strip()

    until(lambda: state() not in ("RUNNING", "COMPLETING"), "the pilot's end")
    assert state() == "COMPLETED"
    (shared / "go").touch()
