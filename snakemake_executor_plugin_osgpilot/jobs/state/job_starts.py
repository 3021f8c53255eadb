"""Decide which jobs in the queue may start: all, none, or a few on trial after failed starts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice

from .start_failures import StartFailureLimiter


class JobStarts:
    """The limiter as of now, the ids of jobs on trial, and what the access point knows of both.

    Methods named `…_due` return a change that the access point has to make, those named `…_done`
    record that it was made. `notices` are messages for the user.
    """

    def __init__(self) -> None:
        self._limiter = StartFailureLimiter()
        self._trial: set[str] = set()
        self._trial_due = self._repeat_pause = False
        self._paused_there: bool | None = False
        self.notices: list[str] = []

    @property
    def suspended(self) -> bool:
        """True if no job may start but those on trial."""
        return self._limiter.on

    @property
    def on_trial(self) -> bool:
        """True if some jobs may start although starts are suspended."""
        return bool(self._trial)

    @property
    def reason(self) -> str:
        """The reason why starts are suspended, empty if they are not."""
        return self._limiter.reason

    def started(self, job_id: str) -> None:
        """Record that a job started."""
        if job_id in self._trial:
            self._trial.discard(job_id)
            if not self._trial:
                self._limiter = self._limiter.after_trial()

    def failed(self, job_id: str, at_s: float) -> None:
        """Record that the start of a job failed."""
        self._limiter = self._limiter.after_failure(at_s)
        self._repeat_pause |= job_id in self._trial
        self._trial.discard(job_id)

    def update(self, now_s: float, waiting: Iterable[str], waits: Callable[[str], bool]) -> None:
        """Suspend or resume starts, and choose jobs for a trial from the ids `waiting`.

        `waits` returns True if a job still waits in the queue.
        """
        self._limiter = self._limiter.at(now_s)
        self._trial = set(filter(waits, self._trial)) if self.suspended else set()
        if not self._trial and (number := self._limiter.trial_size(now_s)):
            self._trial = set(islice(waiting, number))
            self._trial_due = self.on_trial

    def forget_pause(self) -> None:
        """Record that jobs in the queue may be paused or not."""
        self._paused_there = None

    def pause_due(self) -> bool | None:
        """Return True to pause the jobs in the queue, False to resume them, None for neither."""
        on = self.suspended
        return on if on is not self._paused_there or self._repeat_pause else None

    def pause_done(self, *, paused: bool) -> None:
        """Record that the jobs in the queue were paused or resumed."""
        before, self._paused_there = self._paused_there, paused
        self._repeat_pause = False
        if paused is not before and (paused or before):
            self.notices.append(self.reason or "jobs are started again")

    def trial_due(self) -> list[str]:
        """Return the ids of jobs to start although others are paused."""
        return sorted(self._trial) if self._trial_due else []

    def trial_done(self) -> None:
        """Record that the trial jobs may start."""
        self._trial_due = False
