"""Report failed jobs: the only path from our executors to Snakemake's messages and logs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from ..common.failure_text import summary
from ..common.printable import one_line, printable
from ..common.redact import Redactor
from ..common.snakemake_compat import hides_errors, hides_rules
from ..common.snakemake_types import AnyJob, GroupJob, Workflow
from ..staging.job_identity import label

if TYPE_CHECKING:
    from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo


_ours: ContextVar[bool] = ContextVar("reported_by_us", default=False)


class HiddenErrors(logging.Handler):
    """Reports failures of jobs that Snakemake runs itself, if `--quiet rules` hides its own text.

    A handler of Snakemake's logger gets what the filters of others hide.
    """

    def __init__(self, workflow: Workflow, redact: Redactor) -> None:
        super().__init__(logging.ERROR)
        self._workflow, self._redact = workflow, redact

    def emit(self, record: logging.LogRecord) -> None:
        """Log one line for a job error of another executor."""
        is_job_error = getattr(record, "event", None) == LogEvent.JOB_ERROR
        if is_job_error and not _ours.get() and hides_rules(self._workflow):
            rule, number = getattr(record, "rule_name", "?"), getattr(record, "jobid", "?")
            said = self._redact(str(getattr(record, "rule_msg", None) or "it failed"))
            line = one_line(f"rule {rule} (Snakemake job {number}): {summary(printable(said))}")
            _log_failed(line, self._workflow)


@contextmanager
def hidden_errors_shown(workflow: Workflow, redact: Redactor) -> Iterator[None]:
    """Report failures of local rules that `--quiet rules` hides."""
    handler = HiddenErrors(workflow, redact)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _log_failed(line: str, workflow: Workflow | None) -> None:
    if hides_errors(workflow):
        print(f"FAILED {line}", file=sys.stderr, flush=True)
    else:
        # without an event, which `--quiet rules` would hide
        logger.error(f"FAILED {line}")


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
        output: str = "",
        **more: object,
    ) -> None:
        """Log why a job failed, in one line that no `--quiet` hides and in Snakemake's block;
        `aux_logs` are files with details, `output` has what the job printed. That is only named:
        Snakemake would show it with `--show-failed-logs`, with the secrets in it.
        """
        text = printable(self.redact(msg or "it failed for an unknown reason\n"))
        logs = [log for log in aux_logs or () if log]
        _log_failed(
            failed_line(job_info.job, text, [output, *logs]), getattr(self, "workflow", None)
        )
        before = _ours.set(True)
        try:
            if not job_info.job.is_group():
                super().print_job_error(  # type: ignore[misc]
                    job_info, msg=text, aux_logs=logs, **more
                )
                return
            if job_info.external_jobid is not None:
                more["external_jobid"] = job_info.external_jobid
            _log_group_error(job_info.job, text, logs, more)
        finally:
            _ours.reset(before)


def failed_line(job: AnyJob, text: str, logs: list[str]) -> str:
    """Return which job failed, why, and where its output is, in one line."""
    wildcards = label(job)
    name = f"group {job.name}" if job.is_group() else f"rule {job.name}"
    log = next((log for log in [*rule_logs(job), *logs] if _has_text(log)), "")
    where = f" (log: {log})" if log else ""
    attempts = job.restart_times + 1
    again = f" (attempt {job.attempt} of {attempts})" if attempts > 1 else ""
    of = f" ({wildcards})" if wildcards else ""
    return one_line(f"{name}{of}: {summary(text)}{where}{again}")


def rule_logs(job: AnyJob) -> tuple[str, ...]:
    """Return the files of the `log:` of a job's rule that have text; none for a group."""
    listed = () if job.is_group() else map(str, getattr(job, "log", ()))
    return tuple(filter(_has_text, listed))


def _has_text(log: str) -> bool:
    try:
        return bool(log) and Path(log).stat().st_size > 0
    except OSError:
        return False


def _log_group_error(job: GroupJob, text: str, logs: list[str], more: dict[str, object]) -> None:
    """Log a failed group job as Snakemake does, but with the message, which it leaves out."""
    parts = sorted(job.jobs, key=lambda part: str(part.rule))
    rules = ", ".join(dict.fromkeys(str(part.rule) for part in parts))
    logger.error(
        printable(f"group job {job.name} ({rules}): ") + text,
        extra={
            "event": LogEvent.GROUP_ERROR,
            "groupid": job.groupid,
            "aux_logs": logs,
            # Snakemake's formatter takes `rule_name`, up to 9.26 `name`
            "job_error_info": [
                {"name": part.rule, **part.get_log_error_info(indent=True, **more)}
                for part in parts
            ],
            **more,
        },
    )
    for part in parts:
        part.log_error(f"its group job {job.name} failed; see above", indent=True, **more)
