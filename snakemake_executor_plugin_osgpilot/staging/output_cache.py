"""Fetch outputs from Snakemake's cache between workflows (`--cache`), and store them into it.

Both happen here, where the cache is; a job whose outputs are in the cache is not submitted.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import cast

from ..common.snakemake_types import AnyJob, SingleJob, Workflow, storage_object
from .payload import flagged
from .symlinks import TIMESTAMP

logger = logging.getLogger(__name__)


def why_not_cached(job: SingleJob, workflow: Workflow) -> str:
    """Return why outputs for which the user wants the cache are not cached, empty if they are."""
    if not _wants_cache(job, workflow):
        return ""
    if job.group is not None:
        return "it runs in a group"
    if any(storage_object(file) for file in job.output):
        return "its outputs are in storage"
    return ""


async def fetch(job: AnyJob, workflow: Workflow) -> bool:
    """Link the outputs of a job to the cache; return False if the cache does not have them.

    Raises what Snakemake's cache raises, such as `WorkflowError` for params that have no hash.
    """
    single = cast("SingleJob", job)
    if not await single.rule.cache.exists(single):
        return False
    await single.remove_existing_output()
    for file in single.output:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
    await single.rule.cache.fetch(single)
    for file in _folders(single):
        Path(file, TIMESTAMP).touch()
    return True


async def store(job: AnyJob, workflow: Workflow) -> None:
    """Move the outputs of a job into the cache, and link to them.

    Snakemake makes what is in the cache writable for all, also what links lead to. Outputs with
    links stay where they are: the job, which runs elsewhere, decided where these lead.
    """
    if is_cached(job, workflow):
        if link := next(filter(None, map(_link_in, job.output)), None):
            logger.warning(f"{job.name}: {link} is a link, so its outputs are not cached")
            return
        for file in _folders(job):
            # a cache that the local executor fills has none
            Path(file, TIMESTAMP).unlink(missing_ok=True)
        await cast("SingleJob", job).rule.cache.store(job)


def is_cached(job: AnyJob, workflow: Workflow) -> bool:
    """Return True if the outputs of a job belong into the cache."""
    if job.is_group():
        return False
    single = cast("SingleJob", job)
    return _wants_cache(single, workflow) and not why_not_cached(single, workflow)


def _wants_cache(job: SingleJob, workflow: Workflow) -> bool:
    cache = job.rule.cache
    return workflow.workflow_settings.cache is not None and bool(cache and cache.output)


def _link_in(output: str) -> Path | None:
    """Return a link that an output is or has in it, None if there is none."""
    top = Path(output)
    return next((path for path in (top, *top.rglob("*")) if path.is_symlink()), None)


def _folders(job: AnyJob) -> list[str]:
    return [file for file in job.output if flagged(file, "directory")]
