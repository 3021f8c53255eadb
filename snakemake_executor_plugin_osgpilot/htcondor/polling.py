"""Derive the events of jobs from successive snapshots of the access point's queue.

A snapshot has the state of a job; events since the one before follow from its counters. Starts that
came and went between two snapshots become starts without a place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum

from ..jobs.state.events import NO_USAGE, VACATE_CODES, Event, EventKind, Usage


class Status(IntEnum):
    """JobStatus (HTCondor manual, Job ClassAd Attributes)."""

    IDLE = 1
    RUNNING = 2
    REMOVED = 3
    COMPLETED = 4
    HELD = 5
    TRANSFERRING_OUTPUT = 6
    SUSPENDED = 7
    BLOCKED = 9


_ACTIVE = (Status.RUNNING, Status.TRANSFERRING_OUTPUT, Status.SUSPENDED)

UNSEEN = "was interrupted between two polls of the queue"
GONE = "the access point has it neither in its queue nor in its history"


BELIEVED_AFTER = 3
"""Answered polls of queue and history after which a job is gone that is in neither."""

Events = list[tuple[str, Event]]


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job at the time of one poll.

    `seen_s` is the time of the poll, `queued_s` that of the submission, `since_s` that of the last
    change of `status`. `starts` and `holds` count since the submission (NumShadowStarts, NumHolds).
    `started_s` is the time its command began in the latest start, None if it did not. `pilot`,
    `allocation_id` and `node` are those of the latest start, empty if unknown. `code`, `subcode`
    and `text` are the reason of the hold, or of the end of its latest start.
    """

    status: Status
    seen_s: float
    queued_s: float
    since_s: float
    starts: int = 0
    holds: int = 0
    started_s: float | None = None
    pilot: str = ""
    allocation_id: str = ""
    node: str = ""
    exit_status: int | None = None
    code: int = 0
    subcode: int = 0
    memory_mb: int = 0
    text: str = ""
    usage: Usage = NO_USAGE

    @property
    def active(self) -> bool:
        """True if a start is under way."""
        return self.status in _ACTIVE

    @property
    def starting(self) -> bool:
        """True if a start is under way whose command has not begun."""
        return self.active and self.started_s is None

    @property
    def over(self) -> bool:
        """True if no more changes are expected."""
        return self.status in (Status.COMPLETED, Status.REMOVED)


def derive(before: JobSnapshot | None, now: JobSnapshot) -> list[Event]:
    """Return the events of a job between two snapshots, in order; None if `now` is the first one.

    Afterwards a start counts as executed if the snapshot has its time, and as over unless active.
    """
    events = []
    if before is None:
        events.append(Event(EventKind.SUBMIT, now.queued_s))
        before = JobSnapshot(Status.IDLE, now.queued_s, now.queued_s, now.queued_s)
    starts = now.starts - before.starts
    moved = starts > 0 or now.holds > before.holds or now.status is not before.status
    if before.status is Status.HELD and moved:
        events.append(Event(EventKind.RELEASED, before.seen_s))
    if starts and before.active:
        events.append(_interrupted(before, before.seen_s, text=UNSEEN))
    for _ in range(starts - 1):
        events.append(Event(EventKind.EXECUTE, before.seen_s))
        events.append(Event(EventKind.EVICTED, before.seen_s, text=UNSEEN))
    events += _latest_start(before, now, restarted=starts > 0)
    if now.memory_mb > before.memory_mb:
        events.append(Event(EventKind.USAGE, now.seen_s, memory_mb=now.memory_mb))
    if now.status is Status.IDLE and (starts or before.active):
        events.append(_interrupted(now, now.since_s, code=now.code, text=now.text))
    elif now.status is Status.HELD and moved:
        events.append(
            Event(EventKind.HELD, now.since_s, code=now.code, subcode=now.subcode, text=now.text)
        )
    elif now.over and not before.over:
        events.append(ended(now))
    return events


def vanished(before: JobSnapshot, now_s: float) -> list[Event]:
    """Return the end of a job that is in neither queue nor history any more."""
    return derive(before, replace(before, status=Status.REMOVED, since_s=now_s, text=GONE))


def _latest_start(before: JobSnapshot, now: JobSnapshot, *, restarted: bool) -> list[Event]:
    if now.started_s is not None and (restarted or before.started_s is None):
        return [_executed(now, now.started_s)]
    if now.starting and (restarted or not before.starting or now.pilot != before.pilot):
        return [Event(EventKind.MATCHED, now.since_s, pilot=now.pilot)]
    return []


def _executed(snapshot: JobSnapshot, at_s: float) -> Event:
    return Event(
        EventKind.EXECUTE,
        at_s,
        pilot=snapshot.pilot,
        allocation_id=snapshot.allocation_id,
        node=snapshot.node,
    )


def _interrupted(snapshot: JobSnapshot, at_s: float, *, text: str, code: int = 0) -> Event:
    # if the access point itself was down, it has no reason for the end of an attempt
    excused = not code and text in ("", UNSEEN)
    kind = EventKind.NOT_STARTED if snapshot.started_s is None else EventKind.EVICTED
    # a lower code would announce a hold, which did not follow
    code = code if code >= VACATE_CODES else 0
    return Event(kind, at_s, code=code, text=text, excused=excused)


def ended(snapshot: JobSnapshot) -> Event:
    """Return the event of the end of a job."""
    if snapshot.status is Status.REMOVED:
        return Event(EventKind.ABORTED, snapshot.since_s, text=snapshot.text)
    return Event(
        EventKind.TERMINATED,
        snapshot.since_s,
        exit_status=snapshot.exit_status,
        usage=snapshot.usage,
    )


class QueuePoller:
    """Derives events of jobs (by `cluster.proc`) from the last snapshot of each and the next."""

    def __init__(self) -> None:
        self._known: dict[str, JobSnapshot | None] = {}
        self._missed: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Return True if there is a job to poll for."""
        return bool(self._known)

    def follow(self, job_ids: Iterable[str]) -> None:
        """Poll for these jobs from now on."""
        for job_id in job_ids:
            self._known.setdefault(job_id, None)

    def drop(self, job_ids: Iterable[str] | None) -> None:
        """Stop polling for these jobs (None: for all)."""
        for job_id in list(self._known) if job_ids is None else job_ids:
            self._known.pop(job_id, None)
            self._missed.pop(job_id, None)

    def missing(self, seen: Iterable[str]) -> list[str]:
        """Return the jobs that are missing from the jobs `seen` in an answered poll."""
        shown = set(seen)
        for job_id in shown:
            self._missed.pop(job_id, None)
        return [job_id for job_id in self._known if job_id not in shown]

    def update(self, seen: Mapping[str, JobSnapshot]) -> Events:
        """Apply new snapshots; return the events since the last ones. Jobs that ended are dropped.

        A job that is being removed is still there: its pilot has to confirm it.
        """
        events: Events = []
        for job_id, snapshot in seen.items():
            events += [(job_id, event) for event in derive(self._known.get(job_id), snapshot)]
            self._known[job_id] = snapshot
        self.drop([job_id for job_id, snapshot in seen.items() if snapshot.over])
        return events

    def record_missing(self, job_ids: Iterable[str], now_s: float) -> Events:
        """Record that jobs are in neither queue nor history; return the ends of those given up."""
        events: Events = []
        for job_id in job_ids:
            self._missed[job_id] += 1
            if self._missed[job_id] >= BELIEVED_AFTER:
                last = self._known[job_id] or JobSnapshot(Status.IDLE, now_s, now_s, now_s)
                events += [(job_id, event) for event in vanished(last, now_s)]
                self.drop([job_id])
        return events
