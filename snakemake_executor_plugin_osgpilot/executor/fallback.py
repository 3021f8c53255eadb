"""Run jobs that do not go to the OSPool: as plain Slurm jobs, or on this machine.

Either is an executor inside of ours, since Snakemake has one executor for all remote jobs. It sees
the workflow through a proxy, and reports to Snakemake's scheduler directly.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, MutableMapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.registry import ExecutorPluginRegistry
from snakemake_interface_executor_plugins.settings import CommonSettings, SharedFSUsage

from ..common.snakemake_compat import (
    WorkflowProxy,
    add_generic_resources,
    chooses_partitions,
    replace_resources,
    settings_given,
    stop_submitting,
)
from ..common.snakemake_types import AnyJob, Executor, SnakemakeLogger, StorageSettings, Workflow
from ..common.subprocesses import run
from ..config.site import SlurmOptions
from ..errors import InputError, OutcomeUnknownError
from ..routing.policy import Where
from ..staging.slurm_resources import memory_of_plain_job
from .job_reports import Reporting
from .local import LocalExecutor

logger = logging.getLogger(__name__)

PACKAGE = "snakemake-executor-plugin-slurm"
CHOICES = ("slurm", "local", "none")

STATUS_S, STATUS_MAX_S = 10, 20
"""Poll intervals for the states of plain Slurm jobs: longer while none ends, but no longer than for
pilots."""

MIN_JOB_AGE_S = 300
"""Time for which Slurm shows a job that has ended (slurm.conf(5), default of MinJobAge)."""

COMMAND_S, POLL_S = 30.0, 0.2


def choose(named: str | None) -> tuple[Where | None, bool]:
    """Return the fallback, and True if it takes any rule, not only those with `ospool=False`.

    This machine takes any rule only if the user named it. Raises `InputError` if the fallback that
    the user named is not available.
    """
    if named is not None and named not in CHOICES:
        raise InputError(f"--osgpilot-fallback {named!r} is not {', '.join(CHOICES)}")
    installed = ExecutorPluginRegistry().is_installed("slurm")
    if named == "slurm" and not installed:
        raise InputError(f"--osgpilot-fallback slurm needs {PACKAGE}; install it with pip")
    if named == "slurm" or (named is None and installed and shutil.which("sbatch")):
        return Where.SLURM, True
    return (None if named == "none" else Where.LOCAL), named == "local"


def local_cores(workflow: Workflow) -> int:
    """Return the number of cores of this machine that jobs may use, as for local rules."""
    return workflow.resource_settings.local_cores or len(os.sched_getaffinity(0))


def plain_slurm(
    workflow: Workflow, snakemake_logger: SnakemakeLogger, options: SlurmOptions
) -> Executor:
    """Return an executor that runs jobs as plain Slurm jobs, through the Slurm plugin.

    `options` apply unless a job's resources or the plugin's own settings override them.
    """
    plugin = ExecutorPluginRegistry().get_plugin("slurm")
    _see_all_jobs(os.environ, options.cluster)
    accounting = _accounts()
    age_s = MIN_JOB_AGE_S if accounting else _min_job_age_s()
    given = settings_given(plugin)
    settings = replace(
        given,
        # sacct may be there without a database
        status_command="sacct" if accounting else "squeue",
        # the plugin uses sacct where MinJobAge is shorter than three of these
        init_seconds_before_status_checks=max(1, min(STATUS_S, age_s // 3)),
        reservation=given.reservation or options.reservation or None,
        # would request memory for the payload of an array where none may be requested
        disable_memory_fudge=given.disable_memory_fudge or options.memory == "none",
    )
    if options.memory != "node":
        replace_resources(
            plugin.executor,
            lambda job: memory_of_plain_job(options.memory, job.resources, job.threads),
        )
    if options.gres:
        add_generic_resources(plugin.executor, ",".join(options.gres))
    proxy = WorkflowProxy(
        workflow,
        executor_plugin=plugin,
        executor_settings=settings,
        storage_settings=_on_shared_folders(workflow.storage_settings),
    )
    own = {
        "options": options,
        "accounting": accounting,
        "status_max_s": min(STATUS_MAX_S, age_s / 3),
    }
    made: Executor = type("PlainSlurm", (_PlainSlurm, plugin.executor), own)(
        proxy, snakemake_logger
    )
    return made


def on_this_machine(workflow: Workflow, snakemake_logger: SnakemakeLogger) -> Executor:
    """Return an executor that runs jobs on this machine."""
    common = CommonSettings(
        non_local_exec=True,
        implies_no_shared_fs=False,
        job_deploy_sources=False,
        pass_envvar_declarations_to_cmd=False,
        auto_deploy_default_storage_provider=False,
    )
    proxy = WorkflowProxy(
        workflow,
        executor_plugin=SimpleNamespace(common_settings=common),
        storage_settings=_on_shared_folders(workflow.storage_settings),
    )
    return LocalExecutor(proxy, snakemake_logger, local_cores(workflow))


def _on_shared_folders(settings: Any) -> StorageSettings:
    """Return the storage settings of jobs that see the working folder, as these do.

    Environments, caches and local copies of stored files stay private to each job if they were.
    """
    seen = {SharedFSUsage.PERSISTENCE, SharedFSUsage.INPUT_OUTPUT, SharedFSUsage.SOURCES}
    usage = frozenset(settings.shared_fs_usage) | seen
    changed: StorageSettings = replace(settings, shared_fs_usage=usage)
    return changed


def _see_all_jobs(environment: MutableMapping[str, str], cluster: str = "") -> None:
    """Have the plugin's `squeue` show every job, also in hidden partitions and whatever the user's
    own default filters are; all its commands work on the site's `cluster`.
    """
    if cluster:
        environment["SLURM_CLUSTERS"] = cluster
    for name in [each for each in environment if each.startswith("SQUEUE_")]:
        del environment[name]
    environment["SQUEUE_ALL"] = "1"


def _accounts() -> bool:
    """Return True if Slurm's accounting responds; many clusters have `sacct` without a database."""
    try:
        return run(["sacct", "--noheader", "--allocations"], timeout_s=COMMAND_S).returncode == 0
    except OutcomeUnknownError:
        return False


def _min_job_age_s() -> int:
    try:
        output = run(["scontrol", "show", "config"], timeout_s=COMMAND_S).stdout
    except OutcomeUnknownError:
        return MIN_JOB_AGE_S
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", output, re.MULTILINE)
    return int(found[1]) if found else MIN_JOB_AGE_S


class _PlainSlurm(Reporting):
    """Overrides of the Slurm plugin's own executor, which comes next in the MRO.

    Cancels jobs by the name that the plugin gives to the run: the plugin itself misses jobs that
    are being checked or submitted when the workflow ends.
    """

    options: SlurmOptions
    accounting: bool
    status_max_s: float

    def get_account_arg(self, job: AnyJob) -> Iterator[str]:
        if self.options.account and not _names(job, "slurm_account"):
            yield f" -A {shlex.quote(self.options.account)}"
        elif self.accounting or _names(job, "slurm_account"):
            yield from super().get_account_arg(job)  # type: ignore[misc]
        else:
            yield ""

    def get_partition_arg(self, job: AnyJob) -> str:
        is_free = not _names(job, "slurm_partition") and not chooses_partitions(self)
        if self.options.partition and is_free:
            argument = f" -p {shlex.quote(self.options.partition)}"
        else:
            argument = super().get_partition_arg(job)  # type: ignore[misc]
        for name in ("qos", "constraint"):
            if (value := getattr(self.options, name)) and not _names(job, name):
                argument += f" --{name}={shlex.quote(value)}"
        return argument + "".join(f" {shlex.quote(option)}" for option in self.options.options)

    def get_python_executable(self) -> str:
        return sys.executable

    async def sleep(self) -> None:
        """Wait for the next check, or for a shutdown."""
        rest_s = min(self.next_seconds_between_status_checks, self.status_max_s)  # type: ignore[attr-defined]
        while self.wait and rest_s > 0:  # type: ignore[attr-defined]
            await asyncio.sleep(POLL_S)
            rest_s -= POLL_S

    def cancel_jobs(self, active_jobs: list[SubmittedJobInfo]) -> None:
        stop_submitting(self)
        self._cancel_by_name()

    def shutdown(self) -> None:
        super().shutdown()  # type: ignore[misc]
        if self.active_jobs:  # type: ignore[attr-defined]
            self._cancel_by_name()

    def _cancel_by_name(self) -> None:
        argv = ["scancel", f"--jobname={self.run_uuid}", f"--user={getpass.getuser()}"]  # type: ignore[attr-defined]
        try:
            done = run(argv, timeout_s=COMMAND_S)
            problem = done.stderr.strip() if done.returncode else ""
        except OutcomeUnknownError as error:
            problem = str(error)
        if problem:
            logger.warning(
                f"plain Slurm jobs may still be there ({problem}); remove "
                f"them with: {shlex.join(argv)}"
            )


def _names(job: AnyJob, resource: str) -> bool:
    """Return True if the job sets it, or another cluster, to which our default does not apply."""
    own = (resource, "slurm_cluster", "cluster", "clusters")
    return any(job.resources.get(name) for name in own)
