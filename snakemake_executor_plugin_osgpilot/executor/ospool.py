"""Run the jobs of one project in the OSPool: submit them, and report results to Snakemake."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from snakemake_interface_common.exceptions import ApiError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from ..common.log_output import current_label, set_label
from ..common.redact import Redactor
from ..common.snakemake_compat import forget_running
from ..common.snakemake_types import AnyJob, JobFilter, SnakemakeLogger, Workflow
from ..htcondor.submit_description import JOB_OUTPUT
from ..jobs.state.job import Job
from ..monitoring.console import ProgressReporter
from ..staging import benchmarks, output_cache
from ..staging import commit_outputs as commit
from ..staging import updated_outputs as updated
from ..staging.failure_message import explain
from ..staging.job_identity import outputs_of
from ..staging.latency_wait import LatencyWait
from ..staging.payload import members, needed_from_outside
from ..staging.returned_files import IncompleteOutputError
from ..staging.usage import spent
from .assembly import environment_of, open_run
from .dag_dependencies import JobDependencies
from .dag_lookahead import Lookahead
from .drafts import JobDrafter
from .in_flight import InFlight
from .job_listeners import EndedJob, HandedOverJob, HistoryListener, IntakeListener, JobListener
from .job_reports import Reporting, rule_logs

if TYPE_CHECKING:
    from ..run.assembly import Run
    from ..scaling.shared_limits import QuotaShare

logger = logging.getLogger(__name__)

POLL_S = 0.2
BATCH = 1000
"""Number of jobs prepared before they are submitted: the queue submits them in its own thread and
process while the next ones are prepared."""


class OSPoolExecutor(Reporting, RemoteExecutor):  # type: ignore[misc]
    """Passes jobs to the run's queue and reports their results.

    Everything is set up before the base class starts its status thread, which calls
    `check_active_jobs` before any job exists. Jobs are cancelled by the run's tag: the base class
    passes an empty list while its thread is checking. `serves` is true of the jobs of the DAG that
    run here, `share` is their part of the workflow's limits. Set `interrupted` if the user cancels,
    and `error` to the error that stops Snakemake.
    """

    def __init__(
        self,
        workflow: Workflow,
        snakemake_logger: SnakemakeLogger,
        serves: JobFilter,
        share: QuotaShare,
    ) -> None:
        self._serves = serves
        self._active: dict[str, SubmittedJobInfo] = {}
        self._ended: dict[AnyJob, tuple[str, float]] = {}
        self._closed = False
        self._put_off: dict[str, Job] = {}
        self._in_flight = InFlight()
        self.interrupted = False
        self.error = ""
        self.redact = Redactor(environment_of(workflow).values())
        self._log_label = current_label()
        self._progress = ProgressReporter(snakemake_logger)
        self._run = open_run(workflow, share, self._progress.show, self.redact)
        self._drafter = JobDrafter(workflow, self._run, serves, self.redact)
        self._payloads = self._drafter.payloads
        self._ahead = self._lookahead(workflow)
        self._listeners: tuple[JobListener, ...] = (
            self._ahead,
            HistoryListener(self._run.recorder, JobDependencies(workflow.dag)),
            # last: it submits
            IntakeListener(self._run.intake),
        )
        self._late = LatencyWait(workflow.execution_settings.latency_wait)
        super().__init__(workflow, snakemake_logger)

    def _lookahead(self, workflow: Workflow) -> Lookahead:
        dag, keep_going = workflow.dag, workflow.execution_settings.keep_going
        return Lookahead(
            dag, self._run.clock, self._drafter.class_of, keep_going=keep_going, serves=self._serves
        )

    @property
    def run(self) -> Run:
        """The run that serves these jobs."""
        return self._run

    def begin(self) -> None:
        """Reject rules that cannot run at all, before the first job is submitted anywhere."""
        self._drafter.begin()

    def run_jobs(self, jobs: Iterable[AnyJob]) -> None:
        """Prepare jobs and pass them to the queue."""
        self._run.shutdown.listen()
        self._run.tenure.is_certain()
        # of groups that overlap, the whole comes before its parts
        jobs = sorted(jobs, key=lambda job: -len(members(job)))
        self._drafter.count_users()
        for first in range(0, len(jobs), BATCH):
            self._hand_over(jobs[first : first + BATCH])
        self._look_ahead()

    def _hand_over(self, jobs: list[AnyJob]) -> None:
        ready: list[HandedOverJob] = []
        self._drafter.look_again()
        for job in jobs:
            outputs = outputs_of(job)
            if self._in_flight.is_again(outputs, job):
                continue
            self.run_job_pre(job)
            info = SubmittedJobInfo(job)
            try:
                if self._is_in_cache(job):
                    self.report_job_success(info)
                    continue
                own = self._drafter.draft(job, self._ahead.after_s)
            except ApiError:
                raise
            except Exception as error:
                # raised from here it would cancel every job of the workflow
                self._report_failure(info, f"osgpilot: {error}\n")
                continue
            info.external_jobid = own.key
            self._active[own.key] = info
            self._in_flight.begins(outputs, own.key, job)
            self.report_job_submission(info)
            ready.append(HandedOverJob(job, own))
        self._run.intake.reserve()
        for listener in self._listeners:
            listener.handed_over(ready)
        self._run.controller.wake()

    def _is_in_cache(self, job: AnyJob) -> bool:
        """Return True if the outputs of `job` were fetched from Snakemake's cache."""
        if not output_cache.is_cached(job, self.workflow):
            return False
        return bool(self.workflow.async_run(output_cache.fetch(job, self.workflow)))

    def run_job(self, job: AnyJob) -> None:
        """Run a single job; Snakemake itself only calls `run_jobs`."""
        self.run_jobs([job])

    def handle_job_success(self, job: AnyJob) -> None:
        """Notify the listeners that Snakemake counts `job` as done; runs on the main thread."""
        super().handle_job_success(job)
        self._run.tenure.is_certain()
        key, runtime_s = self._ended.pop(job, ("", 0.0))
        for listener in self._listeners:
            listener.finished(job, key, runtime_s)
        self._look_ahead()

    def handle_job_error(self, job: AnyJob) -> None:
        """Notify the listeners that `job` failed; Snakemake may hand it over again."""
        super().handle_job_error(job)
        self._run.tenure.is_certain()
        if self._serves(job) and (trouble := updated.restore(job, self.workflow.persistence)):
            logger.info(trouble)
        for listener in self._listeners:
            listener.failed(job)
        self._look_ahead()

    def _look_ahead(self) -> None:
        self._ahead.walk()
        self._run.queue.expect(self._ahead.ahead)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report jobs that ended; yield the rest. Never raises: that ends the status thread."""
        set_label(self._log_label)
        if not self._run.tenure.is_certain():
            await asyncio.sleep(POLL_S)
            for info in active_jobs:
                yield info
            return
        self._run.controller.news.clear()
        failed = {}
        over = self._put_off | self._late.due(self._run.clock.now_s()) | self._run.queue.over()
        self._put_off = {}
        if builds := self._drafter.builds:
            over = {key: job for key, job in over.items() if key not in builds.keys}
        for key, job in over.items():
            if (info := self._active.pop(key, None)) and (text := await self._finish(info, job)):
                failed[key] = (info, text)
        ended = [self._ended_job(key, failed) for key in over if key not in self._active]
        for listener in self._listeners:
            listener.ended(ended)
        # before Snakemake is notified of a failure: what it hands over then is a retry
        again = [job for each in ended for job in self._in_flight.ends(each.key)]
        forget_running(self.workflow, again)
        for info, text in failed.values():
            self._report_failure(info, text)
        for info in active_jobs:
            if info.external_jobid in self._active:
                yield info

    def _ended_job(self, key: str, failed: Mapping[str, tuple[SubmittedJobInfo, str]]) -> EndedJob:
        info, failure = failed.get(key, (None, ""))
        logs = rule_logs(info.job) if info else ()
        is_final = not info or info.job.attempt > info.job.restart_times
        return EndedJob(key, spent(self._run.folder.job(key)), failure, logs, is_final)

    async def sleep(self) -> None:
        """Wait for events or a shutdown, regardless of the check interval."""
        news, clock, late = self._run.controller.news, self._run.clock, self._late
        while self.wait and not (news.is_set() or self._put_off or late.is_due(clock.now_s())):
            await asyncio.sleep(POLL_S)

    async def _finish(self, info: SubmittedJobInfo, job: Job) -> str:
        """Commit the outputs of a job and report success, or return why it failed.

        A job whose outputs on a shared file system are not visible here yet stays active.
        """
        folder = self._run.folder.job(job.key)
        try:
            if self._waits(job):
                self._active[job.key] = info
                return ""
            self._commit(info.job, job, folder)
            await output_cache.store(info.job, self.workflow)
        except Exception as error:
            if isinstance(error, IncompleteOutputError):
                commit.empty(folder)
                if self._run.queue.run_again(job.key, str(error)):
                    self._active[job.key] = info
                    return ""
            self._run.queue.mark_incomplete(job.key)
            # any error fails this job, and not the whole workflow
            text = explain(error, job, folder, self.redact)
        else:
            text = ""
            runtime_s = (job.ended_s or 0.0) - (job.started_s or 0.0)
            self._ended[info.job] = job.key, runtime_s
            self.report_job_success(info)
        self._payloads.pop(job.key, None)
        return text

    def _waits(self, job: Job) -> bool:
        """Return True if an ended job must be checked again later."""
        shared = self._payloads[job.key].shared if job.exit_status == 0 else ()
        if shared and self._late.keeps(job, shared, self._run.clock.now_s()):
            return True
        if not self._run.tenure.is_certain():
            self._put_off[job.key] = job
            return True
        return False

    def _report_failure(self, info: SubmittedJobInfo, text: str) -> None:
        self._run.tenure.is_certain()
        text += updated.keep(info.job, self.workflow.persistence)
        self.report_job_error(info, msg=text, output=self._output_of(info))

    def _output_of(self, info: SubmittedJobInfo) -> str:
        """Return the file with the output of a failed job, which is kept."""
        key = info.external_jobid
        return os.path.relpath(self._run.folder.job(key) / JOB_OUTPUT) if key else ""

    def _commit(self, snakemake_job: AnyJob, job: Job, folder: Path) -> None:
        commit.check_ended(job)
        # not kept in memory for every job
        given = tuple(map(str, needed_from_outside(snakemake_job)))
        payload = replace(self._payloads[job.key], inputs=given)
        extended = self.workflow.output_settings.benchmark_extended
        texts = benchmarks.texts(snakemake_job, payload.benchmarks, folder, extended=extended)
        commit.commit(payload, folder, self._run.workdir, job.exit_status, self._late.wait_s, texts)
        self._drafter.store_benchmarks(snakemake_job)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Cancel all jobs of this run, found by the run's tag and not by `active_jobs`.

        With `--osgpilot-on-exit detach`, Ctrl-C leaves them in the queue; an error does not.
        """
        self._close(interrupted=self.interrupted)

    def shutdown(self) -> None:
        """Clean up; called at every end of a workflow, also after an internal error."""
        self._close()
        super().shutdown()

    def _close(self, *, interrupted: bool = False) -> None:
        if not self._closed:
            self._closed = True
            self._run.intake.settle()
            self._run.close(interrupted=interrupted, error=self.error)
            self._progress.close()
