"""Cores over time: requested, supplied, used. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

from .replay import ReplayedRun

POINTS = 360


@dataclass
class Series:
    """A sum of weighted intervals, as means over equal parts of a span of time."""

    begun_s: float
    step_s: float
    _whole: list[float] = field(default_factory=lambda: [0.0] * (POINTS + 1))
    _part: list[float] = field(default_factory=lambda: [0.0] * POINTS)

    def add(self, from_s: float, until_s: float, weight: float) -> None:
        """Add an interval, clipped to the span."""
        first, last = (from_s - self.begun_s) / self.step_s, (until_s - self.begun_s) / self.step_s
        # plain comparisons: a run has tens of thousands of intervals
        first = first if first > 0 else 0.0
        last = last if last < POINTS else POINTS
        if last <= first:
            return
        head, tail = int(first), int(last)
        if head == tail:
            self._part[head] += weight * (last - first)
            return
        self._part[head] += weight * (head + 1 - first)
        if tail < POINTS:
            self._part[tail] += weight * (last - tail)
        self._whole[head + 1] += weight
        self._whole[tail] -= weight

    @property
    def values(self) -> list[float]:
        """The mean of each part."""
        sums = accumulate(self._whole)
        return [max(0.0, part + whole) for part, whole in zip(self._part, sums, strict=False)]


@dataclass(frozen=True)
class Balance:
    """Cores over the span of a run.

    `busy` with jobs, `idle` in pilots that serve, `coming` in pilots that wait or boot, `waiting`
    requested by jobs that wait.
    """

    busy: list[float]
    idle: list[float]
    coming: list[float]
    waiting: list[float]

    @property
    def most(self) -> float:
        """The highest of all values."""
        there = (sum(each) for each in zip(self.busy, self.idle, self.coming, strict=True))
        wanted = (sum(each) for each in zip(self.busy, self.waiting, strict=True))
        return max([*there, *wanted, 1.0])


def balance(replayed: ReplayedRun, begun_s: float, ended_s: float) -> Balance:
    """Return demand and supply of a run between two times."""
    step_s = max(ended_s - begun_s, 1.0) / POINTS
    busy, serving, coming, waiting = (Series(begun_s, step_s) for _ in range(4))
    for job in replayed.jobs.values():
        cores = job.job_class.shape.cores
        for from_s, until_s in job.waits_s(ended_s):
            waiting.add(from_s, until_s, cores)
        for attempt in job.attempts:
            busy.add(attempt.started_s, attempt.until_s(ended_s), cores)
    for pilot in replayed.pilots.values():
        serves_s = pilot.serves_s(ended_s)
        coming.add(pilot.asked_s, serves_s, pilot.shape.cores)
        serving.add(serves_s, pilot.until_s(ended_s), pilot.shape.cores)
    idle = [max(0.0, s - b) for s, b in zip(serving.values, busy.values, strict=True)]
    return Balance(busy.values, idle, coming.values, waiting.values)
