"""Pilots that jobs are to keep off: whose allocation is over, for as long as HTCondor has not
noticed, and those that are there but leave."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

LOST_AFTER_S = 20.0
"""How long after the end of a pilot's allocation the event log may still tell of its jobs."""

ASK_AFTER_S = 30.0
"""After so long the pool may have heard of a pilot again from which a job was cut off."""

NEAR_S = 60.0
"""A job that loses its pilot so soon before or after the end of one was on it, for all we know."""

AVOID_MAX = 20
"""Jobs avoid so many of the pilots that vanished last; older ones are offered no more."""

LEAVING_MAX = 100
"""And so many of those that leave: the list is part of each job's ad."""


class CutOff(NamedTuple):
    """A job that lost touch with its pilot at `at_s`."""

    pilot: str
    job_id: str
    at_s: float


class LostPilots:
    """`vanished_last` are pilots that ended without a word to the pool, which may still offer them,
    `leaving` those that drain or ruin jobs, `resting` those on which no job came to run lately,
    `over` all that have ended. `cut_off` are jobs (by key) that lost touch with a pilot that may be
    there. `matched` has the pilots of jobs (by id) that are being started and do not run yet.

    `untold` says that jobs in the queue do not know the latest of them.
    """

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._adrift: dict[str, float] = {}
        self._last_s = float("-inf")
        self.vanished_last: tuple[str, ...] = ()
        self.leaving: tuple[str, ...] = ()
        self.resting: tuple[str, ...] = ()
        self.cut_off: dict[str, CutOff] = {}
        self.matched: dict[str, str] = {}
        self.over: set[str] = set()
        self.untold = False

    @property
    def avoid(self) -> tuple[str, ...]:
        """The pilots that jobs are to keep off."""
        return tuple(dict.fromkeys(self.vanished_last + self.leaving + self.resting))

    def rest(self, pilots: tuple[str, ...]) -> None:
        """Take in which pilots rest now."""
        if pilots != self.resting:
            self.resting = pilots
            self.untold = True

    def keep_off(self, pilots: Iterable[str]) -> None:
        """Take in more pilots that are there and leave; their end is told (`ended`)."""
        known = self.over.union(self.vanished_last, self.leaving)
        more = tuple(pilot for pilot in pilots if pilot not in known)
        if more:
            self.leaving = (*self.leaving, *more)[-LEAVING_MAX:]
            self.untold = True

    def ended(self, pilot: str, at_s: float) -> None:
        """Take in that the allocation of `pilot` is over."""
        self._ended[pilot] = at_s
        self.over.add(pilot)
        self.leaving = tuple(other for other in self.leaving if other != pilot)
        self._last_s = max(self._last_s, at_s)

    def vanished(self, pilot: str) -> None:
        """Take in that `pilot` ended without a word to the pool."""
        if pilot not in self.vanished_last:
            self.vanished_last = (*self.vanished_last, pilot)[-AVOID_MAX:]
            self.untold = True

    def take_due(self, now_s: float) -> dict[str, float]:
        """Return the pilots of which the event log tells no more, and when they ended; once."""
        due = {p: at_s for p, at_s in self._ended.items() if now_s - at_s >= LOST_AFTER_S}
        for pilot in due:
            del self._ended[pilot]
        return due

    def take_matched(self, pilots: Container[str]) -> list[tuple[str, str]]:
        """Return the ids of jobs that were being started on these pilots, and which; once."""
        gone = [(job_id, pilot) for job_id, pilot in self.matched.items() if pilot in pilots]
        for job_id, _ in gone:
            del self.matched[job_id]
        return gone

    def drifts(self, job_id: str, at_s: float | None) -> None:
        """Take in when a job lost touch with a pilot that was not told yet; None: it did not."""
        if at_s is not None:
            self._adrift[job_id] = at_s
        elif self._adrift:
            self._adrift.pop(job_id, None)

    def take_starterless(self, occupied: Mapping[str, tuple[float, frozenset[str]]]) -> list[str]:
        """Return the keys of jobs cut off from a pilot that ended, or was heard of since without
        them; once.

        HTCondor's shadow would go on looking for them until the job's lease ends.
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

    def take_adrift(self, now_s: float) -> list[str]:
        """Return the ids of jobs that went down with a pilot, by all appearances; once."""
        gone = [
            job_id
            for job_id, at_s in self._adrift.items()
            if now_s - max(at_s, self._last_s) >= LOST_AFTER_S and self._last_s >= at_s - NEAR_S
        ]
        for job_id in gone:
            del self._adrift[job_id]
        return gone
