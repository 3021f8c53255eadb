"""What Slurm's commands print, as values. An unreadable line is an error, not an absence."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

from snakemake_executor_plugin_osgpilot.core.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.errors import Unanswered
from snakemake_executor_plugin_osgpilot.slurm.commands import FIELDS, PLACE_FIELDS, SEPARATOR

_QUEUED = "PENDING CONFIGURING REQUEUED REQUEUE_HOLD REQUEUE_FED RESV_DEL_HOLD SPECIAL_EXIT"
_RUNNING = "RUNNING SUSPENDED STOPPED RESIZING SIGNALING"
_COMPLETING = "COMPLETING STAGE_OUT"
_FAILED = "FAILED TIMEOUT NODE_FAIL OUT_OF_MEMORY BOOT_FAIL DEADLINE LAUNCH_FAILED RECONFIG_FAIL"
_CANCELLED = "CANCELLED PREEMPTED REVOKED"

STATES: dict[str, Seen] = {
    **dict.fromkeys(_QUEUED.split(), Seen.QUEUED),
    **dict.fromkeys(_RUNNING.split(), Seen.RUNNING),
    **dict.fromkeys(_COMPLETING.split(), Seen.COMPLETING),
    "COMPLETED": Seen.COMPLETED,
    **dict.fromkeys(_FAILED.split(), Seen.FAILED),
    **dict.fromkeys(_CANCELLED.split(), Seen.CANCELLED),
}
"""Slurm's job states (squeue(1), JOB STATE CODES) and what they mean for a pilot."""


def allocation_id(sbatch_output: str) -> str:
    """Return the job id from `sbatch --parsable` output: `id` or `id;cluster`, on the last line."""
    lines = sbatch_output.strip().splitlines()
    found = lines[-1].split(";")[0].strip() if lines else ""
    if not _is_number(found):
        raise Unanswered(f"sbatch answered without a job id: {sbatch_output.strip()[:200]!r}")
    return found


_TEST_ONLY = re.compile(r"to start at (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)")


def expected_wait_s(test_only_output: str, *, now_s: float) -> float | None:
    """Return how long from now an allocation would wait, from what `sbatch --test-only` prints."""
    found = _TEST_ONLY.search(test_only_output)
    start_s = timestamp(found[1]) if found else None
    return None if start_s is None else max(0.0, start_s - now_s)


def rows(squeue_output: str) -> dict[str, Row]:
    """Return allocations by job name. Where a name occurs twice the latest id wins."""
    found: dict[str, Row] = {}
    for line in squeue_output.splitlines():
        if not line.strip():
            continue
        row = _row(line)
        known = found.get(row.name)
        if known is None or int(known.allocation_id) < int(row.allocation_id):
            found[row.name] = row
    return found


def folders(squeue_output: str) -> list[tuple[str, str, Path]]:
    """Return id, name and working folder of allocations."""
    found = []
    for line in filter(str.strip, squeue_output.splitlines()):
        parts = [part.strip() for part in line.split(SEPARATOR)]
        if len(parts) != len(PLACE_FIELDS) or not _is_number(parts[0]):
            raise Unanswered(f"squeue printed a line that cannot be read: {line[:200]!r}")
        found.append((parts[0], parts[1], Path(parts[2])))
    return found


def _row(line: str) -> Row:
    parts = [part.strip() for part in line.split(SEPARATOR)]
    if len(parts) != len(FIELDS) or not _is_number(parts[0]):
        raise Unanswered(f"squeue printed a line that cannot be read: {line[:200]!r}")
    job_id, name, state, reason, start, end, node = parts
    if state not in STATES:
        raise Unanswered(f"squeue shows an unknown state {state!r} for job {job_id}")
    row = Row(job_id, name, STATES[state], reason, ends_s=timestamp(end), node=node, state=state)
    return row if row.seen is Seen.QUEUED else replace(row, started_s=timestamp(start))


def _is_number(text: str) -> bool:
    """Whether `text` can be a job id; it is given to scancel as it is."""
    return text.isascii() and text.isdigit()


def timestamp(text: str) -> float | None:
    """Return local ISO time as squeue prints it (`%Y-%m-%dT%H:%M:%S`) in seconds, None for N/A."""
    try:
        return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return None
