"""What a user is told about a job that failed."""

from __future__ import annotations

import os
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import JOB_OUTPUT
from snakemake_executor_plugin_osgpilot.core.holds import history
from snakemake_executor_plugin_osgpilot.core.jobs import Job, place
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.payload.returned import open_plain, printable

TAIL_LINES = 20
TAIL_BYTES = 16 * 1024


def explain(error: Exception, job: Job, job_folder: Path) -> str:
    """Return why a job failed, where, what happened to it before, and what it printed last."""
    cause = printable(
        str(error) if isinstance(error, OsgpilotError) else f"internal error: {error!r}"
    )
    ran = job.exit_status is not None
    where = f" ({_where(job)})" if ran else ""
    before = f"\nWhat happened: {history(job.setbacks)}" if job.setbacks else ""
    tail = output_tail(job_folder)
    said = f"\nIts output ended with:\n{tail}" if tail else ""
    return f"osgpilot: {cause}{where}{before}{said}\n"


def _where(job: Job) -> str:
    pilot = f", pilot {job.pilot}" if job.pilot else ""
    return f"{place(job.allocation_id, job.node)}{pilot}, HTCondor job {job.job_id}"


def output_tail(job_folder: Path) -> str:
    """Return the last lines of what the job printed, empty if nothing."""
    try:
        with open_plain(job_folder / JOB_OUTPUT) as printed:
            printed.seek(max(0, printed.seek(0, os.SEEK_END) - TAIL_BYTES))
            text = printed.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-TAIL_LINES:])
