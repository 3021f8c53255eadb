"""Explain to the user why a job failed."""

from __future__ import annotations

import os
from pathlib import Path

from ..common.failure_text import failure_text
from ..common.redact import Redactor
from ..errors import OsgpilotError
from ..htcondor.submit_description import JOB_OUTPUT
from ..jobs.state.hold_policy import history
from ..jobs.state.job import Job, place
from .returned_files import open_plain

TAIL_LINES = 20
TAIL_BYTES = 16 * 1024
NOT_FOUND = 127
"""Exit status of a shell if there is no such command."""

_ON_THE_NODE = (
    "No image is named for it, and a command was not found on the node. Name an image "
    "that has it, by `container:` with `--sdm apptainer` or by the resource container_image."
)


def explain(error: Exception, job: Job, job_folder: Path, redact: Redactor) -> str:
    """Return why and where a job failed, its earlier attempts, and the end of its output.

    Secrets are masked; control characters are not escaped.
    """
    cause = str(error) if isinstance(error, OsgpilotError) else f"internal error: {error!r}"
    ran = job.exit_status is not None
    where = f"{place(job.allocation_id, job.node)}, HTCondor job {job.job_id}" if ran else ""
    before = history(job.failed_attempts) if job.failed_attempts else ""
    tail = output_tail(job_folder, redact)
    bare = job.exit_status == NOT_FOUND and not job.request.container_image
    advice = _ON_THE_NODE if bare and "container_image" not in tail else ""
    return failure_text(redact(cause), where, redact(before), tail, advice)


def output_tail(job_folder: Path, redact: Redactor, lines: int = TAIL_LINES) -> str:
    """Return the last lines of the job's output without secrets, empty if there are none."""
    try:
        with open_plain(job_folder / JOB_OUTPUT) as printed:
            cut = max(0, printed.seek(0, os.SEEK_END) - TAIL_BYTES - redact.longest)
            printed.seek(cut)
            text = printed.read(TAIL_BYTES + redact.longest).decode("utf-8", "surrogateescape")
    except OSError:
        return ""
    # before lines are cut off: a secret may span several
    text = redact.tail(text) if cut else redact(text)
    return "\n".join(text.splitlines()[-lines:])
