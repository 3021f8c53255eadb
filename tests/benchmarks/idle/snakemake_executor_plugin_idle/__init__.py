"""An executor that takes jobs over and never runs them: what Snakemake itself costs."""

from collections.abc import AsyncGenerator, Iterable
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    can_transfer_local_files=True,
)


class Executor(RemoteExecutor):
    def run_jobs(self, jobs: Iterable[Any]) -> None:
        for job in jobs:
            self.run_job_pre(job)
            self.run_job(job)
        self.logger.info("idle: took them over")

    def run_job(self, job: Any) -> None:
        self.report_job_submission(SubmittedJobInfo(job))

    async def check_active_jobs(
        self, active_jobs: list[SubmittedJobInfo]
    ) -> AsyncGenerator[SubmittedJobInfo, None]:
        for info in active_jobs:
            yield info

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        """There is nothing to cancel."""
