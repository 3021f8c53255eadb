"""Cores over time, as steps up: how much can be done until when."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise


class Supply:
    """Cores from each of `times_s` on, never fewer than before."""

    def __init__(self, times_s: list[float], cores: list[float]) -> None:
        self._times_s, self._cores = times_s, cores
        self._done = [0.0]
        for (from_s, until_s), rate in zip(pairwise(times_s), cores, strict=False):
            self._done.append(self._done[-1] + rate * (until_s - from_s))

    @classmethod
    def of(cls, steps: Iterable[tuple[float, float]], most: float) -> Supply:
        """Return the sum of `steps`, a time and how many cores come then, no more than `most`."""
        times_s, cores, sum_ = [0.0], [0.0], 0.0
        for at_s, more in sorted(steps):
            sum_ = min(most, sum_ + more)
            if at_s > times_s[-1]:
                times_s.append(at_s)
                cores.append(sum_)
            else:
                cores[-1] = sum_
        return cls(times_s, cores)

    def steps(self) -> Iterator[tuple[float, float]]:
        """Return when how many cores come."""
        before = 0.0
        for at_s, cores in zip(self._times_s, self._cores, strict=True):
            if cores > before:
                yield at_s, cores - before
            before = cores

    def later(self, when: Callable[[float], float]) -> Supply:
        """Return it with every step at the time that `when` makes of its own."""
        return Supply.of(((when(at_s), more) for at_s, more in self.steps()), self._cores[-1])

    def lanes(self, for_core: float) -> Supply:
        """Return how many jobs it has room for, if a core has room for so many."""
        return Supply(self._times_s, [float(int(cores * for_core + 1e-9)) for cores in self._cores])

    def under(self, other: Supply) -> Supply:
        """Return the lesser of both at each time."""
        times_s = sorted({*self._times_s, *other._times_s})
        return Supply(times_s, [min(self.at(t), other.at(t)) for t in times_s])

    def at(self, at_s: float) -> float:
        """Return the cores at a time."""
        return self._cores[bisect_right(self._times_s, at_s) - 1]

    def done(self, until_s: float) -> float:
        """Return the core-seconds until then."""
        place = bisect_right(self._times_s, until_s) - 1
        return self._done[place] + self._cores[place] * (until_s - self._times_s[place])

    def when(self, core_s: float) -> float:
        """Return when so many core-seconds can be done."""
        if core_s <= 0:
            return 0.0
        place = bisect_left(self._done, core_s) - 1
        if not self._cores[place]:
            return math.inf
        return self._times_s[place] + (core_s - self._done[place]) / self._cores[place]
