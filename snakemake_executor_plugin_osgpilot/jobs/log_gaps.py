"""Close gaps of the event log: ask the queue, and its history, for what the log left out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from ..errors import OutcomeUnknownError, RejectedError
from .access_point import AccessPoint
from .state.events import Event, EventKind
from .state.job import JobState
from .state.tracker import JobTracker

HISTORY_TRIES = 3
"""Failed queries of the history after which the outputs of a job decide how it ended."""


class EventLogRepair:
    """Applies the events that the log left out.

    `lock` guards `tracker`, and is never held during a request to the access point.
    """

    def __init__(
        self, access_point: AccessPoint, tracker: JobTracker, lock: threading.Lock
    ) -> None:
        self._access_point, self._tracker, self._lock = access_point, tracker, lock
        self._unanswered = 0

    def run(self) -> None:
        """Query the access point and apply what follows. Raises `OutcomeUnknownError`."""
        tracker = self._tracker
        with self._lock:
            were_held = tracker.held_ids()
        found = frozenset(self._access_point.find().values())
        held = self._access_point.held()
        with self._lock:
            missing = tracker.missing_ids(found)
        ends = self._ends(missing) if missing else {}
        # events that the log has by now are better than conclusions
        events = self._access_point.events()
        with self._lock:
            for job_id, event in events:
                tracker.apply(job_id, event)
                held.pop(job_id, None)
                were_held.discard(job_id)
            self._apply_releases((were_held & found) - held.keys())
            self._apply_ends(missing, ends)
            self._apply_holds(held)

    def _ends(self, job_ids: list[str]) -> dict[str, Event]:
        """Return the ends of jobs, as far as the history has them."""
        try:
            ends = self._access_point.ended(job_ids)
        except OutcomeUnknownError:
            self._unanswered += 1
            if self._unanswered < HISTORY_TRIES:
                raise
            ends = {}
        except RejectedError:
            ends = {}
        self._unanswered = 0
        return ends

    def _apply_releases(self, job_ids: Iterable[str]) -> None:
        for job_id in job_ids:
            self._tracker.apply(job_id, Event(EventKind.RELEASED, self._latest_s()))

    def _apply_ends(self, job_ids: Iterable[str], ends: Mapping[str, Event]) -> None:
        """Apply the `ends` of jobs; those of which nothing is known succeeded if their outputs are
        complete.
        """
        end = Event(EventKind.TERMINATED, self._latest_s(), exit_status=0)
        for job_id in job_ids:
            self._tracker.apply(job_id, ends.get(job_id, end))

    def _apply_holds(self, held: Mapping[str, Event]) -> None:
        for job_id, event in held.items():
            known = self._tracker.is_known(job_id)
            if known and not self._tracker.is_in(job_id, JobState.HELD):
                self._tracker.apply(job_id, event)

    def _latest_s(self) -> float:
        return (self._tracker.span_s or (0.0, 0.0))[1]
