"""A workflow's jobs as Snakemake's DAG has them, without any pool, Slurm or site."""

from __future__ import annotations

from typing import NoReturn

from snakemake_interface_executor_plugins.executors.base import AbstractExecutor

from ..common.messages import SILENT
from ..common.snakemake_types import AnyJob, Dag, SingleJob, SnakemakeLogger, Workflow
from ..errors import InputError, OsgpilotError
from ..model.resources import JobClass, Policy
from ..staging.container_image import NO_IMAGE
from ..staging.resource_request import Requests
from .dag_tasks import tasks_of
from .ended import Ended
from .result import Drawn
from .snakemake_cli import NAME, ask


def drawn(snakefile: str, policy: Policy) -> Drawn:
    """Return the jobs that the workflow in `snakefile` still has to run in the current folder.

    Its profile counts as it does in a run. Raises `InputError` if Snakemake refuses it, or if it
    has nothing to run on pilots.
    """

    class Reader(_Reader):
        limits = policy

    # a site is required, but never read
    words = ["--snakefile", snakefile, "--executor", NAME, f"--{NAME}-site", "none", "--jobs", "1"]
    found: Drawn | None = ask(words, Reader)
    if found is None:
        raise InputError(f"Snakemake does not run {snakefile}; what it says is above")
    if not any(task.on_pilot for task in found.tasks):
        raise InputError(f"{snakefile} has no job left to run on pilots")
    return found


class _Reader(AbstractExecutor):  # type: ignore[misc]
    """Made by Snakemake where it would make the executor; raises `Ended` in place of running."""

    limits: Policy

    def __init__(self, workflow: Workflow, logger: SnakemakeLogger) -> None:
        super().__init__(workflow, logger)
        try:
            found = self._drawn(workflow.dag)
        except OsgpilotError as error:
            raise Ended(None, error) from error
        raise Ended(found)

    def _drawn(self, dag: Dag) -> Drawn:
        requests = Requests(self.limits, SILENT)
        classes: dict[str, JobClass] = {}

        def class_of(job: SingleJob) -> JobClass:
            rule = str(job.rule)
            if rule not in classes:
                # without a site there are no partitions
                asked = requests.of(job, NO_IMAGE).job_class
                classes[rule] = asked._replace(offers=())
            return classes[rule]

        return Drawn(*tasks_of(dag, lambda job: not job.is_local, class_of, {}))

    def run_job(self, job: AnyJob) -> NoReturn:
        raise AssertionError("nothing is run")

    handle_job_success = handle_job_error = run_job

    def cancel(self) -> None:
        """Do nothing: there are no jobs."""

    def shutdown(self) -> None:
        """Do nothing: there is no run."""
