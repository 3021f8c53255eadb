"""When so many starts fail that jobs had better not be started for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW_S = 1200.0
EXCEPTIONS_MAX = 12
CALM_MAX = 4
"""The OSPool's negotiators match no job of a user who had more than 20 shadow exceptions in the
last 20 minutes (osg-flock, NEGOTIATOR_SUBMITTER_CONSTRAINT on RecentJobsExitException, over
STATISTICS_WINDOW_SECONDS). Starts that are under way when we notice may still fail: hence the
distance. All jobs are started again when few enough are left in that time, or when some that were
tried came to run."""

TRIED_MAX = 18
"""Failed starts and jobs on trial are no more than this together."""

TRY_AFTER_S, TRY_FACTOR, TRY_AFTER_MAX_S = 60.0, 2, 480.0
TRIED_ENOUGH = 4
"""A minute after the last failed start one job is tried, then two, then four; if all come to run,
what kept them from it is over. After one that does not, the next try is two minutes later, and so
on."""

_KEPT = 50

BRAKE = "brake"
"""The rule by which pilots are held back meanwhile."""


@dataclass(frozen=True)
class StartFailureLimiter:
    """Times of failed starts of all jobs of the run, and whether they stop it.

    So many as `limit` do not. While it is on, the next `tries` jobs may be started at `try_s`;
    `waits` counts how often that has been put off.
    """

    times_s: tuple[float, ...] = ()
    on: bool = False
    limit: int = EXCEPTIONS_MAX - 1
    tries: int = 1
    try_s: float = 0.0
    waits: int = 0

    def struck(self, at_s: float) -> StartFailureLimiter:
        """Return the brake after one more failed start."""
        times_s = (*self.times_s, at_s)[-_KEPT:]
        if not self.on or at_s < self.try_s:
            # what was under way when the brake came on teaches nothing new
            return replace(self, times_s=times_s)
        return replace(self._waiting(at_s), times_s=times_s)

    def at(self, now_s: float) -> StartFailureLimiter:
        """Return the brake as of now."""
        times_s = tuple(at_s for at_s in self.times_s if now_s - at_s < WINDOW_S)
        if len(times_s) <= CALM_MAX:
            return StartFailureLimiter(times_s)
        now = replace(self, times_s=times_s)
        if self.on or len(times_s) <= self.limit:
            return now
        return replace(now._waiting(times_s[-1]), on=True)

    def may_try(self, now_s: float) -> int:
        """Return how many jobs may be started on trial."""
        if not self.on or now_s < self.try_s:
            return 0
        return max(0, min(self.tries, TRIED_MAX - len(self.times_s)))

    def came_to_run(self) -> StartFailureLimiter:
        """Return the brake after all jobs on trial came to run."""
        if self.tries < TRIED_ENOUGH:
            return replace(self, tries=2 * self.tries)
        limit = min(max(EXCEPTIONS_MAX - 1, len(self.times_s) + 1), TRIED_MAX - 1)
        return StartFailureLimiter(self.times_s, limit=limit, waits=self.waits)

    def _waiting(self, at_s: float) -> StartFailureLimiter:
        wait_s = min(TRY_AFTER_S * TRY_FACTOR**self.waits, TRY_AFTER_MAX_S)
        return replace(self, tries=1, try_s=at_s + wait_s, waits=self.waits + 1)

    @property
    def reason(self) -> str:
        """Why nothing is started now; empty if it is."""
        if not self.on:
            return ""
        return (
            f"{len(self.times_s)} starts of jobs failed within {WINDOW_S / 60:.0f} min. The OSPool "
            "serves nobody who has more than 20 shadow exceptions in that time, so no job is "
            "started until some that are tried one by one come to run"
        )
