"""The table of legal moves of a pilot.

INTENDED   sbatch is about to be called, or its answer got lost
PENDING    Slurm has the allocation in its queue
RUNNING    the allocation runs; the pilot boots or serves
ENDING     we asked it to end, or Slurm is completing it
DONE | FAILED | CANCELLED   the allocation is gone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from snakemake_executor_plugin_osgpilot.core.model import Pilot, PilotState

ABSENT_LOOKS_TO_BELIEVE = 3
"""Answered looks without a row before an allocation counts as gone: one may be a partial list."""


class Seen(Enum):
    """What one answered look at Slurm says about one allocation."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABSENT = "absent"


@dataclass(frozen=True)
class Row:
    """One allocation as Slurm shows it; times in seconds since the epoch, None if not known."""

    allocation_id: str
    name: str
    seen: Seen
    reason: str = ""
    started_s: float | None = None
    ends_s: float | None = None
    node: str = ""


_S = PilotState
_LIVE = (_S.INTENDED, _S.PENDING, _S.RUNNING, _S.ENDING)
NEXT: Mapping[tuple[PilotState, Seen], PilotState] = {
    (_S.INTENDED, Seen.QUEUED): _S.PENDING,
    (_S.PENDING, Seen.QUEUED): _S.PENDING,
    # a requeue by the administrator: the pilot will boot anew
    (_S.RUNNING, Seen.QUEUED): _S.PENDING,
    (_S.ENDING, Seen.QUEUED): _S.ENDING,
    (_S.INTENDED, Seen.RUNNING): _S.RUNNING,
    (_S.PENDING, Seen.RUNNING): _S.RUNNING,
    (_S.RUNNING, Seen.RUNNING): _S.RUNNING,
    (_S.ENDING, Seen.RUNNING): _S.ENDING,
    **{(state, Seen.COMPLETING): _S.ENDING for state in _LIVE},
    **{(state, Seen.COMPLETED): _S.DONE for state in _LIVE},
    **{(state, Seen.FAILED): _S.FAILED for state in _LIVE},
    **{(state, Seen.CANCELLED): _S.CANCELLED for state in _LIVE},
    # after enough looks; that it ended is certain, how is not
    (_S.PENDING, Seen.ABSENT): _S.CANCELLED,
    (_S.INTENDED, Seen.ABSENT): _S.CANCELLED,
    (_S.RUNNING, Seen.ABSENT): _S.DONE,
    (_S.ENDING, Seen.ABSENT): _S.DONE,
}


def advance(pilot: Pilot, row: Row | None, *, at_s: float) -> Pilot:
    """Return `pilot` after one answered look at Slurm that showed `row` (None: no such row)."""
    if pilot.state.over:
        return pilot
    if row is None:
        looks = pilot.absent_looks + 1
        if looks < ABSENT_LOOKS_TO_BELIEVE:
            return replace(pilot, absent_looks=looks)
        return _move(pilot, Seen.ABSENT, at_s)
    known = replace(
        pilot,
        absent_looks=0,
        allocation_id=row.allocation_id,
        started_s=row.started_s if row.seen is not Seen.QUEUED else None,
        node=row.node,
        pending_reason=row.reason if row.seen is Seen.QUEUED else "",
    )
    if row.seen is Seen.RUNNING:
        known = replace(known, ends_s=row.ends_s)
    return _move(known, row.seen, at_s, row.ends_s)


def _move(pilot: Pilot, seen: Seen, at_s: float, ended_s: float | None = None) -> Pilot:
    state = NEXT[(pilot.state, seen)]
    if state is pilot.state:
        return pilot
    ended = min(ended_s or at_s, at_s) if state.over else None
    return replace(pilot, state=state, since_s=at_s, ended_s=ended)
