"""Jobs of one project through the OSPool: Snakemake's callbacks, jobs in and results out."""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import AsyncGenerator, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import ApiError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.executor.job_reports import Reporting
from snakemake_executor_plugin_osgpilot.executor.opening import make_preparer, open_run
from snakemake_executor_plugin_osgpilot.monitoring.console import ConsoleReporter
from snakemake_executor_plugin_osgpilot.staging import updated_outputs as updated
from snakemake_executor_plugin_osgpilot.staging.latency_wait import LatencyWait

if TYPE_CHECKING:
    from snakemake_executor_plugin_osgpilot.executor.dag_lookahead import Lookahead
    from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
    from snakemake_executor_plugin_osgpilot.model.resources import JobClass
    from snakemake_executor_plugin_osgpilot.monitoring.records import Told
    from snakemake_executor_plugin_osgpilot.run.assembly import Run
    from snakemake_executor_plugin_osgpilot.scaling.shared_limits import QuotaShare
    from snakemake_executor_plugin_osgpilot.staging.payload import Payload
    from snakemake_executor_plugin_osgpilot.staging.preparer import Preparer

POLL_S = 0.2
BATCH = 1000
"""Jobs made ready before they are handed over: the queue submits them, in its own thread and
process, while the next ones are made ready."""


class Executor(Reporting, RemoteExecutor):  # type: ignore[misc]
    """Hands jobs to the run's queue and reports what became of them.

    Everything is set up before the base class starts its status thread, which calls
    `check_active_jobs` before any job exists. Jobs are cancelled by the run's tag: the base class
    passes an empty list while its thread is checking. `serves` tells which jobs of the DAG come
    here, `share` what they take of the limits; `interrupted` is set when it is the user who has
    them cancelled.
    """

    def __init__(
        self, workflow: Any, logger: Any, serves: Callable[[Any], bool], share: QuotaShare
    ) -> None:
        self._serves = serves
        self._payloads: dict[str, Payload] = {}
        self._active: dict[str, SubmittedJobInfo] = {}
        self._preparer: Preparer | None = None
        self._ended: dict[Any, tuple[str, float]] = {}
        self._closed = False
        self._put_off: dict[str, Job] = {}
        self.interrupted = False
        self.redact = Redactor(_environment(workflow).values())
        self._teller = ConsoleReporter(logger, self.redact)
        self._run = open_run(workflow, share, self._teller)
        from snakemake_executor_plugin_osgpilot.executor.dag_dependencies import JobDependencies

        self._ahead = self._lookahead(workflow)
        self._kin = JobDependencies(workflow.dag)
        self._late = LatencyWait(workflow.execution_settings.latency_wait)
        super().__init__(workflow, logger)

    def _lookahead(self, workflow: Any) -> Lookahead:
        from snakemake_executor_plugin_osgpilot.executor.dag_lookahead import Lookahead

        dag, keep_going = workflow.dag, workflow.execution_settings.keep_going
        return Lookahead(
            dag, self._run.clock, self._class_of, keep_going=keep_going, serves=self._serves
        )

    @property
    def run(self) -> Run:
        """The run that serves these jobs."""
        return self._run

    def begin(self) -> None:
        """Refuse what cannot run at all, before the first job goes out anywhere."""
        self._preparer = self._preparer or self._begin()

    def _begin(self) -> Preparer:
        run, environment = self._run, _environment(self.workflow)
        preparer = make_preparer(self.workflow, run, environment, self.format_job_exec)
        try:
            preparer.begin(job for job in self.dag.needrun_jobs() if self._serves(job))
        except OsgpilotError as error:
            raise ApiError(f"osgpilot: {error}") from error
        return preparer

    def run_jobs(self, jobs: Iterable[Any]) -> None:
        """Make jobs ready to travel and hand them to the queue."""
        self._run.ending.listen()
        self._run.tenure.is_certain()
        jobs = list(jobs)
        for start in range(0, len(jobs), BATCH):
            self._hand_over(jobs[start : start + BATCH])
        self._look_ahead()

    def _hand_over(self, jobs: list[Any]) -> None:
        from snakemake_executor_plugin_osgpilot.staging.label import label, names

        ready: list[Job] = []
        told: list[Told] = []
        for job in jobs:
            self.run_job_pre(job)
            info = SubmittedJobInfo(job)
            try:
                own = self._prepare(job)
            except ApiError:
                raise
            except Exception as error:
                # raised from here it would cancel every job of the workflow
                self._report_failure(info, f"osgpilot: {error}\n")
                continue
            info.external_jobid = own.key
            self._active[own.key] = info
            self._ahead.handed_over(job, own.key, own.job_class)
            self._kin.handed_over(job, own.key)
            self.report_job_submission(info)
            ready.append(own)
            told.append((own, label(job), names(job)))
        self._run.chronicle.handed_over(told, self._kin.told())
        if known := self._run.intake.hand_over(ready):
            self._run.say(f"{known} job(s) are there from before and are followed")
        self._run.controller.wake()

    def run_job(self, job: Any) -> None:
        """Run a single job; Snakemake itself only calls `run_jobs`."""
        self.run_jobs([job])

    def handle_job_success(self, job: Any) -> None:
        """Learn how long the chain of jobs up to this one has taken; called on the main thread."""
        super().handle_job_success(job)
        self._run.tenure.is_certain()
        key, runtime_s = self._ended.pop(job, ("", 0.0))
        if key:
            # from now on, Snakemake itself knows that the job is done
            self._run.intake.done(key)
        self._ahead.finished(job, runtime_s)
        self._run.book.critical_path_s = self._ahead.critical_path_s
        self._run.chronicle.critical_path_s = self._ahead.critical_path_s
        self._look_ahead()

    def handle_job_error(self, job: Any) -> None:
        """Forget where the job was; Snakemake may hand it over again."""
        super().handle_job_error(job)
        self._run.tenure.is_certain()
        if self._serves(job) and (trouble := updated.put_back(job, self.workflow.persistence)):
            self._run.say(trouble)
        self._ahead.failed(job)
        self._look_ahead()

    def _look_ahead(self) -> None:
        self._ahead.walk()
        self._run.queue.expect(self._ahead.ahead)

    def _class_of(self, job: Any) -> JobClass | None:
        """Return what a job to come will ask for, as far as its rule tells."""
        return self._preparer.class_of(job) if self._preparer else None

    def additional_general_args(self) -> str:
        """Have Snakemake on the execution point work where it is started.

        Snakemake passes folders of this machine on; of each option the last one given counts.
        """
        from snakemake_executor_plugin_osgpilot.staging.workflow_sources import moved_prefix

        given = self.workflow.workflow_settings.wrapper_prefix
        prefix = moved_prefix(given, self._run.workdir)
        return "--directory ." + (f" --wrapper-prefix {shlex.quote(prefix)}" if prefix else "")

    def _prepare(self, job: Any) -> Job:
        from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
        from snakemake_executor_plugin_osgpilot.staging.job_identity import digest, identity

        self._preparer = self._preparer or self._begin()
        prepared, intake = self._preparer.prepare(job), self._run.intake
        which, how = identity(job), digest(prepared)
        key, is_there = intake.key_for(which, how)
        urls = tuple(url for url, _ in prepared.payload.urls)
        own = Job(key, job.name, prepared.request, urls, identity=which)
        if not is_there:
            prepared.parcel.write(self._run.folder.job(key))
            intake.note(own, which, how)
        self._payloads[key] = prepared.payload.without_what_left()
        return own

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report what ended; yield the rest. Never raises: that would end the status thread."""
        if not self._run.tenure.is_certain():
            await asyncio.sleep(POLL_S)
            for info in active_jobs:
                yield info
            return
        self._run.controller.news.clear()
        failed = {}
        over = self._put_off | self._late.due(self._run.clock.now_s()) | self._run.queue.over()
        self._put_off = {}
        for key, job in over.items():
            if (info := self._active.pop(key, None)) and (text := self._finish(info, job)):
                failed[key] = (info, text)
        self._tell_spent(key for key in over if key not in self._active)
        self._run.intake.settle(failed)
        for key, (_, text) in failed.items():
            self._run.chronicle.failed(key, text)
        for info, text in failed.values():
            self._report_failure(info, text)
        for info in active_jobs:
            if info.external_jobid in self._active:
                yield info

    def _tell_spent(self, keys: Iterable[str]) -> None:
        from snakemake_executor_plugin_osgpilot.staging.usage import spent

        told = {key: spent(self._run.folder.job(key)) for key in keys}
        self._run.chronicle.spent({key: each for key, each in told.items() if each is not None})

    async def sleep(self) -> None:
        """Wait for news, however long the check interval is; a shutdown is noticed at once."""
        news, clock, late = self._run.controller.news, self._run.clock, self._late
        while self.wait and not (news.is_set() or self._put_off or late.is_due(clock.now_s())):
            await asyncio.sleep(POLL_S)

    def _finish(self, info: SubmittedJobInfo, job: Job) -> str:
        """Bring home what a job made and report success, or return why it failed.

        A job whose outputs on a shared file system are not seen here yet stays active.
        """
        from snakemake_executor_plugin_osgpilot.staging import commit_outputs as commit
        from snakemake_executor_plugin_osgpilot.staging.failure_message import explain
        from snakemake_executor_plugin_osgpilot.staging.returned_files import IncompleteOutputError

        folder = self._run.folder.job(job.key)
        try:
            if self._waits(job):
                self._active[job.key] = info
                return ""
            self._bring_home(info.job, job, folder)
        except Exception as error:
            if isinstance(error, IncompleteOutputError):
                commit.empty(folder)
                if self._run.queue.run_again(job.key, str(error)):
                    self._active[job.key] = info
                    return ""
            # whatever it is, it is this job's trouble and not the end of the workflow
            text = explain(error, job, folder, self.redact)
        else:
            text = ""
            runtime_s = (job.ended_s or 0.0) - (job.started_s or 0.0)
            self._ended[info.job] = job.key, runtime_s
            self.report_job_success(info)
        self._payloads.pop(job.key, None)
        return text

    def _waits(self, job: Job) -> bool:
        """Whether to look at an ended job again later, since not all that it needs is certain."""
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
        self.report_job_error(info, msg=text)

    def _bring_home(self, snakemake_job: Any, job: Job, folder: Path) -> None:
        from snakemake_executor_plugin_osgpilot.staging import commit_outputs as commit
        from snakemake_executor_plugin_osgpilot.staging.payload import needed_from_outside

        commit.check_ended(job)
        # they are not kept for every job
        given = tuple(map(str, needed_from_outside(snakemake_job)))
        payload = replace(self._payloads[job.key], inputs=given)
        commit.commit(payload, folder, self._run.workdir, job.exit_status, self._late.wait_s)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Take all jobs of this run back; which, the run's tag tells and not `active_jobs`.

        With `--osgpilot-on-exit detach`, Ctrl-C leaves them where they are; an error does not.
        """
        self._close(interrupted=self.interrupted)

    def shutdown(self) -> None:
        """Leave nothing behind; called at every end of a workflow, also after an internal error."""
        self._close()
        super().shutdown()

    def _close(self, *, interrupted: bool = False) -> None:
        if not self._closed:
            self._closed = True
            self._run.intake.settle()
            self._run.close(interrupted=interrupted)
            self._teller.close()


def _environment(workflow: Any) -> dict[str, str]:
    """Return the variables that jobs need: `envvars:` and settings of storage plugins."""
    # settings the user gave as variables are passed on as given; Snakemake writes some out anew
    given = sorted(workflow.spawned_job_args_factory.envvars().items())
    return {name: os.environ.get(name, value) for name, value in given}
