"""Runs of many rules over many workloads and seeds, measured against what is possible."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import NamedTuple

from snakemake_executor_plugin_osgpilot.simulate.bounds import Limits, limits
from snakemake_executor_plugin_osgpilot.simulate.model import Outcome, Workload
from snakemake_executor_plugin_osgpilot.simulate.peers.registry import Choice
from snakemake_executor_plugin_osgpilot.simulate.scenarios import scenario


class Task(NamedTuple):
    """One run to be made: scenario and rule by name, seed, and the number of jobs if not usual."""

    scenario: str
    choice: Choice
    seed: int
    jobs: int | None = None


class Measured(NamedTuple):
    """What one run came to. `first_slot_s` is when the first pilot came up, infinite if none did.
    `needed` is how many pilots of the mean size would have done the work in that time."""

    task: Task
    limits: Limits
    jobs: int
    jobs_left: int
    makespan_s: float
    charged_core_s: float
    first_slot_s: float
    first_job_s: float
    launched: int
    needed: float
    never_used: int
    failed_starts: int
    plan_ms: float
    stopped: str

    @property
    def finished(self) -> bool:
        return not self.jobs_left


def measure(task: Task) -> Measured:
    """Run one task."""
    from snakemake_executor_plugin_osgpilot.simulate.world import run

    chosen = scenario(task.scenario)
    workload, bounds = _prepared(task.scenario, task.seed, task.jobs)
    policy = chosen.policy(workload)
    outcome = run(workload, chosen.site, task.choice.planner(policy), policy, task.seed)
    return measured(task, workload, bounds, outcome)


@lru_cache(maxsize=8)
def _prepared(name: str, seed: int, jobs: int | None) -> tuple[Workload, Limits]:
    """Return a workload and its bounds; tasks come in an order in which few need be kept."""
    chosen = scenario(name)
    workload = chosen.workload(seed, jobs)
    return workload, limits(workload, chosen.site, chosen.policy(workload), seed)


def measured(task: Task, workload: Workload, bounds: Limits, outcome: Outcome) -> Measured:
    """Return the figures of an outcome."""
    ready_s = [life.ready_s for life in outcome.pilots if life.ready_s is not None]
    first_slot_s = min(ready_s, default=math.inf)
    return Measured(
        task,
        bounds,
        len(workload),
        outcome.jobs_left,
        outcome.makespan_s,
        outcome.charged_core_s,
        first_slot_s,
        math.inf if outcome.first_job_s is None else outcome.first_job_s,
        outcome.launched,
        _needed(outcome, first_slot_s),
        outcome.never_used,
        outcome.failed_starts,
        1000 * sum(outcome.plan_s) / max(1, len(outcome.plan_s)),
        outcome.stopped,
    )


def _needed(outcome: Outcome, first_slot_s: float) -> float:
    """Return how many pilots of the mean size, all there from the first slot on, had sufficed."""
    if not outcome.pilots or not outcome.makespan_s > first_slot_s:
        return 0.0
    cores = sum(life.cores for life in outcome.pilots) / len(outcome.pilots)
    useful_core_s = outcome.charged.useful / 1000
    return max(1.0, useful_core_s / (cores * (outcome.makespan_s - first_slot_s)))


def measure_all(
    tasks: Iterable[Task], workers: int, tell: Callable[[Measured], None] = lambda _: None
) -> list[Measured]:
    """Run all tasks, on so many processes, and return them in order; `tell` hears of each."""
    listed = list(tasks)
    done: list[Measured] = []
    for result in _results(listed, workers):
        done.append(result)
        tell(result)
    return done


def _results(tasks: list[Task], workers: int) -> Iterator[Measured]:
    if workers <= 1 or len(tasks) == 1:
        yield from map(measure, tasks)
        return
    with ProcessPoolExecutor(workers) as pool:
        chunk = max(1, min(16, len(tasks) // (4 * workers)))
        yield from pool.map(measure, tasks, chunksize=chunk)


class Ratio(NamedTuple):
    """A run against the bounds; infinite where jobs were left."""

    run: Measured
    makespan: float
    makespan_any_order: float
    charged: float


def ratios(runs: Iterable[Measured]) -> list[Ratio]:
    """Return runs against the bounds of their workload and seed."""
    return [_ratio(run) for run in runs]


def _ratio(run: Measured) -> Ratio:
    if not run.finished:
        return Ratio(run, math.inf, math.inf, math.inf)
    return Ratio(
        run,
        run.makespan_s / run.limits.makespan_s,
        run.makespan_s / run.limits.any_order_s,
        run.charged_core_s / run.limits.charged_core_s,
    )
