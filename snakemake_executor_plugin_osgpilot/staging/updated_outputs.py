"""Outputs that a job changes in place (`update()`): a job that fails leaves them as they were.

Where no file system is shared, Snakemake deletes all outputs of a failed job, these too, although
the job changed a copy of them only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_osgpilot.staging.payload import flagged, members


def keep(job: Any, persistence: Any) -> str:
    """Have Snakemake's `persistence` keep a copy of what the failed `job` was to change.

    Returns what went wrong with that, empty if nothing.
    """
    try:
        for path in _updated(job):
            if path.exists():
                persistence.backup_output(path)
    except OSError as error:
        return f"what it was to update is lost: {error}\n"
    return ""


def put_back(job: Any, persistence: Any) -> str:
    """Undo what Snakemake deleted since `keep`. Returns what went wrong, empty if nothing did."""
    try:
        for path in _updated(job):
            if not path.exists():
                persistence.restore_output(path)
            persistence.cleanup_backup(path)
    except OSError as error:
        return f"what a failed job was to update is not put back: {error}"
    return ""


def _updated(job: Any) -> Iterator[Path]:
    for part in members(job):
        yield from (Path(str(file)) for file in part.output if flagged(file, "update"))
