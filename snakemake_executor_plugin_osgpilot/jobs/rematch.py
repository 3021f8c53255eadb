"""Free jobs that the schedd no longer offers to the negotiator: hold and release them, and
resubmit them if that does not help.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress

from ..common.durations import duration
from ..errors import RejectedError
from .access_point import AccessPoint
from .state.job import Job
from .state.stuck_jobs import CapacityHistory, RematchCount, needs_resubmission, overdue, stuck
from .state.tracker import JobTracker

LOOK_EVERY_S = 60.0
"""Access point and negotiators serve everybody, and nothing here is urgent."""


class Rematcher:
    """Finds stuck jobs and has them matched.

    `lock` guards `tracker`, and is never held during a request to the access point. `capacity` is
    set by scaling: when there was room for waiting jobs.
    """

    def __init__(
        self, access_point: AccessPoint, tracker: JobTracker, lock: threading.Lock
    ) -> None:
        self._access_point, self._tracker, self._lock = access_point, tracker, lock
        self._counts: dict[str, RematchCount] = {}
        self._due_s = float("-inf")
        self._rematched: list[str] = []
        self.capacity = CapacityHistory()

    def take_rematched(self) -> list[str]:
        """Return the keys of the jobs that were rematched or resubmitted since the last call."""
        keys, self._rematched = self._rematched, []
        return keys

    def run(self, now_s: float) -> None:
        """Rematch stuck jobs, and release what an earlier call left on hold.

        Raises `OutcomeUnknownError` or `RejectedError`; it is tried again after a while then.
        """
        self._release()
        if now_s >= self._due_s and self.capacity.spans:
            self._due_s = now_s + LOOK_EVERY_S
            self._rematch(now_s)

    def _release(self) -> None:
        """Release jobs whose release is not confirmed: a process may have died before it."""
        if ids := self._tracker.temporary_holds():
            # a job that is not held any more cannot be released
            with suppress(RejectedError):
                self._access_point.release(ids, None)
            with self._lock:
                self._tracker.temporary_holds_released(ids)

    def _rematch(self, now_s: float) -> None:
        capacity = self.capacity
        with self._lock:
            jobs = self._tracker.unmatched_in(capacity.spans.keys())
        known_s = min(now_s, capacity.looked_s, self._access_point.complete_until_s)
        since_s = overdue(jobs, capacity, self._counts, known_s)
        if not since_s:
            return
        status = self._access_point.negotiation_status(min(since_s.values()))
        rematch: list[Job] = []
        resubmit: list[Job] = []
        for job in stuck(jobs, since_s, status):
            again = needs_resubmission(job, self._counts, status)
            (resubmit if again else rematch).append(job)
        with self._lock:
            for job in resubmit:
                self._tracker.resubmit_stuck(job)
        self._record(resubmit, "resubmitted", since_s, now_s)
        if rematch:
            self._access_point.rematch([job.job_id for job in rematch])
            self._record(rematch, "held and released to trigger rematching", since_s, now_s)

    def _record(
        self, jobs: list[Job], remedy: str, since_s: Mapping[str, float], now_s: float
    ) -> None:
        """Count what was done for jobs, and notify the user."""
        self._rematched += [job.key for job in jobs]
        with self._lock:
            for job in jobs:
                times = self._counts[job.key].times if job.key in self._counts else 0
                self._counts[job.key] = RematchCount(times + 1, now_s)
                waited = duration(now_s - since_s[job.key])
                self._tracker.notify(
                    job,
                    f"HTCondor did not offer them to the negotiator for {waited} although a pilot "
                    f"has room; {remedy}",
                )
