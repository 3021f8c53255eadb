"""Split the charged core-hours by their use. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate

from .entities import Attempt, Pilot
from .replay import ReplayedRun

Span = tuple[float, float]


@dataclass
class Waste:
    """Charged core-seconds by use.

    `useful`: jobs that succeeded or still run. `failed`: jobs that failed or were interrupted.
    `boot`: before the pilot was ready. Cores without a job: `fragmentation` while jobs waited and
    others ran beside them, `idle` while none waited or the pilot was empty, `tail` after the last
    job had started.
    """

    useful: float = 0.0
    failed: float = 0.0
    boot: float = 0.0
    fragmentation: float = 0.0
    idle: float = 0.0
    tail: float = 0.0

    @property
    def charged(self) -> float:
        """The sum."""
        return float(sum(asdict(self).values()))


def waste(replayed: ReplayedRun, now_s: float) -> Waste:
    """Return the use of the core-seconds of all pilots."""
    waits = [span for job in replayed.jobs.values() for span in job.waits_s(now_s)]
    waiting = _Union(waits)
    by_pilot: defaultdict[str, list[Attempt]] = defaultdict(list)
    for job in replayed.jobs.values():
        for attempt in job.attempts:
            by_pilot[attempt.pilot].append(attempt)
    total = Waste()
    for pilot in replayed.pilots.values():
        _add(total, pilot, by_pilot[pilot.name], waiting, now_s)
    return total


def _add(
    total: Waste, pilot: Pilot, attempts: list[Attempt], waiting: _Union, now_s: float
) -> None:
    if pilot.started_s is None:
        return
    cores, end_s = pilot.charged_cores, pilot.until_s(now_s)
    first_s = min((a.started_s for a in attempts), default=end_s)
    serves_s = max(pilot.started_s, min(pilot.serves_s(now_s), first_s))
    total.boot += cores * max(0.0, serves_s - pilot.started_s)
    for attempt in attempts:
        wasted = attempt.how in ("failed", "interrupted", "cancelled")
        if wasted:
            total.failed += attempt.core_s(now_s)
        else:
            total.useful += attempt.core_s(now_s)
    for from_s, until_s, busy in _profile(attempts, serves_s, end_s, now_s):
        free = max(0, cores - busy)
        tail_s = max(0.0, until_s - max(from_s, waiting.end_s))
        wanted_s = waiting.overlap_s(from_s, until_s) if busy else 0.0
        total.tail += free * tail_s
        total.fragmentation += free * wanted_s
        total.idle += free * max(0.0, until_s - from_s - tail_s - wanted_s)


def _profile(
    attempts: Iterable[Attempt], from_s: float, until_s: float, now_s: float
) -> Iterable[tuple[float, float, int]]:
    """Return intervals with the number of cores that were busy throughout."""
    edges: defaultdict[float, int] = defaultdict(int)
    for attempt in attempts:
        cores = attempt.job.job_class.shape.cores
        edges[max(attempt.started_s, from_s)] += cores
        edges[min(max(attempt.until_s(now_s), from_s), until_s)] -= cores
    at_s, busy = from_s, 0
    for edge_s in sorted(edges):
        if edge_s > at_s:
            yield at_s, min(edge_s, until_s), busy
            at_s = edge_s
        busy += edges[edge_s]
    if until_s > at_s:
        yield at_s, until_s, busy


class _Union:
    """A union of time intervals."""

    def __init__(self, spans: Iterable[Span]) -> None:
        merged: list[list[float]] = []
        for from_s, until_s in sorted(spans):
            if merged and from_s <= merged[-1][1]:
                merged[-1][1] = max(merged[-1][1], until_s)
            else:
                merged.append([from_s, until_s])
        self._starts = [from_s for from_s, _ in merged]
        self._ends = [until_s for _, until_s in merged]
        lengths: Sequence[float] = [end - start for start, end in merged]
        self._before_s = [0.0, *accumulate(lengths)]
        self.end_s = self._ends[-1] if merged else 0.0

    def overlap_s(self, from_s: float, until_s: float) -> float:
        """Return its length between two times."""
        return self._until(until_s) - self._until(from_s)

    def _until(self, at_s: float) -> float:
        index = bisect_right(self._starts, at_s)
        if not index:
            return 0.0
        return (
            self._before_s[index - 1] + min(at_s, self._ends[index - 1]) - self._starts[index - 1]
        )
