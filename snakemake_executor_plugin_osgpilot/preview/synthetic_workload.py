"""Synthetic workloads of a workflow for which only estimates are known."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ..scaling.planner.bounds import Task
from ..simulator.model import CSR, Step, Workload

SIGMA = 0.3
"""Spread of runtimes of a rule: the standard deviation of their logarithm."""

SHARES = (0.05, 0.95, 0.5, 0.27, 0.73, 0.16, 0.84, 0.39, 0.61)
"""What jobs take of their rule's `runtime` where none was ever seen, from one simulated run to the
next: it may be anything, and the extremes come first."""


@dataclass(frozen=True)
class Drawing:
    """Makes workloads of tasks that all run on pilots. `parents` are numbers of earlier tasks."""

    tasks: Sequence[Task]
    parents: Sequence[Sequence[int]]

    def __call__(self, seed: int, jobs: int | None = None) -> Workload:
        """Return the workload of a seed, which draws the runtimes; every task is in it."""
        random, share = Random(f"{seed}/runtimes"), SHARES[(seed - 1) % len(SHARES)]
        kinds = dict.fromkeys((task.rule, task.job_class) for task in self.tasks)
        numbers = {kind: number for number, kind in enumerate(kinds)}
        return Workload(
            "plan",
            tuple(Step(rule, asks.shape, asks.runtime_s) for rule, asks in kinds),
            array("L", [numbers[task.rule, task.job_class] for task in self.tasks]),
            array("d", [_runtime_s(task, random, share) for task in self.tasks]),
            CSR.of(self.parents),
        )


def on_pilots(
    tasks: Sequence[Task], parents: Sequence[Sequence[int]], links_max: int
) -> Drawing | None:
    """Return the tasks that run on pilots, each with its predecessors on pilots.

    None if there are none, or more than `links_max` links between them.
    """
    numbers: dict[int, int] = {}
    through: dict[int, list[int]] = {}
    chosen: list[Task] = []
    before: list[list[int]] = []
    links = 0
    for old, needs in enumerate(parents):
        known: set[int] = set()
        for each in needs:
            known.update([numbers[each]] if each in numbers else through[each])
        links += len(known)
        if links > links_max:
            return None
        if tasks[old].on_pilot:
            numbers[old] = len(chosen)
            chosen.append(tasks[old])
            before.append(sorted(known))
        else:
            through[old] = sorted(known)
    return Drawing(chosen, before) if chosen else None


def _runtime_s(task: Task, random: Random, share: float) -> float:
    usual_s = task.expected_s if task.seen else share * task.limit_s
    drawn_s = max(1.0, usual_s) * math.exp(random.gauss(0.0, SIGMA))
    return min(drawn_s, max(1.0, task.limit_s))
