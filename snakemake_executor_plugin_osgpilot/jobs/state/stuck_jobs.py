"""Jobs that HTCondor has forgotten: idle beside a free pilot, and offered to nobody.

A schedd (25.14) may keep a job out of its list of runnable ones although nothing runs for it, as
when the pilot is gone to which an image had been sent ahead. Then no negotiator hears of the job
until its status changes. Others wait for ever for an image that nobody sends: they are blocked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.model.resources import (
    END_MARGIN_S,
    JobClass,
    PilotState,
    Shape,
    lacks,
    may_run_on,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Snapshot

BESIDE_S = 180.0
"""A job that is beside free room for so long has been passed over by several cycles of a negotiator
(NEGOTIATOR_INTERVAL is 60 s)."""

BACK_OFF_FACTOR = 2
WAKES_MAX = 4
"""Something is done about a job after 3 min, and again after 6, 12 and 24 min more: what four times
did not help has another cause."""

BLOCKED_S = 600.0
"""A large image may take minutes to a pilot. A job that waits for one for so long waits in vain,
and holding it does not help (25.14)."""

WAKE_AT_ONCE = 10
"""The schedd makes its list anew for one job as for many."""

GAP_S = 90.0
"""Of the time between two looks that are further apart, nothing is known."""

SPANS_MAX = 50


class Span(NamedTuple):
    """A time, in seconds since the epoch."""

    from_s: float
    until_s: float


@dataclass(frozen=True)
class CapacityHistory:
    """When there was room for waiting jobs, by class, as looks at the pilots have shown.

    `spans` begin anew when a job is started on a pilot that has such room: then HTCondor is at
    work there. `free` has the pilots with room at the latest look, which was at `looked_s`.
    """

    spans: Mapping[JobClass, tuple[Span, ...]] = field(default_factory=dict)
    free: Mapping[JobClass, frozenset[str]] = field(default_factory=dict)
    looked_s: float = float("-inf")

    def after(self, snapshot: Snapshot, started_s: Mapping[str, float]) -> CapacityHistory:
        """Return this after one more look; `started_s` has the latest start on each pilot."""
        now_s = snapshot.now_s
        rooms = _rooms(snapshot)
        free, spans = {}, {}
        for job_class in (c for c, count in snapshot.waiting.items() if count > 0):
            here = frozenset(
                pilot
                for pilot, (room, life_s, offer) in rooms.items()
                if may_run_on(job_class, offer) and not lacks(job_class, room, life_s)
            )
            before = self.free.get(job_class, frozenset())
            # room may have come and gone since: what counts was there at both looks
            stayed = bool(here & before) and now_s - self.looked_s <= GAP_S
            known = list(self.spans.get(job_class, ()))
            if stayed:
                known.append(Span(self.looked_s, now_s))
            moved_s = max((started_s.get(pilot, 0.0) for pilot in here | before), default=0.0)
            if here:
                free[job_class] = here
            if kept := _joined(known, moved_s):
                spans[job_class] = kept
        return CapacityHistory(spans, free, now_s)

    def time_s(self, job_class: JobClass, since_s: float, until_s: float) -> float:
        """Return for how long there was room for jobs of a class in a time."""
        return sum(
            max(0.0, min(span.until_s, until_s) - max(span.from_s, since_s))
            for span in self.spans.get(job_class, ())
        )


class RematchCount(NamedTuple):
    """How often a job was woken, and when last."""

    times: int
    at_s: float


@dataclass(frozen=True)
class NegotiationStatus:
    """What the access point and the negotiators say.

    `cycles_s` is when the second latest cycle began that a negotiator has completed, None if none
    tells. `refused` are idle jobs of the run, by id, that a negotiator has found no slot for since
    then, `resting` those that the access point itself lets wait for a moment. `blocked_for_s` says
    how long jobs have been waiting for an image that is on its way to a pilot.
    """

    cycles_s: float | None
    refused: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    blocked_for_s: Mapping[str, float] = field(default_factory=dict)


def overdue(
    jobs: Iterable[Job], beside: CapacityHistory, woken: Mapping[str, RematchCount], known_s: float
) -> dict[str, float]:
    """Return the keys of jobs that have waited beside free room for too long, each with since when.

    `known_s` is the time up to which all is known of the jobs.
    """
    found = {}
    for job in jobs:
        if job.state is not JobState.WAITING or not job.job_id:
            continue
        before = woken.get(job.key, RematchCount(0, 0.0))
        since_s = max(job.since_s or 0.0, before.at_s)
        patience_s = BESIDE_S * BACK_OFF_FACTOR**before.times
        is_due = beside.time_s(job.job_class, since_s, known_s) >= patience_s
        if is_due and before.times < WAKES_MAX:
            spans = beside.spans[job.job_class]
            found[job.key] = max(since_s, spans[0].from_s)
    return found


def forgotten(
    jobs: Iterable[Job], since_s: Mapping[str, float], offers: NegotiationStatus
) -> list[Job]:
    """Return those of the overdue `jobs` of which no negotiator was told, the oldest first.

    A negotiator that finds no slot says so of one job of those that ask for the same. Where none
    has completed two cycles meanwhile, or none tells, nothing is known.
    """
    listed = list(jobs)
    refused = {job.request for job in listed if job.job_id in offers.refused}
    if offers.cycles_s is None:
        return []
    silent = [
        job
        for job in listed
        if job.key in since_s
        and job.request not in refused
        and job.job_id not in offers.resting
        and offers.blocked_for_s.get(job.job_id, BLOCKED_S) >= BLOCKED_S
        and offers.cycles_s >= since_s[job.key]
    ]
    return sorted(silent, key=lambda job: (since_s[job.key], job.key))[:WAKE_AT_ONCE]


def is_to_be_renewed(
    job: Job, woken: Mapping[str, RematchCount], offers: NegotiationStatus
) -> bool:
    """Whether a forgotten job is to be submitted anew: waking it did not help, or would not."""
    return job.key in woken or job.job_id in offers.blocked_for_s


_Room = tuple[Shape, float, str]


def _rooms(snapshot: Snapshot) -> dict[str, _Room]:
    """Return what is free now on each pilot, for how long, and the pilot's offer."""
    rooms = {}
    for pilot in snapshot.pilots:
        serves = pilot.state is PilotState.READY and pilot.name not in snapshot.shunned
        if not serves or pilot.ends_s is None:
            continue
        free = pilot.shape - snapshot.others.get(pilot.name, Shape(0, 0))
        for group in snapshot.running.get(pilot.name, ()):
            free -= group.job_class.shape.times(group.jobs)
        rooms[pilot.name] = (free, pilot.ends_s - END_MARGIN_S - snapshot.now_s, pilot.offer)
    return rooms


def _joined(spans: Iterable[Span], from_s: float) -> tuple[Span, ...]:
    """Return what is left of `spans` after `from_s`; those that touch become one."""
    joined: list[Span] = []
    for span in spans:
        begins_s = max(span.from_s, from_s)
        if begins_s >= span.until_s:
            continue
        if joined and joined[-1].until_s == begins_s:
            joined[-1] = Span(joined[-1].from_s, span.until_s)
        else:
            joined.append(Span(begins_s, span.until_s))
    return tuple(joined[-SPANS_MAX:])
