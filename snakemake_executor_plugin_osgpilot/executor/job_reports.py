"""Report failed jobs: the only path from our executors to Snakemake's messages and logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from ..common.printable import printable
from ..common.redact import Redactor
from ..common.snakemake_types import GroupJob

if TYPE_CHECKING:
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo


class Reporting:
    """Comes before a class of Snakemake's executors in the MRO.

    Such a message includes output of the job. Snakemake shows it on the terminal and keeps it in a
    log that others can read: secrets are masked and control characters are escaped.
    """

    redact = Redactor()

    def print_job_error(
        self,
        job_info: SubmittedJobInfo,
        msg: str | None = None,
        aux_logs: list[str] | None = None,
        **more: Any,
    ) -> None:
        """Log why a job failed; `aux_logs` are files with details."""
        text = printable(self.redact(msg or "it failed for an unknown reason\n"))
        logs = [log for log in aux_logs or () if log]
        if not job_info.job.is_group():
            super().print_job_error(job_info, msg=text, aux_logs=logs, **more)  # type: ignore[misc]
            return
        if job_info.external_jobid is not None:
            more["external_jobid"] = job_info.external_jobid
        _log_group_error(job_info.job, text, logs, more)


def _log_group_error(job: GroupJob, text: str, logs: list[str], more: dict[str, Any]) -> None:
    """Log a failed group job as Snakemake does, but with the message, which it leaves out."""
    parts = sorted(job.jobs, key=lambda part: str(part.rule))
    rules = ", ".join(dict.fromkeys(str(part.rule) for part in parts))
    logger.error(
        printable(f"group job {job.name} ({rules}): ") + text,
        extra={
            "event": LogEvent.GROUP_ERROR,
            "groupid": job.groupid,
            "aux_logs": logs,
            "job_error_info": [part.get_log_error_info(indent=True, **more) for part in parts],
            **more,
        },
    )
    for part in parts:
        part.log_error(f"its group job {job.name} failed; see above", indent=True, **more)
