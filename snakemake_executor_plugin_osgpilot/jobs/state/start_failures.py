"""Suspend job starts for a while when too many fail."""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW_S = 1200.0
EXCEPTIONS_MAX = 12
CALM_MAX = 4
"""The OSPool's negotiators match no job of a user who had more than 20 shadow exceptions in the
last 20 minutes (osg-flock, NEGOTIATOR_SUBMITTER_CONSTRAINT on RecentJobsExitException, over
STATISTICS_WINDOW_SECONDS). Starts that are under way when the limit is reached may still fail:
hence the distance. All jobs may start again when few enough failures are left in that time, or when
trial jobs started."""

TRIAL_MAX = 18
"""Limit of failed starts and trial jobs together."""

TRIAL_AFTER_S, TRIAL_FACTOR, TRIAL_AFTER_MAX_S = 60.0, 2, 480.0
TRIAL_ENOUGH = 4
"""A minute after the last failed start one trial job may start, then two, then four; if all of them
start, the cause is gone. After one that fails, the next trial is two minutes later, and so on."""

_KEPT = 50

START_FAILURE_LIMIT = "brake"
"""The scaling rule that holds pilots back meanwhile; histories and `--json` have this name."""


@dataclass(frozen=True)
class StartFailureLimiter:
    """Times of failed starts of all jobs of the run; `on` if they are more than `limit`, so that
    starts are suspended.

    While on, the next `trials` jobs may start at `trial_s`; `waits` counts the postponements.
    """

    times_s: tuple[float, ...] = ()
    on: bool = False
    limit: int = EXCEPTIONS_MAX - 1
    trials: int = 1
    trial_s: float = 0.0
    waits: int = 0

    def after_failure(self, at_s: float) -> StartFailureLimiter:
        """Return the limiter after one more failed start."""
        times_s = (*self.times_s, at_s)[-_KEPT:]
        if not self.on or at_s < self.trial_s:
            # starts that were under way when it was switched on prove nothing new
            return replace(self, times_s=times_s)
        return replace(self._waiting(at_s), times_s=times_s)

    def at(self, now_s: float) -> StartFailureLimiter:
        """Return the limiter as of now."""
        times_s = tuple(at_s for at_s in self.times_s if now_s - at_s < WINDOW_S)
        if len(times_s) <= CALM_MAX:
            return StartFailureLimiter(times_s)
        now = replace(self, times_s=times_s)
        if self.on or len(times_s) <= self.limit:
            return now
        return replace(now._waiting(times_s[-1]), on=True)

    def trial_size(self, now_s: float) -> int:
        """Return how many trial jobs may start."""
        if not self.on or now_s < self.trial_s:
            return 0
        return max(0, min(self.trials, TRIAL_MAX - len(self.times_s)))

    def after_trial(self) -> StartFailureLimiter:
        """Return the limiter after all trial jobs started."""
        if self.trials < TRIAL_ENOUGH:
            return replace(self, trials=2 * self.trials)
        limit = min(max(EXCEPTIONS_MAX - 1, len(self.times_s) + 1), TRIAL_MAX - 1)
        return StartFailureLimiter(self.times_s, limit=limit, waits=self.waits)

    def _waiting(self, at_s: float) -> StartFailureLimiter:
        wait_s = min(TRIAL_AFTER_S * TRIAL_FACTOR**self.waits, TRIAL_AFTER_MAX_S)
        return replace(self, trials=1, trial_s=at_s + wait_s, waits=self.waits + 1)

    @property
    def reason(self) -> str:
        """The reason why no job may start now; empty if they may."""
        if not self.on:
            return ""
        return (
            f"{len(self.times_s)} starts of jobs failed within {WINDOW_S / 60:.0f} min. The OSPool "
            "matches no jobs of a user with more than 20 shadow exceptions in that time, so no job "
            "is started until trial jobs, started one by one, run"
        )
