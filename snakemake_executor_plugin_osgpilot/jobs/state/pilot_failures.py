"""Starts of jobs that fail on a pilot: it rests for a while, and is left if that does not help."""

from __future__ import annotations

from dataclasses import dataclass

FAILED_MAX = 2
"""After so many failed starts in a row a pilot rests. The brake (`core.brake`) stops the whole run
after twelve; until then, one bad pilot costs two and those that are under way there."""

REST_S, REST_FACTOR = 60.0, 2
RESTS_MAX = 3
"""A pilot rests for 1, 2 and 4 minutes, each time until the next failed start, and then is left: a
full disk or a server that is away is often over by then."""


@dataclass(frozen=True)
class Trouble:
    """What went wrong on one pilot since a job last came to run there."""

    failed: int = 0
    rests: int = 0
    until_s: float = 0.0

    def again(self, at_s: float) -> Trouble:
        """Return this after one more failed start.

        Those that were under way when a rest began tell nothing new.
        """
        if at_s < self.until_s:
            return self
        failed = self.failed + 1
        if failed < FAILED_MAX:
            return Trouble(failed, self.rests, self.until_s)
        rest_s = REST_S * REST_FACTOR**self.rests
        # after a rest, the next one is enough
        return Trouble(FAILED_MAX - 1, self.rests + 1, at_s + rest_s)


class PilotStartFailures:
    """Pilots (by name) on which starts failed since a job last came to run there."""

    def __init__(self) -> None:
        self._troubles: dict[str, Trouble] = {}

    def failed(self, pilot: str, at_s: float) -> None:
        """Take in that a job did not come to run on `pilot`."""
        self._troubles[pilot] = self._troubles.get(pilot, Trouble()).again(at_s)

    def ran(self, pilot: str) -> None:
        """Take in that a job came to run on `pilot`."""
        if self._troubles:
            self._troubles.pop(pilot, None)

    def resting(self, now_s: float) -> tuple[str, ...]:
        """Return the pilots that are to get no jobs for now."""
        return tuple(pilot for pilot, trouble in self._troubles.items() if now_s < trouble.until_s)

    def bad(self) -> dict[str, str]:
        """Return the pilots that are to get none any more, with the reason."""
        return {
            pilot: "starts of jobs fail there again and again"
            for pilot, trouble in self._troubles.items()
            if trouble.rests > RESTS_MAX
        }
