"""The table of legal moves of a pilot.

INTENDED   sbatch is about to be called, or its answer got lost
PENDING    Slurm has the allocation in its queue
BOOTING    the allocation runs, the pool does not know the pilot yet
READY      the pilot has registered with the pool, or a job was started on it
DRAINING   it takes nothing new: we asked it to end, or Slurm is completing it
DONE | FAILED | CANCELLED   the allocation is gone
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import attrgetter
from typing import Any

from snakemake_executor_plugin_osgpilot.model.intervals import ASK_POOL_EVERY_S
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState

ABSENT_LOOKS_TO_BELIEVE = 3
"""Answered looks without a row before an allocation counts as gone: one may be a partial list."""

SUBMISSION_S = 90.0
"""An `sbatch` whose answer got lost has ended for certain by then, one way or the other."""

NEWS_S = 2 * ASK_POOL_EVERY_S
"""How long the pool's word for a pilot counts when Slurm does not show it."""


class Seen(Enum):
    """What one answered look at Slurm, or at the pool, says about one pilot."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABSENT = "absent"
    REGISTERED = "registered"
    UNKNOWN = "unknown"
    """It is there, in a state that this version does not know."""

    @property
    def is_end(self) -> bool:
        """Whether the allocation has ended, by Slurm's own word."""
        return self in (Seen.COMPLETED, Seen.FAILED, Seen.CANCELLED)


@dataclass(frozen=True)
class Row:
    """One allocation as Slurm shows it; times in seconds since the epoch, None if not known.

    `state` is Slurm's own word for it, `folder` where it works. Without an id, that could not be
    read.
    """

    allocation_id: str
    name: str
    seen: Seen
    reason: str = ""
    started_s: float | None = None
    ends_s: float | None = None
    node: str = ""
    state: str = ""
    folder: str = ""


@dataclass(frozen=True)
class PilotObservations:
    """What is known of pilots besides Slurm's view.

    `served` has those on which a job was started and when the first was, `known` those that the
    pool knew at `asked_s` (None: the pool has not answered). `jobs_wait` says whether there are
    jobs for more.
    """

    served: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    asked_s: float | None = None
    jobs_wait: bool = False

    def shows(self, name: str, now_s: float) -> bool:
        """Whether the pool has a pilot, as it told not long ago."""
        is_news = self.asked_s is not None and now_s - self.asked_s <= NEWS_S
        return is_news and name in self.known


@dataclass(frozen=True)
class StateChange:
    """A pilot that changed its state."""

    before: Pilot
    after: Pilot


_S = PilotState
_LIVE = (_S.INTENDED, _S.PENDING, _S.BOOTING, _S.READY, _S.DRAINING)
NEXT: Mapping[tuple[PilotState, Seen], PilotState] = {
    (_S.INTENDED, Seen.QUEUED): _S.PENDING,
    (_S.PENDING, Seen.QUEUED): _S.PENDING,
    # a requeue by the administrator: the pilot will boot anew
    (_S.BOOTING, Seen.QUEUED): _S.PENDING,
    (_S.READY, Seen.QUEUED): _S.PENDING,
    (_S.DRAINING, Seen.QUEUED): _S.DRAINING,
    (_S.INTENDED, Seen.RUNNING): _S.BOOTING,
    (_S.PENDING, Seen.RUNNING): _S.BOOTING,
    (_S.BOOTING, Seen.RUNNING): _S.BOOTING,
    (_S.READY, Seen.RUNNING): _S.READY,
    (_S.DRAINING, Seen.RUNNING): _S.DRAINING,
    # the pool can be quicker to tell than Slurm
    **{(state, Seen.REGISTERED): _S.READY for state in _LIVE[:-1]},
    (_S.DRAINING, Seen.REGISTERED): _S.DRAINING,
    **{(state, Seen.COMPLETING): _S.DRAINING for state in _LIVE},
    **{(state, Seen.COMPLETED): _S.DONE for state in _LIVE},
    **{(state, Seen.FAILED): _S.FAILED for state in _LIVE},
    **{(state, Seen.CANCELLED): _S.CANCELLED for state in _LIVE},
    # after enough looks; that it ended is certain, how is not
    (_S.PENDING, Seen.ABSENT): _S.CANCELLED,
    (_S.INTENDED, Seen.ABSENT): _S.CANCELLED,
    (_S.BOOTING, Seen.ABSENT): _S.DONE,
    (_S.READY, Seen.ABSENT): _S.DONE,
    (_S.DRAINING, Seen.ABSENT): _S.DONE,
    **{(state, Seen.UNKNOWN): state for state in _LIVE},
}


_TOLD = (
    "absent_looks", "allocation_id", "started_s", "ends_s", "node", "pending_reason", "failure",
)  # fmt: skip
"""What a row tells of a pilot besides its state."""
_told = attrgetter(*_TOLD)


def registered(pilot: Pilot, *, at_s: float) -> Pilot:
    """Return `pilot` after a sign of life from the pool: its slot's ad, or a job started there."""
    return pilot if pilot.state.over else _move(pilot, Seen.REGISTERED, at_s)


def advance(pilot: Pilot, row: Row | None, *, at_s: float, in_pool: bool = False) -> Pilot:
    """Return `pilot` after one answered look at Slurm that showed `row` (None: no such row).

    One that is `in_pool`, as HTCondor has just said, is not gone because Slurm does not show it.
    """
    if pilot.state.over:
        return pilot
    if row is None:
        looks = pilot.absent_looks + 1
        coming = pilot.state is _S.INTENDED and at_s - pilot.asked_s < SUBMISSION_S
        if looks < ABSENT_LOOKS_TO_BELIEVE or coming or in_pool:
            return replace(pilot, absent_looks=looks)
        return _move(pilot, Seen.ABSENT, at_s)
    if row.seen is Seen.UNKNOWN:
        known_id = row.allocation_id or pilot.allocation_id
        return replace(pilot, absent_looks=0, allocation_id=known_id)
    queued = row.seen is Seen.QUEUED
    # compared one by one: this is done for every pilot at every look
    told: tuple[Any, ...] = (
        0,
        row.allocation_id,
        None if queued else row.started_s,
        row.ends_s if row.seen is Seen.RUNNING else pilot.ends_s,
        row.node,
        row.reason if queued else "",
        row.state if row.seen is Seen.FAILED else pilot.failure,
    )
    if _told(pilot) != told:
        pilot = replace(pilot, **dict(zip(_TOLD, told, strict=True)))
    return _move(pilot, row.seen, at_s, row.ends_s)


def _move(pilot: Pilot, seen: Seen, at_s: float, ended_s: float | None = None) -> Pilot:
    state = NEXT[(pilot.state, seen)]
    if state is pilot.state:
        return pilot
    ended = min(ended_s or at_s, at_s) if state.over else None
    return replace(pilot, state=state, since_s=at_s, ended_s=ended)
