"""Jobs that wait for a single job in execution, so that it can be told when they will be ready."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

GRAIN_MS = 5000
"""Jobs that were started within so many milliseconds of each other are counted together. What is
made of it is rounded to minutes (`model.upcoming`)."""

Group = tuple[int, int]
"""The class of a job, and the time of its start in grains."""


class Followers:
    """Counts followers, by class, of the jobs in execution; grows with groups, not with jobs."""

    def __init__(self) -> None:
        self._group_of: dict[int, Group] = {}
        self._counts: defaultdict[Group, Counter[int]] = defaultdict(Counter)

    def started(self, job: int, number: int, executes_ms: int, followers: list[int]) -> None:
        """Note a job of class `number` in execution; `followers` are the classes of its own."""
        group = self._group_of[job] = number, executes_ms // GRAIN_MS
        for follower in followers:
            self._counts[group][follower] += 1

    def joined(self, job: int, follower: int) -> None:
        """Note that a job of class `follower` waits for `job` alone now."""
        if group := self._group_of.get(job):
            self._counts[group][follower] += 1

    def stopped(self, job: int, followers: list[int]) -> None:
        """Note a job that executes no more; `followers` are the classes of its own."""
        group = self._group_of.pop(job)
        counts = self._counts[group]
        for follower in followers:
            counts[follower] -= 1
            if not counts[follower]:
                del counts[follower]
        if not counts:
            del self._counts[group]

    def groups(self) -> Iterator[tuple[int, int, Mapping[int, int]]]:
        """Return class, start in milliseconds and numbers of followers by class, by group."""
        for (number, grain), counts in self._counts.items():
            yield number, grain * GRAIN_MS + GRAIN_MS // 2, counts
