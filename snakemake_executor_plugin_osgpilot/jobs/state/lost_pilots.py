"""Pilots that jobs avoid: those whose allocation is over, until HTCondor has noticed, and those
that are alive but leave.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

LOST_AFTER_S = 20.0
"""Time after the end of a pilot's allocation in which events of its jobs may still come."""

ASK_AFTER_S = 30.0
"""Time after which the pool may have heard again of a pilot from which a job was cut off."""

NEAR_S = 60.0
"""A job that loses its pilot within this time of the end of a pilot was presumably on it."""

AVOID_MAX = 20
"""Number of pilots, the last that vanished, which jobs avoid; older ones left the collector."""

LEAVING_MAX = 100
"""Number of leaving pilots that jobs avoid: the list is part of each job's ad."""


class CutOff(NamedTuple):
    """A job that lost touch with its pilot at `at_s`."""

    pilot: str
    job_id: str
    at_s: float


class LostPilots:
    """`vanished_last` are pilots that ended without signing off, which the collector may still
    have, `leaving` those that drain or ruin jobs, `resting` those on which starts failed lately,
    `over` all that have ended. `cut_off` are jobs (by key) that lost touch with a pilot that may be
    alive. `matched` has the pilots of jobs (by id) that are being started and do not run yet.

    `outdated` is True if jobs in the queue have an older list of pilots to avoid.
    """

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._disconnected: dict[str, float] = {}
        self._last_s = float("-inf")
        self.vanished_last: tuple[str, ...] = ()
        self.leaving: tuple[str, ...] = ()
        self.resting: tuple[str, ...] = ()
        self.cut_off: dict[str, CutOff] = {}
        self.matched: dict[str, str] = {}
        self.over: set[str] = set()
        self.outdated = False

    @property
    def avoid(self) -> tuple[str, ...]:
        """The pilots that jobs avoid."""
        return tuple(dict.fromkeys(self.vanished_last + self.leaving + self.resting))

    def rest(self, pilots: tuple[str, ...]) -> None:
        """Set the resting pilots."""
        if pilots != self.resting:
            self.resting = pilots
            self.outdated = True

    def keep_off(self, pilots: Iterable[str]) -> None:
        """Add pilots that are alive but leave; `ended` removes them."""
        known = self.over.union(self.vanished_last, self.leaving)
        more = tuple(pilot for pilot in pilots if pilot not in known)
        if more:
            self.leaving = (*self.leaving, *more)[-LEAVING_MAX:]
            self.outdated = True

    def ended(self, pilot: str, at_s: float) -> None:
        """Record that the allocation of `pilot` is over."""
        self._ended[pilot] = at_s
        self.over.add(pilot)
        self.leaving = tuple(other for other in self.leaving if other != pilot)
        self._last_s = max(self._last_s, at_s)

    def vanished(self, pilot: str) -> None:
        """Record that `pilot` ended without signing off from the pool."""
        if pilot not in self.vanished_last:
            self.vanished_last = (*self.vanished_last, pilot)[-AVOID_MAX:]
            self.outdated = True

    def take_due(self, now_s: float) -> dict[str, float]:
        """Pop the pilots for which no more events are expected, with the time they ended."""
        due = {p: at_s for p, at_s in self._ended.items() if now_s - at_s >= LOST_AFTER_S}
        for pilot in due:
            del self._ended[pilot]
        return due

    def take_matched(self, pilots: Container[str]) -> list[tuple[str, str]]:
        """Pop the jobs (ids) that were being started on these pilots, with the pilot."""
        gone = [(job_id, pilot) for job_id, pilot in self.matched.items() if pilot in pilots]
        for job_id, _ in gone:
            del self.matched[job_id]
        return gone

    def set_disconnected(self, job_id: str, at_s: float | None) -> None:
        """Record when a job lost touch with an unknown pilot; None: it is connected."""
        if at_s is not None:
            self._disconnected[job_id] = at_s
        elif self._disconnected:
            self._disconnected.pop(job_id, None)

    def take_starterless(self, occupied: Mapping[str, tuple[float, frozenset[str]]]) -> list[str]:
        """Pop the keys of jobs cut off from a pilot that ended, or whose ad has since reached the
        pool without them.

        HTCondor's shadow would try to reconnect until the job's lease ends.
        """
        gone = []
        for key, (pilot, job_id, at_s) in self.cut_off.items():
            heard_s, there = occupied.get(pilot, (0.0, frozenset()))
            without = heard_s > at_s + LOST_AFTER_S and job_id not in there
            if pilot in self.over or without:
                gone.append(key)
        for key in gone:
            del self.cut_off[key]
        return gone

    def take_disconnected(self, now_s: float) -> list[str]:
        """Pop the ids of jobs presumably lost with a pilot."""
        gone = [
            job_id
            for job_id, at_s in self._disconnected.items()
            if now_s - max(at_s, self._last_s) >= LOST_AFTER_S and self._last_s >= at_s - NEAR_S
        ]
        for job_id in gone:
            del self._disconnected[job_id]
        return gone
