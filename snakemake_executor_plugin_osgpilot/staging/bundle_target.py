"""Decide which jobs may run in a bundle, and how long that should take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from ..common.snakemake_types import AnyJob
from ..config.run_options import bundle_target_s
from ..errors import InputError
from ..jobs.state.job import SharedFile
from ..model.resources import OWN_ROOT, Request
from .early_values import resources_of
from .input_files import contents
from .payload import Payload, label, members, unknown
from .places import source_of
from .rule_resources import BUNDLE

INPUTS_MAX_BYTES = 4 * 1024 * 1024
"""The inputs of all members are on the node from the beginning, and the bundle asks for the disk of
one job."""


def target_s(job: AnyJob, chosen_s: float) -> float:
    """Return the time that a bundle with `job` should take, 0 if it runs alone.

    `chosen_s` is that of the workflow. Of members of a group, the least counts. Raises `InputError`
    naming the rule.
    """
    asked = (resources_of(part).get(BUNDLE) for part in members(job))
    values = [value for value in asked if value is not None and not unknown(value)]
    try:
        return min(map(bundle_target_s, values), default=chosen_s)
    except InputError as error:
        raise InputError(f"{label(job)}: the resource {BUNDLE}: {error}") from error


def may_be_bundled(
    payload: Payload, request: Request, shared: Sequence[SharedFile], workdir: Path
) -> bool:
    """Return True if a job can run beside others in one slot, one after the other.

    HTCondor would put the URLs and the `shared` inputs of all jobs into one folder.
    """
    lines = [name for name, _ in request.extras if name != f"My.{OWN_ROOT}"]
    if payload.urls or shared or request.job_class.shape.gpus or lines:
        return False
    size_bytes = 0
    for path in payload.inputs:
        for _, status in contents(source_of(path, workdir)):
            size_bytes += status.st_size if S_ISREG(status.st_mode) else 0
            if size_bytes > INPUTS_MAX_BYTES:
                return False
    return True
