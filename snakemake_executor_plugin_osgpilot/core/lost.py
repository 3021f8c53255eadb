"""Pilots whose allocation is over, for as long as HTCondor has not noticed."""

from __future__ import annotations

LOST_AFTER_S = 20.0
"""How long after the end of a pilot's allocation the event log may still tell of its jobs."""

AVOID_MAX = 20
"""Jobs avoid so many of the pilots that vanished last; older ones are offered no more."""


class LostPilots:
    """`avoid` are pilots that vanished without a word to the pool, which may still offer them.

    `untold` says that jobs in the queue do not know the latest of them.
    """

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self.avoid: tuple[str, ...] = ()
        self.untold = False

    def ended(self, pilot: str, at_s: float) -> None:
        """Take in that the allocation of `pilot` is over."""
        self._ended[pilot] = at_s

    def vanished(self, pilot: str) -> None:
        """Take in that `pilot` ended without a word to the pool."""
        if pilot not in self.avoid:
            self.avoid = (*self.avoid, pilot)[-AVOID_MAX:]
            self.untold = True

    def take_due(self, now_s: float) -> dict[str, float]:
        """Return the pilots of which the event log tells no more, and when they ended; once."""
        due = {p: at_s for p, at_s in self._ended.items() if now_s - at_s >= LOST_AFTER_S}
        for pilot in due:
            del self._ended[pilot]
        return due
