"""Submit descriptions. Nothing a user wrote enters them but names that have been checked.

Everything else a job needs (its command, its inputs, its outputs) lies in files of its job folder,
so no quoting rule of the submit language can change it.
"""

from __future__ import annotations

import re
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.pilot.parameters import safe_name
from snakemake_executor_plugin_osgpilot.ports import Seat, Submission

INPUT_FOLDER = "in"
OUTPUT_FOLDER = "osgpilot-out"
JOB_OUTPUT = "output"
JOB_FILE = "osgpilot-job"
SHELL = "/bin/bash"

JOB_LEASE_S = 600
"""How long a job waits for a pilot that vanished. HTCondor's default of 40 minutes
(JobLeaseDuration) would make every lost node cost that much."""

PILOT_ATTRIBUTES = ("OSGPILOT_PILOT_ID", "OSGPILOT_SLURM_JOB_ID")
"""Attributes of the slot that come with the execute event (`ulog_execute_attrs`)."""

RUNTIME_BUCKETS_MIN = (5, 15, 30, 60, 120, 240, 480, 720, 1200)
"""Runtimes are rounded up to these, so that few different requirements reach the negotiator."""

_PLAIN_PATH = re.compile(r"[A-Za-z0-9_@%+=:,./~ -]+")
_IMAGE = re.compile(r"[A-Za-z0-9_@%+=:./~-]+")
_URL = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._~:/%!*()&=+;@-]+")


MEMORY_QUANTUM_MB = 128
"""A slot hands out memory in multiples of this (MODIFY_REQUEST_EXPR_REQUESTMEMORY, HTCondor manual,
configuration of the condor_startd)."""


def claimed_memory_mb(requested_mb: int) -> int:
    """Return how much of a pilot's memory a job takes that asks for `requested_mb`."""
    return -(-requested_mb // MEMORY_QUANTUM_MB) * MEMORY_QUANTUM_MB


def runtime_bucket_s(runtime_s: int) -> int:
    """Return `runtime_s` rounded up to a bucket; 0 stays 0, beyond the last it stays as it is."""
    buckets = (60 * minutes for minutes in RUNTIME_BUCKETS_MIN)
    return next((b for b in buckets if runtime_s <= b), runtime_s) if runtime_s else 0


def requirements(runtime_s: int) -> str:
    """Return the clause that keeps a job off pilots that die before it can finish."""
    if not runtime_s:
        return "true"
    return f"isUndefined(TARGET.GLIDEIN_ToDie) || TARGET.GLIDEIN_ToDie - time() > {runtime_s}"


def describe(submission: Submission, seat: Seat, run_folder: Path) -> dict[str, str]:
    """Return the submit description of `submission`; what differs by job is in `items`.

    Job folders are `run_folder/jobs/KEY`. The whole folder `osgpilot-out` comes back, whether the
    job succeeded or not, so that a failing rule never puts its job on hold.
    """
    folder = plain_path(run_folder)
    request = submission.request
    shape = request.job_class.shape
    description = {
        "universe": "vanilla",
        "executable": SHELL,
        "transfer_executable": "false",
        "arguments": JOB_FILE,
        "initialdir": f"{folder}/jobs/$(OSGPilotKey)",
        "log": f"{folder}/jobs.log",
        "output": JOB_OUTPUT,
        "error": JOB_OUTPUT,
        "should_transfer_files": "YES",
        "when_to_transfer_output": "ON_EXIT",
        "transfer_input_files": f"{INPUT_FOLDER}/$(OSGPilotUrls)",
        "transfer_output_files": OUTPUT_FOLDER,
        "request_cpus": str(shape.cores),
        "request_memory": str(shape.memory_mb),
        "request_disk": f"{shape.disk_mb}MB",
        "requirements": requirements(request.job_class.runtime_s),
        "job_lease_duration": str(JOB_LEASE_S),
        "ulog_execute_attrs": ",".join(PILOT_ATTRIBUTES),
        "batch_name": f"osgpilot-{safe_name(seat.run, 'run')}",
        "My.ProjectName": f'"{safe_name(seat.project, "project")}"',
        "My.OSGPilotWorkflow": f'"{safe_name(seat.run, "run")}"',
        "My.OSGPilotJobKey": f'"{seat.run}/$(OSGPilotKey)"',
    }
    if request.container_image:
        description["universe"] = "container"
        description["container_image"] = image_name(request.container_image)
    return description


def items(submission: Submission) -> list[dict[str, str]]:
    """Return the variables of each job. Raises `BadInput` for a URL that could do harm."""
    return [
        {"OSGPilotKey": key, "OSGPilotUrls": "".join(map(_listed, submission.urls.get(key, ())))}
        for key in submission.keys
    ]


def _listed(url: str) -> str:
    if not _URL.fullmatch(url):
        raise BadInput(f"the URL {url!r} has characters that HTCondor would misread")
    return f",{url}"


def plain_path(path: Path) -> str:
    """Return `path` as text if HTCondor's submit language takes it as it is."""
    if not _PLAIN_PATH.fullmatch(str(path)):
        raise BadInput(
            f"the working folder {str(path)!r} has characters that HTCondor would misread; "
            "use letters, digits, blanks and - _ . @ % + = : , ~ only"
        )
    return str(path)


def image_name(image: str) -> str:
    """Return a container image (path or URL) that is safe in a submit description."""
    if not _IMAGE.fullmatch(image):
        raise BadInput(f"container_image {image!r} has characters that are not allowed in it")
    return image
