"""Rest pilots on which job starts fail; give them up if that does not help."""

from __future__ import annotations

from dataclasses import dataclass

FAILED_MAX = 2
"""Consecutive failed starts after which a pilot rests. `start_failures` suspends all starts of the
run after twelve; until then, one bad pilot costs two and those that are under way there."""

REST_S, REST_FACTOR = 60.0, 2
RESTS_MAX = 3
"""A pilot rests for 1, 2 and 4 minutes, each time after a failed start, and then gets no more jobs:
a full disk or a server outage is often over by then."""


@dataclass(frozen=True)
class StartFailures:
    """Failed starts on one pilot since a job last started there."""

    failed: int = 0
    rests: int = 0
    until_s: float = 0.0

    def after_failure(self, at_s: float) -> StartFailures:
        """Return this after one more failed start.

        Those that were under way when a rest began prove nothing new.
        """
        if at_s < self.until_s:
            return self
        failed = self.failed + 1
        if failed < FAILED_MAX:
            return StartFailures(failed, self.rests, self.until_s)
        rest_s = REST_S * REST_FACTOR**self.rests
        # after a rest, the next one is enough
        return StartFailures(FAILED_MAX - 1, self.rests + 1, at_s + rest_s)


class PilotStartFailures:
    """Pilots (by name) on which starts failed since a job last started there."""

    def __init__(self) -> None:
        self._failures: dict[str, StartFailures] = {}

    def failed(self, pilot: str, at_s: float) -> None:
        """Record that a job start on `pilot` failed."""
        self._failures[pilot] = self._failures.get(pilot, StartFailures()).after_failure(at_s)

    def started(self, pilot: str) -> None:
        """Record that a job started on `pilot`."""
        if self._failures:
            self._failures.pop(pilot, None)

    def resting(self, now_s: float) -> tuple[str, ...]:
        """Return the pilots that get no jobs for now."""
        return tuple(pilot for pilot, each in self._failures.items() if now_s < each.until_s)

    def bad(self) -> dict[str, str]:
        """Return the pilots that get no more jobs, with the reason."""
        return {
            pilot: "starts of jobs fail there repeatedly"
            for pilot, each in self._failures.items()
            if each.rests > RESTS_MAX
        }
