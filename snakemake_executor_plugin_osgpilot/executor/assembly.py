"""Assemble what an executor in the OSPool consists of, from Snakemake's workflow and settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from snakemake_interface_common.exceptions import ApiError

from ..common.redact import Redactor
from ..common.snakemake_types import JobFilter, Workflow
from ..config.run_options import options_of
from ..errors import OsgpilotError
from ..htcondor.neutral_path import neutral
from ..journal.run_folder import RunFolder, core_s_seen, samples_seen
from ..monitoring.progress import Progress
from ..run.assembly import Output, start
from ..staging.container_image import Images
from ..staging.named_files import named_files
from ..staging.preparer import Preparer
from ..staging.resource_request import Requests
from ..staging.s3_keys import KeyFiles
from ..staging.shared_inputs import Sharing
from ..staging.software import Software
from ..staging.transfer_policy import traffic_of
from .snakemake_steps import SnakemakeSteps, about

if TYPE_CHECKING:
    from ..run.assembly import Run
    from ..scaling.shared_limits import QuotaShare

logger = logging.getLogger(__name__)


def environment_of(workflow: Workflow) -> dict[str, str]:
    """Return the variables that jobs need: `envvars:` and settings of storage plugins."""
    # variables that the user set are passed on unchanged; Snakemake would rewrite some of them
    given = sorted(workflow.spawned_job_args_factory.envvars().items())
    return {name: os.environ.get(name, value) for name, value in given}


def open_run(
    workflow: Workflow, share: QuotaShare, show: Callable[[Progress], None], redact: Redactor
) -> Run:
    """Start the run for a workflow from its settings. Raises `ApiError` with one line."""
    try:
        return start(
            options_of(workflow.executor_settings),
            Path(workflow.persistence.path),
            share,
            Output(show, redact, SnakemakeSteps(workflow), about(workflow)),
            core_s_seen(Path.cwd()),
            samples_seen(Path.cwd()),
        )
    except OsgpilotError as error:
        # Snakemake shows this kind of error as one line, without a traceback
        raise ApiError(f"osgpilot: {error}") from error


class SoftwareProvider(Protocol):
    """Finds or makes the software of jobs."""

    def environment_image(self) -> str:
        """Return an image with the Python environment of this process, empty if there is none."""

    def conda_environments(self, images: Images) -> Software:
        """Return the conda environments of rules; `images` finds container images."""


def make_preparer(
    workflow: Workflow,
    run: Run,
    serves: JobFilter,
    provider: SoftwareProvider,
) -> Preparer:
    """Return the preparer of jobs for `run`, which prepares those that `serves` is true of.

    Raises `ApiError` with one line if a rule cannot run at all.
    """
    settings = workflow.executor_settings
    least_bytes = options_of(settings).shared_least_bytes
    # as HTCondor reads it
    folder = neutral(run.folder.path)
    shared = workflow.storage_settings.shared_fs_usage
    traffic = traffic_of(settings, shared, signs=run.access_point.signs)
    named = named_files(workflow, run.workdir, traffic.shared_prefixes)
    of_storage = workflow.spawned_job_args_factory.get_storage_provider_envvars()
    images = Images(
        run.workdir,
        logger,
        run.access_point.image_way,
        traffic.shared_prefixes,
        folder / "images",
    )
    preparer = Preparer(
        workflow,
        settings.runtime_image or "",
        run.folder.path,
        run.workdir,
        environment_of(workflow),
        replace(traffic, named=named),
        images,
        Requests(run.scaling.policy, logger),
        KeyFiles(RunFolder(folder).keys),
        logger,
        frozenset(of_storage) - {*workflow.envvars, *workflow.remote_execution_settings.envvars},
        provider.environment_image,
        provider.conda_environments(images),
        Sharing(least_bytes if run.access_point.shares_inputs else None, run.workdir),
    )
    try:
        preparer.begin(job for job in workflow.dag.needrun_jobs() if serves(job))
    except OsgpilotError as error:
        raise ApiError(f"osgpilot: {error}") from error
    return preparer
