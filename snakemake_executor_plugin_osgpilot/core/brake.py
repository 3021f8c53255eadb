"""When so many starts fail that jobs had better not be started for a while."""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW_S = 1200.0
EXCEPTIONS_MAX = 12
CALM_MAX = 4
"""The OSPool's negotiators match no job of a user who had more than 20 shadow exceptions in the
last 20 minutes (osg-flock, NEGOTIATOR_SUBMITTER_CONSTRAINT on RecentJobsExitException, over
STATISTICS_WINDOW_SECONDS). Starts that are under way when we notice may still fail: hence the
distance. Jobs are started again when few enough are left in that time for another try."""

_KEPT = 50

BRAKE = "brake"
"""The rule by which pilots are held back meanwhile."""


@dataclass(frozen=True)
class Brake:
    """Times of failed starts of all jobs of the run, and whether they stop it."""

    times_s: tuple[float, ...] = ()
    on: bool = False

    def struck(self, at_s: float) -> Brake:
        """Return the brake after one more failed start."""
        return replace(self, times_s=(*self.times_s, at_s)[-_KEPT:])

    def at(self, now_s: float) -> Brake:
        """Return the brake as of now."""
        times_s = tuple(at_s for at_s in self.times_s if now_s - at_s < WINDOW_S)
        limit = CALM_MAX if self.on else EXCEPTIONS_MAX - 1
        return Brake(times_s, len(times_s) > limit)

    @property
    def reason(self) -> str:
        """Why nothing is started now; empty if it is."""
        if not self.on:
            return ""
        return (
            f"{len(self.times_s)} starts of jobs failed within {WINDOW_S / 60:.0f} min. The OSPool "
            "serves nobody who has more than 20 shadow exceptions in that time, so no job is "
            "started until most of them are that long ago"
        )
