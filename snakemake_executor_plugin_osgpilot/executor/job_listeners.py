"""Listeners for the steps of a rule job: handed over, ended, finished or failed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common.counting import count_of
from ..common.snakemake_types import AnyJob
from ..monitoring.records import HandedOver
from ..staging.job_identity import label, names
from ..staging.resource_request import rule_memory_mb

if TYPE_CHECKING:
    from ..jobs.state.events import CommandUsage
    from ..jobs.state.job import Job
    from ..monitoring.recorder import HistoryRecorder
    from ..run.intake import Intake
    from .dag_dependencies import JobDependencies

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HandedOverJob:
    """A job of Snakemake's that is ready to be submitted as `job`."""

    snakemake_job: AnyJob
    job: Job


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that is no longer at the access point; `failure` is empty if it succeeded. `logs` are
    the files of the `log:` of a rule whose job failed. `is_final` is False if Snakemake retries it.
    """

    key: str
    usage: CommandUsage | None = None
    failure: str = ""
    logs: tuple[str, ...] = ()
    is_final: bool = True


class JobListener:
    """Follows rule jobs through the executor; subclasses override the steps they need.

    Snakemake's main thread calls all but `ended`.
    """

    def handed_over(self, jobs: Sequence[HandedOverJob]) -> None:
        """Follow jobs that are ready to be submitted."""

    def ended(self, jobs: Sequence[EndedJob]) -> None:
        """Record jobs that ended. The status thread calls it at every check, also without jobs,
        and before it reports a failure to Snakemake.
        """

    def finished(self, job: AnyJob, key: str, runtime_s: float) -> None:
        """Record that Snakemake counts `job` as done; `key` is empty if it ran elsewhere."""

    def failed(self, job: AnyJob) -> None:
        """Record that Snakemake counts `job` as failed; it may hand it over again."""


class HistoryListener(JobListener):
    """Writes the steps, and what each job depended on, to the run's history."""

    def __init__(self, recorder: HistoryRecorder, dependencies: JobDependencies) -> None:
        self._recorder, self._dependencies = recorder, dependencies

    def handed_over(self, jobs: Sequence[HandedOverJob]) -> None:
        listed = [
            HandedOver(each.job, label(job), names(job), rule_memory_mb(job))
            for each in jobs
            for job in (each.snakemake_job,)
        ]
        needed = self._dependencies.of((each.snakemake_job, each.job.key) for each in jobs)
        self._recorder.handed_over(listed, needed)

    def ended(self, jobs: Sequence[EndedJob]) -> None:
        self._recorder.spent({each.key: each.usage for each in jobs if each.usage is not None})
        for each in jobs:
            if each.failure:
                self._recorder.failed(each.key, each.failure, each.logs)


class IntakeListener(JobListener):
    """Submits jobs, and records in the journal which are done or have failed."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    def handed_over(self, jobs: Sequence[HandedOverJob]) -> None:
        if known := self._intake.hand_over([each.job for each in jobs]):
            logger.info(f"resumed tracking {count_of(known, 'job')} of the previous session")

    def ended(self, jobs: Sequence[EndedJob]) -> None:
        self._intake.settle([each.key for each in jobs if each.failure])
        if final := [each.key for each in jobs if each.failure and each.is_final]:
            self._intake.give_up(final)

    def finished(self, job: AnyJob, key: str, runtime_s: float) -> None:
        if key:
            self._intake.done(key)
