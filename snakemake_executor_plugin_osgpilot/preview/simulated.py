"""How long a workflow takes and what it costs, from simulated runs of it."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Sequence
from random import Random

from snakemake_executor_plugin_osgpilot.core.bounds import (
    Case,
    Expected,
    Task,
    bounds,
    earliest_s,
)
from snakemake_executor_plugin_osgpilot.core.plan import plan
from snakemake_executor_plugin_osgpilot.simulate.model import (
    BOOT,
    CSR,
    Outcome,
    Site,
    Step,
    Waits,
    Workload,
)
from snakemake_executor_plugin_osgpilot.simulate.world import run

RUNS_MIN, FOR_S = 3, 5.0
"""Runs with different luck: no fewer than three, else as many as this time allows."""

SHARES = (0.05, 0.95, 0.5, 0.27, 0.73, 0.16, 0.84, 0.39, 0.61)
"""What jobs take of their rule's `runtime` where none was ever seen, from one simulated run to the
next: it may be anything, and the extremes come first."""

TASKS_MAX, LINKS_MAX = 3_000, 200_000
"""Larger workflows would take too long to simulate; for them there are bounds."""

SIGMA = 0.3
"""How much runtimes of a rule differ: the standard deviation of their logarithm."""


def simulated(case: Case) -> Expected:
    """Return the range over some simulated runs, or bounds where these cannot be had.

    In a simulation every pilot waits in Slurm's queue by itself, for about as long as Slurm says
    now; jobs of rules that nobody has seen take a little of what they may, or nearly all, or
    something in between (`SHARES`), all alike. What does not run on pilots adds the time by which
    it makes the longest chain longer.
    """
    found = _on_pilots(case)
    if found is None:
        return bounds(case)
    tasks, parents = found
    apart_s = _path_s(case, elsewhere=True) - _path_s(case, elsewhere=False)
    until_s = time.monotonic() + FOR_S
    outcomes: list[Outcome] = []
    for seed in range(1, len(SHARES) + 1):
        if len(outcomes) >= RUNS_MIN and time.monotonic() > until_s:
            break
        outcomes.append(run(_workload(tasks, parents, seed), _site(case), plan, case.policy, seed))
    if any(outcome.jobs_left for outcome in outcomes):
        return bounds(case)
    took_s = [outcome.makespan_s + apart_s for outcome in outcomes]
    core_h = [outcome.charged_core_s / 3600 for outcome in outcomes]
    how = f"{len(outcomes)} simulated runs"
    return Expected(
        (min(took_s), max(took_s)), (min(core_h), max(core_h)), how, unknown=case.unknown
    )


def _on_pilots(case: Case) -> tuple[list[Task], list[list[int]]] | None:
    """Return the tasks on pilots, each with those before it on pilots; None if there are too many
    or none.
    """
    if len(case.tasks) > TASKS_MAX:
        return None
    numbers: dict[int, int] = {}
    through: dict[int, list[int]] = {}
    tasks: list[Task] = []
    parents: list[list[int]] = []
    links = 0
    for old, before in enumerate(case.parents):
        known: set[int] = set()
        for each in before:
            known.update([numbers[each]] if each in numbers else through[each])
        links += len(known)
        if links > LINKS_MAX:
            return None
        if case.tasks[old].on_pilot:
            numbers[old] = len(tasks)
            tasks.append(case.tasks[old])
            parents.append(sorted(known))
        else:
            through[old] = sorted(known)
    return (tasks, parents) if tasks else None


def _path_s(case: Case, *, elsewhere: bool) -> float:
    runtimes_s = [t.expected_s if t.on_pilot or elsewhere else 0.0 for t in case.tasks]
    return earliest_s(case.parents, runtimes_s)[1]


def _workload(tasks: Sequence[Task], parents: Sequence[Sequence[int]], seed: int) -> Workload:
    random = Random(f"{seed}/runtimes")
    kinds = dict.fromkeys((task.rule, task.job_class) for task in tasks)
    numbers = {kind: number for number, kind in enumerate(kinds)}
    return Workload(
        "plan",
        tuple(Step(rule, asks.shape, asks.runtime_s) for rule, asks in kinds),
        array("L", [numbers[task.rule, task.job_class] for task in tasks]),
        array("d", [_runtime_s(task, random, SHARES[seed - 1]) for task in tasks]),
        CSR.of(parents),
    )


def _runtime_s(task: Task, random: Random, share: float) -> float:
    usual_s = task.expected_s if task.seen else share * task.limit_s
    drawn_s = max(1.0, usual_s) * math.exp(random.gauss(0.0, SIGMA))
    return min(drawn_s, max(1.0, task.limit_s))


def _site(case: Case) -> Site:
    waits = Waits(max(0.0, case.lead_s - case.boot_s), cores_power=0.0, walltime_power=0.0)
    return Site("here", case.policy.offers, waits=waits, boot=BOOT._replace(median_s=case.boot_s))
