"""Recover jobs in trouble at the access point, many jobs in one request."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from ..errors import RejectedError
from ..model.intervals import ASK_POOL_EVERY_S
from .access_point import AccessPoint
from .state.lost_pilots import ASK_AFTER_S
from .state.tracker import JobTracker

Step = Callable[[float], None]


class JobInterventions:
    """Makes the changes that are due in `tracker`; a change without an answer is repeated.

    `lock` guards the tracker, and is never held during a request to the access point. `more` are
    further steps.
    """

    def __init__(
        self, access_point: AccessPoint, tracker: JobTracker, lock: threading.Lock, *more: Step
    ) -> None:
        self._access_point, self._tracker, self._lock = access_point, tracker, lock
        self._asked_s = float("-inf")
        self._steps: deque[Step] = deque(
            (
                *(self._pause, self._avoid_pilots, self._remove, self._release),
                *(self._requeue_cut_off, self._withdraw, self._spread, self._reorder, *more),
            )
        )

    def run(self, now_s: float) -> None:
        """Make all changes that are due.

        Raises `RejectedError` when all were tried, if some were refused. Raises
        `OutcomeUnknownError` at once, since each may wait for its deadline; the next call starts
        with those that were not tried.
        """
        refused: dict[str, None] = {}
        for _ in range(len(self._steps)):
            step = self._steps[0]
            self._steps.rotate(-1)
            try:
                step(now_s)
            except RejectedError as refusal:
                refused[str(refusal)] = None
        if refused:
            raise RejectedError("; ".join(sorted(refused)))

    def _pause(self, _now_s: float) -> None:
        """Pause the jobs in the queue while starts are suspended, but for trial jobs."""
        starts = self._tracker.starts
        paused = starts.pause_due()
        if paused is not None:
            self._access_point.set_paused(paused=paused)
            starts.pause_done(paused=paused)
        if ids := starts.trial_due():
            self._access_point.let_start(ids)
            starts.trial_done()

    def _spread(self, _now_s: float) -> None:
        """Spread jobs that need much memory, so that others find room beside them."""
        with self._lock:
            apart = self._tracker.apart_due()
        if apart is not None:
            self._access_point.keep_apart(apart=apart)
            self._tracker.apart_done(apart)

    def _reorder(self, _now_s: float) -> None:
        """Have the most urgent jobs start first, as far as is known by now."""
        with self._lock:
            due = self._tracker.priorities_due()
        for priority, ids in due.items():
            # jobs run in any order: one that is refused is not worth another request
            with suppress(RejectedError):
                self._access_point.prioritize(ids, priority)
            with self._lock:
                self._tracker.priorities_done(priority, ids)

    def _avoid_pilots(self, _now_s: float) -> None:
        with self._lock:
            pilots = self._tracker.take_avoidance_due()
        if pilots is None:
            return
        try:
            self._access_point.avoid(pilots)
        except BaseException:
            self._tracker.avoidance_failed()
            raise

    def _requeue_cut_off(self, now_s: float) -> None:
        """Ask the pool for jobs that lost touch with a pilot a while ago, if there are any."""
        since_s = self._tracker.cut_off_since_s()
        if since_s is None or now_s - since_s < ASK_AFTER_S:
            return
        if now_s - self._asked_s < ASK_POOL_EVERY_S:
            return
        self._asked_s = now_s
        occupied = self._access_point.occupied()
        with self._lock:
            self._tracker.requeue_cut_off(occupied, now_s)

    def _remove(self, _now_s: float) -> None:
        if ids := self._tracker.removals_due():
            # a job that cannot be removed must not stop the workflow; nobody uses its outputs
            with suppress(RejectedError):
                self._access_point.remove(ids, "osgpilot: failed, or left by a previous session")
            with self._lock:
                self._tracker.removals_done(ids)

    def _withdraw(self, _now_s: float) -> None:
        if ids := self._tracker.withdrawals_due():
            self._access_point.remove(ids, "osgpilot: resubmitted")
            self._access_point.force_remove(ids)
            with self._lock:
                self._tracker.withdrawals_done(ids)

    def _release(self, now_s: float) -> None:
        with self._lock:
            due = self._tracker.releases_due(now_s)
        for shape, jobs in due.items():
            try:
                self._access_point.release([job.job_id for job in jobs], shape)
            except RejectedError as refusal:
                with self._lock:
                    for job in jobs:
                        self._tracker.fail(job, f"it cannot be released: {refusal}")
            else:
                with self._lock:
                    self._tracker.releases_done(jobs, shape)
