"""What successive looks at the access point's queue tell of a job, in the words of an event log.

A look shows a job as it is; what happened since the look before follows from its counters. Starts
that came and went between two looks are told as starts nobody knows the place of.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

from snakemake_executor_plugin_osgpilot.jobs.state.events import (
    NO_USAGE,
    VACATE_CODES,
    Event,
    EventKind,
    Usage,
)


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

UNSEEN = "was interrupted between two looks at the queue"
GONE = "the access point has it neither in its queue nor in its history"


@dataclass(frozen=True, slots=True)
class JobSnapshot:
    """A job as one look showed it.

    `seen_s` is when the access point was asked, `queued_s` when the job was submitted, `since_s`
    when it came into its `status`. `starts` and `holds` count since then (NumShadowStarts,
    NumHolds). `started_s` is the time its command began in the latest start, None if it did not.
    `pilot`, `allocation_id` and `node` are those of the latest start, empty if they are not known.
    `code`, `subcode` and `text` say why it is held, or what ended its latest start.
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
        """Whether a start is under way."""
        return self.status in _ACTIVE

    @property
    def starting(self) -> bool:
        """Whether a start is under way whose command has not begun."""
        return self.active and self.started_s is None

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in (Status.COMPLETED, Status.REMOVED)


def derive(before: JobSnapshot | None, now: JobSnapshot) -> list[Event]:
    """Return what happened to a job between two looks, in order; None if `now` is the first one.

    After it, a start is known as executed where the sight says so, and as over unless it is active.
    """
    told = []
    if before is None:
        told.append(Event(EventKind.SUBMIT, now.queued_s))
        before = JobSnapshot(Status.IDLE, now.queued_s, now.queued_s, now.queued_s)
    anew = now.starts - before.starts
    moved = anew > 0 or now.holds > before.holds or now.status is not before.status
    if before.status is Status.HELD and moved:
        told.append(Event(EventKind.RELEASED, before.seen_s))
    if anew and before.active:
        told.append(_interrupted(before, before.seen_s, text=UNSEEN))
    for _ in range(anew - 1):
        told.append(Event(EventKind.EXECUTE, before.seen_s))
        told.append(Event(EventKind.EVICTED, before.seen_s, text=UNSEEN))
    told += _latest_start(before, now, anew=anew > 0)
    if now.memory_mb > before.memory_mb:
        told.append(Event(EventKind.USAGE, now.seen_s, memory_mb=now.memory_mb))
    if now.status is Status.IDLE and (anew or before.active):
        told.append(_interrupted(now, now.since_s, code=now.code, text=now.text))
    elif now.status is Status.HELD and moved:
        told.append(
            Event(EventKind.HELD, now.since_s, code=now.code, subcode=now.subcode, text=now.text)
        )
    elif now.over and not before.over:
        told.append(ended(now))
    return told


def vanished(before: JobSnapshot, now_s: float) -> list[Event]:
    """Return the end of a job that nobody knows any more."""
    return derive(before, replace(before, status=Status.REMOVED, since_s=now_s, text=GONE))


def _latest_start(before: JobSnapshot, now: JobSnapshot, *, anew: bool) -> list[Event]:
    if now.started_s is not None and (anew or before.started_s is None):
        return [_executed(now, now.started_s)]
    if now.starting and (anew or not before.starting or now.pilot != before.pilot):
        return [Event(EventKind.MATCHED, now.since_s, pilot=now.pilot)]
    return []


def _executed(sight: JobSnapshot, at_s: float) -> Event:
    return Event(
        EventKind.EXECUTE,
        at_s,
        pilot=sight.pilot,
        allocation_id=sight.allocation_id,
        node=sight.node,
    )


def _interrupted(sight: JobSnapshot, at_s: float, *, text: str, code: int = 0) -> Event:
    # where the access point itself was away, it says nothing of what ended an attempt
    excused = not code and text in ("", UNSEEN)
    kind = EventKind.NOT_STARTED if sight.started_s is None else EventKind.EVICTED
    # a lower code would announce a hold, which is not what followed
    code = code if code >= VACATE_CODES else 0
    return Event(kind, at_s, code=code, text=text, excused=excused)


def ended(sight: JobSnapshot) -> Event:
    """Return the end of a job that is over."""
    if sight.status is Status.REMOVED:
        return Event(EventKind.ABORTED, sight.since_s, text=sight.text)
    return Event(
        EventKind.TERMINATED, sight.since_s, exit_status=sight.exit_status, usage=sight.usage
    )
