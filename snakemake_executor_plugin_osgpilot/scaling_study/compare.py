"""Runs of many rules over many workloads and seeds, measured against what is possible."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

from ..errors import InputError
from ..simulator import world
from ..simulator.model import Outcome, Workload
from .lower_bounds import Limits, limits
from .policies.registry import Choice
from .scenarios import give, given, scenario

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Task(NamedTuple):
    """One run to be made: scenario and rule by name, seed, and the number of jobs if not usual."""

    scenario: str
    choice: Choice
    seed: int
    jobs: int | None = None


class Measured(NamedTuple):
    """The result of one run. `first_slot_s` is when the first pilot came up, infinite if none did.
    `needed` is how many pilots of the mean size would have done the work in that time, `flow_s` the
    mean time from when a job could run to its end.
    """

    task: Task
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
    flow_s: float = math.inf

    @property
    def finished(self) -> bool:
        return not self.jobs_left


class Case(NamedTuple):
    """Key of bounds: scenario, seed, and the number of jobs if not the default."""

    scenario: str
    seed: int
    jobs: int | None = None


def measure(task: Task) -> Measured:
    """Run one task."""
    chosen = scenario(task.scenario)
    workload = _workload(task.scenario, task.seed, task.jobs)
    policy = chosen.policy(workload)
    outcome = world.run(workload, chosen.site, task.choice.planner(policy), policy, task.seed)
    return measured(task, workload, outcome)


def bounds_of(case: Case) -> Limits:
    """Return what no policy can beat in a case."""
    chosen = scenario(case.scenario)
    workload = _workload(*case)
    try:
        return limits(workload, chosen.site, chosen.policy(workload), case.seed)
    except ValueError as error:
        raise InputError(f"workload {case.scenario}: {error}") from error


@lru_cache(maxsize=8)
def _workload(name: str, seed: int, jobs: int | None) -> Workload:
    """Return a workload; tasks come in an order in which few need be kept."""
    return scenario(name).workload(seed, jobs)


def measured(task: Task, workload: Workload, outcome: Outcome) -> Measured:
    """Return the figures of an outcome."""
    ready_s = [life.ready_s for life in outcome.pilots if life.ready_s is not None]
    first_slot_s = min(ready_s, default=math.inf)
    return Measured(
        task,
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
        outcome.flow_s / max(1, len(workload) - outcome.jobs_left),
    )


def _needed(outcome: Outcome, first_slot_s: float) -> float:
    """Return how many pilots of the mean size, all there from the first slot on, had sufficed."""
    if not outcome.pilots or not outcome.makespan_s > first_slot_s:
        return 0.0
    cores = sum(life.cores for life in outcome.pilots) / len(outcome.pilots)
    useful_core_s = outcome.charged.useful / 1000
    return max(1.0, useful_core_s / (cores * (outcome.makespan_s - first_slot_s)))


class Before(Protocol):
    """Knows runs that were made before."""

    def get(self, task: Task) -> Measured | None: ...

    def add(self, run: Measured) -> None: ...


class Bench:
    """Makes runs on several processes; those that were made before are taken from `kept`.

    `tell` is called with every run.
    """

    def __init__(
        self, workers: int, tell: Callable[[Measured], None] = lambda _: None,
        kept: Before | None = None,
    ) -> None:  # fmt: skip
        self._workers, self._tell, self._kept = workers, tell, kept

    def measured(self, tasks: Iterable[Task]) -> list[Measured]:
        """Run all tasks and return them in order."""
        listed = list(tasks)
        known = map(self._kept.get, listed) if self._kept else ()
        done = {run.task: run for run in known if run}
        for run in done.values():
            self._tell(run)
        for run in self._mapped(measure, [task for task in listed if task not in done]):
            done[run.task] = run
            if self._kept:
                self._kept.add(run)
            self._tell(run)
        return [done[task] for task in listed]

    def ratios(self, runs: Iterable[Measured]) -> list[Ratio]:
        """Return runs against the bounds of their workload and seed."""
        listed = list(runs)
        cases = [Case(run.task.scenario, run.task.seed, run.task.jobs) for run in listed]
        known = list(dict.fromkeys(cases))
        bounds = dict(zip(known, self._mapped(bounds_of, known), strict=True))
        return [ratio(run, bounds[case]) for run, case in zip(listed, cases, strict=True)]

    def _mapped(self, work: Callable[[_Item], _Result], items: list[_Item]) -> Iterator[_Result]:
        if self._workers <= 1 or len(items) <= 1:
            yield from map(work, items)
            return
        # any other way of starting a process would run the script that called us once more
        forked = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(self._workers, forked, give, (given(),)) as pool:
            chunk = max(1, min(16, len(items) // (4 * self._workers)))
            yield from pool.map(work, items, chunksize=chunk)


class Ratio(NamedTuple):
    """A run against the bounds; infinite where jobs were left."""

    run: Measured
    limits: Limits
    makespan: float
    makespan_any_order: float
    charged: float


def ratio(run: Measured, bounds: Limits) -> Ratio:
    """Return a run against `bounds`."""
    if not run.finished:
        return Ratio(run, bounds, math.inf, math.inf, math.inf)
    return Ratio(
        run,
        bounds,
        run.makespan_s / bounds.makespan_s,
        run.makespan_s / bounds.any_order_s,
        run.charged_core_s / bounds.charged_core_s,
    )
