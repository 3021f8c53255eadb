"""Restore the jobs of a previous session."""

from __future__ import annotations

from collections.abc import Iterable

from .avoidance import Place
from .events import Event, EventKind
from .recovery import Leftover
from .tracker import JobTracker


def restore(tracker: JobTracker, left: Leftover, events: Iterable[tuple[str, Event]]) -> None:
    """Restore what is left of a previous session and replay the event log."""
    events = list(events)
    for past in left.past:
        tracker.remember(past)
    tracker.follow(left.jobs)
    tracker.remove_orphans(left.orphans)
    _restore_failed_places(tracker, left, events)
    for job_id, event in events:
        tracker.replay(job_id, event)
    # the previous session has reported them
    tracker.take_notices()


def _restore_failed_places(
    tracker: JobTracker, left: Leftover, events: Iterable[tuple[str, Event]]
) -> None:
    """Record where earlier attempts under other ids ended: they were repeated, so they failed."""
    identities = {job.key: job.identity for job in left.jobs}
    attempts: dict[str, str] = {}
    places: dict[str, Place] = {}
    for job_id, event in events:
        if tracker.is_known(job_id):
            continue
        if event.kind is EventKind.SUBMIT and event.key in identities:
            attempts[job_id] = identities[event.key]
        elif event.kind is EventKind.EXECUTE and event.pilot:
            places[job_id] = Place(event.pilot, event.node)
        elif event.kind is EventKind.TERMINATED and job_id in attempts and job_id in places:
            tracker.record_failure(attempts[job_id], places[job_id])
