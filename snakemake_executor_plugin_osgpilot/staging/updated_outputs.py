"""Keep outputs that a job changes in place (`update()`) if the job fails.

Without a shared file system, Snakemake deletes all outputs of a failed job, also these, although
the job changed only a copy of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..common.snakemake_types import AnyJob, Persistence
from .payload import flagged, members


def keep(job: AnyJob, persistence: Persistence) -> str:
    """Back up the `update()` outputs of the failed `job` through Snakemake's `persistence`.

    Returns an error message, empty if it succeeded.
    """
    try:
        for path in _updated(job):
            if path.exists():
                persistence.backup_output(path)
    except OSError as error:
        return f"outputs that it should update are lost: {error}\n"
    return ""


def restore(job: AnyJob, persistence: Persistence) -> str:
    """Restore the files that Snakemake deleted since `keep`. Returns an error message or empty."""
    try:
        for path in _updated(job):
            if not path.exists():
                persistence.restore_output(path)
            persistence.cleanup_backup(path)
    except OSError as error:
        return f"cannot restore outputs that a failed job should update: {error}"
    return ""


def _updated(job: AnyJob) -> Iterator[Path]:
    for part in members(job):
        yield from (Path(str(file)) for file in part.output if flagged(file, "update"))
