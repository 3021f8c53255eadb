"""The states of a pilot and their legal transitions.

INTENDED   sbatch is about to be called, or its answer was lost
PENDING    the allocation is in Slurm's queue
BOOTING    the allocation runs, the pilot takes no jobs yet
READY      the pilot is in the pool and its node passed the container's tests, or it got a job
DRAINING   it accepts no new jobs: we signalled it to end, or Slurm is completing it
DONE | FAILED | CANCELLED   the allocation has ended
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import attrgetter
from typing import Any

from ...model.intervals import ASK_POOL_EVERY_S
from ...model.resources import Pilot, PilotState

ABSENT_LOOKS_TO_BELIEVE = 3
"""Answered queries without a row until an allocation counts as ended: an answer may be partial."""

SUBMISSION_S = 90.0
"""An `sbatch` whose answer was lost has certainly ended by then."""

POOL_ANSWER_VALID_S = 2 * ASK_POOL_EVERY_S
"""Time for which the pool's answer proves that a pilot exists if Slurm does not show it."""


class Seen(Enum):
    """The observation of one pilot by an answered query of Slurm or the pool."""

    QUEUED = "queued"
    RUNNING = "running"
    COMPLETING = "completing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ABSENT = "absent"
    REGISTERED = "registered"
    UNKNOWN = "unknown"
    """It exists, in a state that this version does not know."""

    @property
    def is_end(self) -> bool:
        """True if the allocation has ended according to Slurm."""
        return self in (Seen.COMPLETED, Seen.FAILED, Seen.CANCELLED)


@dataclass(frozen=True)
class Row:
    """One allocation as Slurm shows it; times in seconds since the epoch, None if not known.

    `state` is Slurm's name of the state, `folder` the working directory, `cores` those of the
    allocation, or of the request while it waits. The id is empty if it could not be read.
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
    cores: int = 0

    def by_clock(self, ahead_s: float) -> Row:
        """Return it with times by our clock, of which that of Slurm is ahead."""
        began_s, ends_s = (
            None if at_s is None else at_s - ahead_s for at_s in (self.started_s, self.ends_s)
        )
        return replace(self, started_s=began_s, ends_s=ends_s)


@dataclass(frozen=True)
class PilotObservations:
    """Observations of pilots besides Slurm's.

    `served` has the time of the first job start by pilot, `known` the pilots that the pool knew at
    `asked_s` (None: the pool has not answered), `untested` those of them that take no jobs yet.
    `jobs_wait` is True if jobs wait for pilots.
    """

    served: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    asked_s: float | None = None
    jobs_wait: bool = False
    untested: frozenset[str] = frozenset()

    def shows(self, name: str, now_s: float) -> bool:
        """Return True if a recent answer of the pool has the pilot."""
        is_recent = self.asked_s is not None and now_s - self.asked_s <= POOL_ANSWER_VALID_S
        return is_recent and name in self.known


@dataclass(frozen=True)
class StateChange:
    """A change of state of a pilot."""

    before: Pilot
    after: Pilot


_S = PilotState
_LIVE = (_S.INTENDED, _S.PENDING, _S.BOOTING, _S.READY, _S.DRAINING)
NEXT: Mapping[tuple[PilotState, Seen], PilotState] = {
    (_S.INTENDED, Seen.QUEUED): _S.PENDING,
    (_S.PENDING, Seen.QUEUED): _S.PENDING,
    # requeued by the administrator: the pilot will boot again, unless it has served (`requeued`)
    (_S.BOOTING, Seen.QUEUED): _S.PENDING,
    (_S.READY, Seen.QUEUED): _S.PENDING,
    (_S.DRAINING, Seen.QUEUED): _S.DRAINING,
    (_S.INTENDED, Seen.RUNNING): _S.BOOTING,
    (_S.PENDING, Seen.RUNNING): _S.BOOTING,
    (_S.BOOTING, Seen.RUNNING): _S.BOOTING,
    (_S.READY, Seen.RUNNING): _S.READY,
    (_S.DRAINING, Seen.RUNNING): _S.DRAINING,
    # the pool may report it before Slurm
    **{(state, Seen.REGISTERED): _S.READY for state in _LIVE[:-1]},
    (_S.DRAINING, Seen.REGISTERED): _S.DRAINING,
    **{(state, Seen.COMPLETING): _S.DRAINING for state in _LIVE},
    **{(state, Seen.COMPLETED): _S.DONE for state in _LIVE},
    **{(state, Seen.FAILED): _S.FAILED for state in _LIVE},
    **{(state, Seen.CANCELLED): _S.CANCELLED for state in _LIVE},
    # after enough queries; it has certainly ended, the outcome is unknown
    (_S.PENDING, Seen.ABSENT): _S.CANCELLED,
    (_S.INTENDED, Seen.ABSENT): _S.CANCELLED,
    (_S.BOOTING, Seen.ABSENT): _S.DONE,
    (_S.READY, Seen.ABSENT): _S.DONE,
    (_S.DRAINING, Seen.ABSENT): _S.DONE,
    **{(state, Seen.UNKNOWN): state for state in _LIVE},
}


_ROW_FIELDS = (
    "absent_looks", "allocation_id", "started_s", "ends_s", "node", "pending_reason", "failure",
    "allocated_cores",
)  # fmt: skip
"""The fields of a pilot that a row sets besides its state."""
_row_values = attrgetter(*_ROW_FIELDS)


def registered(pilot: Pilot, *, at_s: float) -> Pilot:
    """Return `pilot` after the pool showed its slot ad, or a job started on it."""
    return pilot if pilot.state.over else _transition(pilot, Seen.REGISTERED, at_s)


def advance(pilot: Pilot, row: Row | None, *, at_s: float, in_pool: bool = False) -> Pilot:
    """Return `pilot` after one answered query of Slurm that showed `row` (None: no such row).

    A pilot that is `in_pool` according to HTCondor has not ended even if Slurm does not show it.
    """
    if pilot.state.over:
        return pilot
    if row is None:
        looks = pilot.absent_looks + 1
        coming = pilot.state is _S.INTENDED and at_s - pilot.asked_s < SUBMISSION_S
        if looks < ABSENT_LOOKS_TO_BELIEVE or coming or in_pool:
            return replace(pilot, absent_looks=looks)
        return _transition(pilot, Seen.ABSENT, at_s)
    if row.seen is Seen.UNKNOWN:
        known_id = row.allocation_id or pilot.allocation_id
        return replace(pilot, absent_looks=0, allocation_id=known_id)
    queued = row.seen is Seen.QUEUED
    # compared first: this is done for every pilot at every query
    values = (
        0,
        row.allocation_id,
        None if queued else row.started_s,
        row.ends_s if row.seen is Seen.RUNNING else pilot.ends_s,
        row.node,
        row.reason if queued else "",
        row.state if row.seen is Seen.FAILED else pilot.failure,
        pilot.allocated_cores if queued else row.cores or pilot.allocated_cores,
    )
    if _row_values(pilot) != values:
        changed: dict[str, Any] = dict(zip(_ROW_FIELDS, values, strict=True))
        pilot = replace(pilot, **changed)
    return _transition(pilot, row.seen, at_s, row.ends_s)


def requeued(pilot: Pilot, row: Row | None) -> bool:
    """Return True if Slurm queues a pilot again that served or was ending when `row` was shown.

    An administrator can do that despite `--no-requeue`. Nobody waits for its second start.
    """
    had_its_time = pilot.state in (_S.READY, _S.DRAINING)
    return had_its_time and row is not None and row.seen is Seen.QUEUED


def _transition(pilot: Pilot, seen: Seen, at_s: float, ended_s: float | None = None) -> Pilot:
    state = NEXT[(pilot.state, seen)]
    if state is pilot.state:
        return pilot
    ended = min(ended_s or at_s, at_s) if state.over else None
    return replace(pilot, state=state, since_s=at_s, ended_s=ended)
