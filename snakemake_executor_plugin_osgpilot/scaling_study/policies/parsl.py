"""Parsl's strategies `simple` and `htex_auto_scale`: slots against tasks."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...model.resources import Pilot
from .base import Look, Rule, Verdict, jobs_in


@dataclass
class ParslSimple(Rule):
    """`ceil((parallelism · tasks - slots) / workers per block)` blocks more while there are fewer
    slots for each task than `parallelism`; all go once there were no tasks for `max_idletime`.

    Source: Parsl/parsl b8b474c7a6ee, jobs/strategy.py:219-281. It counts tasks, not cores: a worker
    has `cores_per_worker` of them.
    """

    parallelism: float = 1.0
    cores_per_worker: int = 1
    max_idletime_s: float = 120.0

    @property
    def workers(self) -> int:
        """Workers of a block."""
        return max(1, self.offer.shape.cores // self.cores_per_worker)

    def decide(self, look: Look) -> Verdict:
        tasks = jobs_in(look.waiting(self.offer)) + jobs_in(look.running)
        slots = len(look.live) * self.workers
        if not tasks:
            return Verdict(release=tuple(look.idle(self.max_idletime_s)))
        if not slots:
            return Verdict(self.ask(1))
        if slots / tasks < self.parallelism:
            return Verdict(self.ask(math.ceil((tasks * self.parallelism - slots) / self.workers)))
        return Verdict(release=self.surplus(look, slots, tasks))

    def surplus(self, look: Look, slots: int, tasks: int) -> tuple[Pilot, ...]:
        """Return the blocks to end while there are tasks: none."""
        return ()


@dataclass
class ParslHtex(ParslSimple):
    """The same, and blocks that are more than `tasks · parallelism` needs end while others work:
    those that never connected at once, idle ones after `max_idletime`.

    Source: the same, jobs/strategy.py:297-309 and executors/high_throughput/executor.py:832-869;
    test_regression_3696_oscillation.py for the rounding.
    """

    def surplus(self, look: Look, slots: int, tasks: int) -> tuple[Pilot, ...]:
        if slots <= tasks:
            return ()
        # whole blocks only: rounded up, a new one would be removed at once, again and again
        count = math.floor((slots - tasks * self.parallelism) / self.workers)
        never_connected = (*look.pending, *look.booting)
        candidates = (*never_connected, *look.idle(self.max_idletime_s))
        return candidates[: min(count, len(look.live))]
