"""Jobs that need much before them done: what they wait for besides their slowest parent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..scaling.planner.bounds import earliest_s
from ..simulator.model import Workload

JOBS_MAX = 5_000
"""In larger workloads nothing is looked for: it takes memory by the square of the jobs."""

GATES_MAX = 64
"""Nor in classes with more sets of jobs that have the same parents than this."""


class _Gate:
    """Jobs of one class with the same parents. `before` and `jobs` are sets of jobs as bits."""

    __slots__ = ("before", "jobs", "shortest_s", "taken_s", "work_s")

    def __init__(self, before: int, taken_s: float) -> None:
        self.before, self.taken_s = before, taken_s
        self.jobs, self.shortest_s, self.work_s = 0, math.inf, -1.0

    def apart(self, other: _Gate) -> bool:
        """Return True if all jobs of one have ended before any of the other can start."""
        return not self.jobs & ~other.before or not other.jobs & ~self.before


class Gates:
    """Finds the gates of a workload and holds back the jobs behind them.

    `class_of` is the class of a job, `done_s` when some jobs can be done at the earliest.
    """

    def __init__(
        self, workload: Workload, durations_s: Sequence[float], class_of: Callable[[int], int],
        interval_s: float, done_s: Callable[[list[int]], float],
    ) -> None:  # fmt: skip
        self._workload, self._durations_s = workload, durations_s
        self._interval_s, self._done_s = interval_s, done_s
        self._gate_of: dict[int, _Gate] = {}
        self._others: dict[_Gate, list[_Gate]] = {}
        if workload.parents.ids and len(workload) <= JOBS_MAX:
            self._find(class_of)

    def held_s(self, job: int, ready_s: float) -> float:
        """Return when a job that is ready at `ready_s` by its parents is taken at the earliest.

        Off the rounds of the negotiator it can only take over the slot of a job of its class that
        ends: one of its own gate, which was ready no earlier, or of another that is not apart.
        """
        gate = self._gate_of.get(job)
        if gate is None or gate not in self._others:
            return ready_s
        if gate.work_s < 0:
            gate.work_s = self._done_s(_members(gate.before))
        ready_s = max(ready_s, gate.work_s)
        over_s = [other.taken_s + other.shortest_s for other in self._others[gate]]
        if gate.jobs & (gate.jobs - 1):
            over_s.append(ready_s + gate.shortest_s)
        # sums of times are exact to much less than a millisecond
        round_s = self._interval_s * math.ceil((ready_s - 0.0001) / self._interval_s)
        gate.taken_s = max(ready_s, min([*over_s, round_s]))
        return gate.taken_s

    def _find(self, class_of: Callable[[int], int]) -> None:
        jobs = range(len(self._workload))
        alone_s, _ = earliest_s(
            self._workload.parents, self._durations_s, self._workload.arrivals_s
        )
        gates: dict[tuple[int, tuple[int, ...]], _Gate] = {}
        before: dict[tuple[int, ...], int] = {(): 0}
        by_class: dict[int, list[_Gate]] = {}
        for job in jobs:
            parents = tuple(self._workload.parents[job])
            if parents not in before:
                before[parents] = self._before(parents)
            key = (class_of(job), parents)
            if key not in gates:
                gates[key] = _Gate(before[parents], alone_s[job])
                by_class.setdefault(key[0], []).append(gates[key])
            gate = self._gate_of[job] = gates[key]
            gate.jobs |= 1 << job
            gate.shortest_s = min(gate.shortest_s, self._durations_s[job])
        for listed in by_class.values():
            if len(listed) <= GATES_MAX:
                for gate in listed:
                    self._others[gate] = [g for g in listed if g is not gate and not g.apart(gate)]

    def _before(self, parents: tuple[int, ...]) -> int:
        bits = 0
        for parent in parents:
            bits |= 1 << parent | self._gate_of[parent].before
        return bits


def _members(bits: int) -> list[int]:
    return [job for job, bit in enumerate(reversed(bin(bits)[2:])) if bit == "1"]
