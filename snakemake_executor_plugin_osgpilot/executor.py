"""Snakemake's callbacks, and nothing else: jobs in, results out."""

from __future__ import annotations

import asyncio
import math
import os
import shlex
from collections.abc import AsyncGenerator, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import ApiError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.settings import DEFAULT_URL_SCHEMES

if TYPE_CHECKING:
    from snakemake_executor_plugin_osgpilot.core.jobs import Job
    from snakemake_executor_plugin_osgpilot.payload.model import Payload
    from snakemake_executor_plugin_osgpilot.payload.prepare import Preparer
    from snakemake_executor_plugin_osgpilot.payload.traffic import Traffic
    from snakemake_executor_plugin_osgpilot.wiring import Run

POLL_S = 0.2
DEFAULT_MEMORY_MB = 2000
DEFAULT_DISK_MB = 2000
"""What a job gets whose rule says nothing; the OSPool's own defaults."""


class Executor(RemoteExecutor):  # type: ignore[misc]
    """Hands jobs to the run's queue and reports what became of them.

    Everything is set up before the base class starts its status thread, which calls
    `check_active_jobs` before any job exists. Jobs are cancelled by the run's tag: the base class
    passes an empty list while its thread is checking.
    """

    def __init__(self, workflow: Any, logger: Any) -> None:
        self._payloads: dict[str, Payload] = {}
        self._active: dict[str, SubmittedJobInfo] = {}
        self._preparer: Preparer | None = None
        self._count = 0
        self._closed = False
        self._run = self._start(workflow, logger)
        super().__init__(workflow, logger)

    @staticmethod
    def _start(workflow: Any, logger: Any) -> Run:
        from snakemake_executor_plugin_osgpilot.payload.traffic import shared_prefixes
        from snakemake_executor_plugin_osgpilot.wiring import start

        settings = workflow.executor_settings
        try:
            return start(
                settings.project or "",
                Path(settings.site or ""),
                settings.max_pilots,
                Path(workflow.persistence.path),
                say=lambda text: logger.info(f"osgpilot: {text}"),
                warn=lambda text: logger.warning(f"osgpilot: {text}"),
                shared_folders=shared_prefixes(settings.shared_prefixes),
            )
        except OsgpilotError as error:
            # Snakemake shows this kind of error as one line, without the way it took
            raise ApiError(f"osgpilot: {error}") from error

    def run_jobs(self, jobs: Iterable[Any]) -> None:
        """Make jobs ready to travel and hand them to the queue, all at once."""
        jobs = list(jobs)
        ready = []
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
            info.aux = {"key": own.key}
            self._active[own.key] = info
            self.report_job_submission(info)
            ready.append(own)
        self._run.queue.add(ready)
        self._run.controller.wake()

    def run_job(self, job: Any) -> None:
        """Run a single job; Snakemake itself only calls `run_jobs`."""
        self.run_jobs([job])

    def format_job_exec(self, job: Any) -> str:
        """Return Snakemake's command for one job, quoted for the shell. Raises `BadInput`."""
        from snakemake_executor_plugin_osgpilot.payload.snakemake import requoted

        config = self.workflow.config_settings.config_args or ()
        return requoted(super().format_job_exec(job), job.get_target_spec(), config)

    def additional_general_args(self) -> str:
        """Have Snakemake on the execution point work where it is started.

        Snakemake passes folders of this machine on; of each option the last one given counts.
        """
        from snakemake_executor_plugin_osgpilot.payload.sources import moved_prefix

        given = self.workflow.workflow_settings.wrapper_prefix
        prefix = moved_prefix(given, self._run.workdir)
        return "--directory ." + (f" --wrapper-prefix {shlex.quote(prefix)}" if prefix else "")

    def _begin(self) -> Preparer:
        """Refuse what cannot run at all, and pack the sources, before the first job goes out."""
        from snakemake_executor_plugin_osgpilot.payload.prepare import Preparer

        settings = self.workflow.executor_settings
        preparer = Preparer(
            self.workflow,
            settings.payload or "auto",
            settings.runtime_image or "",
            self._run.folder.path,
            self._run.workdir,
            self.format_job_exec,
            self._environment(),
            self._traffic(),
        )
        try:
            preparer.begin(job for job in self.dag.needrun_jobs() if not job.is_local)
        except OsgpilotError as error:
            raise ApiError(f"osgpilot: {error}") from error
        return preparer

    def _environment(self) -> dict[str, str]:
        """Return the variables that jobs need: `envvars:` and settings of storage plugins."""
        # settings the user gave as variables are passed on as given; Snakemake writes some out anew
        return {name: os.environ.get(name, value) for name, value in self.envvars().items()}

    def _traffic(self) -> Traffic:
        from snakemake_executor_plugin_osgpilot.payload.traffic import (
            Traffic,
            shared_prefixes,
            url_schemes,
        )

        settings = self.workflow.executor_settings
        shared = self.workflow.storage_settings.shared_fs_usage
        fetches = SharedFSUsage.STORAGE_LOCAL_COPIES in shared
        return Traffic(
            shared_prefixes(settings.shared_prefixes),
            url_schemes(settings.url_schemes or [DEFAULT_URL_SCHEMES]),
            fetched_here=fetches,
            # see Job.postprocess of Snakemake
            stored_here=fetches and SharedFSUsage.INPUT_OUTPUT in shared,
        )

    def _prepare(self, job: Any) -> Job:
        self._preparer = self._preparer or self._begin()
        self._count += 1
        key = f"{self._count:06}"
        prepared = self._preparer.prepare(job, self._run.folder.job(key))
        self._payloads[key] = prepared.payload
        urls = tuple(url for url, _ in prepared.payload.urls)
        return replace(_job(key, job, prepared.image), urls=urls)

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        """Report what ended; yield the rest. Never raises: that would end the status thread."""
        self._run.controller.news.clear()
        for key, job in self._run.queue.over().items():
            if info := self._active.pop(key, None):
                self._finish(info, job)
        for info in active_jobs:
            if info.aux and info.aux["key"] in self._active:
                yield info

    async def sleep(self) -> None:
        """Wait for news, however long the check interval is; a shutdown is noticed at once."""
        while self.wait and not self._run.controller.news.is_set():
            await asyncio.sleep(POLL_S)

    def _finish(self, info: SubmittedJobInfo, job: Job) -> None:
        folder = self._run.folder.job(job.key)
        try:
            self._bring_home(job, folder)
        except Exception as error:
            # whatever it is, it is this job's trouble and not the end of the workflow
            self._report_failure(info, _explain(error, job, folder))
        else:
            self.report_job_success(info)

    def _report_failure(self, info: SubmittedJobInfo, text: str) -> None:
        if info.job.is_group():
            # Snakemake's own report of a failed group leaves the message out
            self.logger.error(f"group job {info.job.name}: {text}")
        self.report_job_error(info, msg=text)

    def _bring_home(self, job: Job, folder: Path) -> None:
        from snakemake_executor_plugin_osgpilot.payload import commit

        _check_ended(job)
        payload = self._payloads.pop(job.key)
        latency_wait_s = self.workflow.execution_settings.latency_wait
        commit.commit(payload, folder, self._run.workdir, job.exit_status, latency_wait_s)
        commit.discard(folder)

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """Take all jobs of this run back; which, the run's tag tells and not `active_jobs`."""
        self._close()

    def shutdown(self) -> None:
        """Leave nothing behind; called at every end of a workflow, also after an internal error."""
        self._close()
        super().shutdown()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._run.close()


def _explain(error: Exception, job: Job, folder: Path) -> str:
    from snakemake_executor_plugin_osgpilot.payload.commit import output_tail

    cause = str(error) if isinstance(error, OsgpilotError) else f"internal error: {error!r}"
    where = f" (pilot in Slurm job {job.allocation_id})" if job.allocation_id else ""
    tail = output_tail(folder)
    said = f"\nIts output ended with:\n{tail}" if tail else ""
    return f"osgpilot: {cause}{where}{said}\n"


def _check_ended(job: Job) -> None:
    from snakemake_executor_plugin_osgpilot.core.jobs import JobState
    from snakemake_executor_plugin_osgpilot.payload.commit import JobFailed

    if job.state is JobState.HELD:
        raise JobFailed(f"HTCondor put the job on hold: {job.text}")
    if job.state is JobState.REMOVED:
        raise JobFailed(job.text or "the job was removed from the queue")


def _job(key: str, job: Any, image: str) -> Job:
    from snakemake_executor_plugin_osgpilot.access_point.description import (
        claimed_memory_mb,
        runtime_bucket_s,
    )
    from snakemake_executor_plugin_osgpilot.core.jobs import Job
    from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape

    resources = job.resources
    memory_mb = claimed_memory_mb(_number(resources, "mem_mb", DEFAULT_MEMORY_MB))
    disk_mb = _number(resources, "disk_mb", DEFAULT_DISK_MB)
    shape = Shape(max(1, job.threads), memory_mb, disk_mb)
    runtime_s = runtime_bucket_s(60 * _number(resources, "runtime", 0))
    name = job.name if job.is_group() else job.rule.name
    return Job(key, name, Request(JobClass(shape, runtime_s), image))


def _number(resources: Any, name: str, default: int) -> int:
    value = resources.get(name, default)
    return math.ceil(value) if isinstance(value, (int, float)) and value > 0 else default
