"""Find idle jobs that the schedd no longer offers to the negotiator although a pilot has room.

A schedd (25.14) may keep a job out of its list of runnable jobs although nothing runs for it, as
when the pilot is gone to which an image had been sent ahead. Then no negotiator gets the job until
its status changes. Others stay blocked: they wait for an image that nobody sends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ...model.resources import END_MARGIN_S, JobClass, PilotState, Shape, may_run_on
from ...model.snapshot import Snapshot
from .job import Job, JobState

STUCK_AFTER_S = 180.0
"""A job that did not start although there was room for this time has been passed over in several
negotiation cycles (NEGOTIATOR_INTERVAL is 60 s)."""

BACK_OFF_FACTOR = 2
REMATCHES_MAX = 4
"""A job is rematched after 3 min, and again after 6, 12 and 24 min more: if four times did not
help, there is another cause."""

BLOCKED_S = 600.0
"""The transfer of a large image to a pilot may take minutes. After this time it will not arrive,
and holding the job does not help (25.14)."""

SLOWEST_BYTES_PER_S = 2_000_000
"""Rate at which shared inputs arrive at least; it is added to the time for an image."""

REMATCH_AT_ONCE = 10
"""Jobs to rematch in one request. The schedd rebuilds its list for one job as for many."""

GAP_S = 90.0
"""If two looks are further apart, the time between them does not count."""

SPANS_MAX = 50


class Span(NamedTuple):
    """A time, in seconds since the epoch."""

    from_s: float
    until_s: float


@dataclass(frozen=True)
class CapacityHistory:
    """Times in which there was room for waiting jobs, by class, from looks at the pilots.

    `spans` restart when a job starts on a pilot with room: HTCondor matches jobs then. `free` has
    the pilots with room at the latest look, which was at `looked_s`.
    """

    spans: Mapping[JobClass, tuple[Span, ...]] = field(default_factory=dict)
    free: Mapping[JobClass, frozenset[str]] = field(default_factory=dict)
    looked_s: float = float("-inf")

    def after(self, snapshot: Snapshot, started_s: Mapping[str, float]) -> CapacityHistory:
        """Return this after one more look; `started_s` has the latest job start on each pilot."""
        now_s = snapshot.now_s
        waiting = [job_class for job_class, count in snapshot.waiting.items() if count > 0]
        rooms = _rooms(snapshot) if waiting else {}
        free, spans = {}, {}
        for job_class in waiting:
            here = frozenset(
                pilot
                for pilot, (room, life_s, offer) in rooms.items()
                if room.holds(job_class.shape)
                and job_class.runtime_s < life_s
                and may_run_on(job_class, offer)
            )
            before = self.free.get(job_class, frozenset())
            # room may have come and gone between looks: it counts if it was there at both
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
        """Return how long there was room for jobs of a class between two times."""
        return sum(
            max(0.0, min(span.until_s, until_s) - max(span.from_s, since_s))
            for span in self.spans.get(job_class, ())
        )


class RematchCount(NamedTuple):
    """Number of times a job was rematched, and time of the last one."""

    times: int
    at_s: float


@dataclass(frozen=True)
class NegotiationStatus:
    """The state of negotiation for idle jobs of the run.

    `cycles_s` is the start of the second latest completed negotiation cycle, None if unknown.
    `refused` are ids of jobs for which a negotiator has found no slot since then, `resting` of
    those that the access point itself delays. `blocked_for_s` has how long jobs have been waiting
    for an image that is on its way to a pilot.
    """

    cycles_s: float | None
    refused: frozenset[str] = frozenset()
    resting: frozenset[str] = frozenset()
    blocked_for_s: Mapping[str, float] = field(default_factory=dict)


def overdue(
    jobs: Iterable[Job],
    capacity: CapacityHistory,
    counts: Mapping[str, RematchCount],
    known_s: float,
) -> dict[str, float]:
    """Return the keys of jobs that have waited too long although there was room, with the start.

    `known_s` is the time up to which the state of the jobs is known.
    """
    found = {}
    for job in jobs:
        if job.state is not JobState.WAITING or not job.job_id:
            continue
        before = counts.get(job.key, RematchCount(0, 0.0))
        since_s = max(job.since_s or 0.0, before.at_s)
        patience_s = STUCK_AFTER_S * BACK_OFF_FACTOR**before.times
        is_due = capacity.time_s(job.job_class, since_s, known_s) >= patience_s
        if is_due and before.times < REMATCHES_MAX:
            spans = capacity.spans[job.job_class]
            found[job.key] = max(since_s, spans[0].from_s)
    return found


def stuck(
    jobs: Iterable[Job], since_s: Mapping[str, float], status: NegotiationStatus
) -> list[Job]:
    """Return those of the overdue `jobs` that no negotiator was offered, the oldest first.

    A negotiator that finds no slot refuses one job of those with the same request. If none has
    completed two cycles meanwhile, nothing is known.
    """
    listed = list(jobs)
    refused = {job.request for job in listed if job.job_id in status.refused}
    if status.cycles_s is None:
        return []
    silent = [
        job
        for job in listed
        if job.key in since_s
        and job.request not in refused
        and job.job_id not in status.resting
        and status.blocked_for_s.get(job.job_id, math.inf) >= arrival_max_s(job)
        and status.cycles_s >= since_s[job.key]
    ]
    return sorted(silent, key=lambda job: (since_s[job.key], job.key))[:REMATCH_AT_ONCE]


def arrival_max_s(job: Job) -> float:
    """Return the time after which what a job shares with others will not arrive any more."""
    return BLOCKED_S + sum(each.size_bytes for each in job.shared) / SLOWEST_BYTES_PER_S


def needs_resubmission(
    job: Job, counts: Mapping[str, RematchCount], status: NegotiationStatus
) -> bool:
    """Return True if rematching a stuck job did not help, or would not."""
    return job.key in counts or job.job_id in status.blocked_for_s


_Room = tuple[Shape, float, str]


def _rooms(snapshot: Snapshot) -> dict[str, _Room]:
    """Return free resources of each pilot, its remaining life, and its offer."""
    rooms = {}
    for pilot in snapshot.pilots:
        serves = pilot.state is PilotState.READY and pilot.name not in snapshot.blocked
        if not serves or pilot.ends_s is None:
            continue
        free = pilot.shape - snapshot.others.get(pilot.name, Shape(0, 0))
        for group in snapshot.running.get(pilot.name, ()):
            free -= group.job_class.shape.times(group.jobs)
        rooms[pilot.name] = (free, pilot.ends_s - END_MARGIN_S - snapshot.now_s, pilot.offer)
    return rooms


def _joined(spans: Iterable[Span], from_s: float) -> tuple[Span, ...]:
    """Return `spans` after `from_s`; adjacent ones are joined."""
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
