"""Run jobs on the machine where Snakemake runs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from subprocess import Popen, TimeoutExpired

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.settings import ExecMode

from ..common.snakemake_types import AnyJob, SnakemakeLogger, Workflow
from ..common.subprocesses import start_shell
from .job_reports import Reporting

GRACE_S = 10.0
"""Time that interrupted jobs have to end by themselves."""


class LocalExecutor(Reporting, RealExecutor):  # type: ignore[misc]
    """Runs each job in a Snakemake process of its own, as many at a time as there are cores.

    Jobs start in the order of submission, and share our stdout and stderr.
    """

    def __init__(self, workflow: Workflow, logger: SnakemakeLogger, cores: int) -> None:
        self._cores = self._free = cores
        self._turn, self._changed = threading.Lock(), threading.Condition()
        self._running: set[Popen[bytes]] = set()
        self._closed = False
        self._pool = ThreadPoolExecutor(cores, thread_name_prefix="osgpilot-here")
        super().__init__(workflow, logger)

    @property
    def cores(self) -> int:
        return self._cores

    def get_exec_mode(self) -> ExecMode:
        return ExecMode.REMOTE

    def get_python_executable(self) -> str:
        return sys.executable

    def get_job_exec_prefix(self, job: AnyJob) -> str:
        return f"cd {shlex.quote(str(self.workflow.workdir_init))}"

    def get_job_args(self, job: AnyJob, **kwargs: object) -> str:
        return str(super().get_job_args(job, cores=self._share(job)))

    def additional_general_args(self) -> str:
        return "--quiet progress rules host"

    def run_job(self, job: AnyJob) -> None:
        """Queue the job until there are free cores."""
        info = SubmittedJobInfo(job)
        command = self.format_job_exec(job)
        self.report_job_submission(info)
        self._pool.submit(self._run_to_end, info, command)

    def _share(self, job: AnyJob) -> int:
        return max(1, min(int(job.threads), self._cores))

    def _run_to_end(self, info: SubmittedJobInfo, command: str) -> None:
        try:
            with self._taking(self._share(info.job)):
                status = self._execute(command)
        except OSError as error:
            self.report_job_error(info, msg=f"could not start: {error}\n")
            return
        if status == 0:
            self.report_job_success(info)
        elif not self._closed:
            self.report_job_error(info, msg=f"exit status {status} on this machine\n")

    @contextmanager
    def _taking(self, cores: int) -> Iterator[None]:
        # a job that needs many cores blocks later ones: small jobs must not starve it
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= cores or self._closed)
            self._free -= cores
        try:
            yield
        finally:
            with self._changed:
                self._free += cores
                self._changed.notify_all()

    def _execute(self, command: str) -> int:
        with self._changed:
            if self._closed:
                return -1
            process = start_shell(command)
            self._running.add(process)
        status = process.wait()
        with self._changed:
            self._running.discard(process)
        return status

    def cancel(self) -> None:
        """Interrupt running jobs, as Ctrl-C would, and start no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            running = list(self._running)
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in running:
                if process.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(process.pid, number)
            for process in running:
                with suppress(TimeoutExpired):
                    process.wait(GRACE_S)
        self._pool.shutdown(wait=True, cancel_futures=True)

    def shutdown(self) -> None:
        self.cancel()
