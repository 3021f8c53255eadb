"""What an executor works with: the run that serves its jobs, and what makes them ready for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snakemake_interface_common.exceptions import ApiError

from snakemake_executor_plugin_osgpilot.errors import OsgpilotError

if TYPE_CHECKING:
    from snakemake_executor_plugin_osgpilot.monitoring.console import ConsoleReporter
    from snakemake_executor_plugin_osgpilot.run.assembly import Run
    from snakemake_executor_plugin_osgpilot.scaling.shared_limits import QuotaShare
    from snakemake_executor_plugin_osgpilot.staging.preparer import Preparer


def open_run(workflow: Any, share: QuotaShare, teller: ConsoleReporter) -> Run:
    """Return the run for a workflow, as its settings say. Raises `ApiError` in one line."""
    from snakemake_executor_plugin_osgpilot.config.run_options import wishes_of
    from snakemake_executor_plugin_osgpilot.journal.run_folder import core_s_seen
    from snakemake_executor_plugin_osgpilot.run.assembly import Voice, start

    try:
        return start(
            wishes_of(workflow.executor_settings),
            Path(workflow.persistence.path),
            share,
            Voice(teller.say, teller.warn, teller.show, teller.redact),
            core_s_seen(Path.cwd()),
        )
    except OsgpilotError as error:
        # Snakemake shows this kind of error as one line, without the way it took
        raise ApiError(f"osgpilot: {error}") from error


def make_preparer(
    workflow: Any, run: Run, environment: Mapping[str, str], command_of: Callable[[Any], str]
) -> Preparer:
    """Return what makes jobs ready for `run`.

    `environment` are the variables that jobs need, `command_of` returns the command with which
    Snakemake runs a job elsewhere.
    """
    from snakemake_executor_plugin_osgpilot.staging.container_image import Images
    from snakemake_executor_plugin_osgpilot.staging.preparer import Preparer
    from snakemake_executor_plugin_osgpilot.staging.resource_request import Requests
    from snakemake_executor_plugin_osgpilot.staging.s3_keys import KeyFiles
    from snakemake_executor_plugin_osgpilot.staging.transfer_policy import traffic_of

    settings = workflow.executor_settings
    shared = workflow.storage_settings.shared_fs_usage
    traffic = traffic_of(settings, shared, signs=run.access_point.signs)
    of_storage = workflow.spawned_job_args_factory.get_storage_provider_envvars()
    return Preparer(
        workflow,
        settings.payload or "auto",
        settings.runtime_image or "",
        run.folder.path,
        run.workdir,
        command_of,
        environment,
        traffic,
        Images(run.workdir, run.say, run.access_point.image_way, traffic.shared_prefixes),
        Requests(run.scaling.policy, run.say, run.warn),
        KeyFiles(run.folder.keys),
        frozenset(of_storage) - {*workflow.envvars, *workflow.remote_execution_settings.envvars},
    )
