"""The factories of TaskVine and Work Queue: workers for all tasks, few unproven ones at a time."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Look, Rule, Verdict, jobs_in, pilots_for


@dataclass
class TaskVineFactory(Rule):
    """`max(ceil(tasks / tasks_per_worker), max over resources of ceil(sum / worker's))` workers for
    all tasks, waiting and running, but at most `per_cycle` that have not connected yet.

    Source: cooperative-computing-lab/cctools f4e3b63a5697, batch_job/src/vine_factory.c:293-323,
    409-464 (need), 1211-1233 (`workers_per_cycle`, 5). Workers end after `idle_s` without a task.
    `tasks_per_worker` 0 stands for not given: as many as cores.
    """

    per_cycle: int = 5
    tasks_per_worker: int = 0
    workers_max: int = 100
    idle_s: float = 300.0

    def decide(self, look: Look) -> Verdict:
        demand = look.waiting(self.offer)
        for job_class, jobs in look.running.items():
            demand[job_class] = demand.get(job_class, 0) + jobs
        by_tasks = -(-jobs_in(demand) // (self.tasks_per_worker or self.offer.shape.cores))
        need = min(max(by_tasks, pilots_for(demand, self.offer)), self.workers_max)
        unproven = len(look.pending) + len(look.booting)
        count = min(need - len(look.live), self.per_cycle - unproven)
        return Verdict(self.ask(count), tuple(look.idle(self.idle_s)))
