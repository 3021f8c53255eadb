"""Tune the options of each peer for each workload, by grid search on separate seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ..model.resources import JobClass
from ..scaling.planner.feasibility import fits
from .compare import Bench, Measured, Task
from .policies.registry import RULES, Choice, grid
from .scenarios import scenario

TASTES: Mapping[str, float] = {"fast": 0.1, "balanced": 0.5, "cheap": 0.9}
"""Each peer is tuned three times, for the least makespan^(1-e) · charged^e with these e: what
`cost_weight` says for ours. So the front has its best at both ends as well."""

TUNING_SEED = 1000
"""Seeds from here on are for tuning, smaller ones for what is published."""

FINALISTS = 6
"""The grid is run on one seed; this many of the best per preference are run on all tuning seeds."""


class Tuned(NamedTuple):
    """The best options of a policy for a scenario and a preference."""

    scenario: str
    taste: str
    choice: Choice


def tune(
    names: Iterable[str],
    rules: Iterable[str],
    seeds: int,
    bench: Bench,
    jobs: int | None = None,
) -> list[Tuned]:
    """Return the best choices of each of `rules` for each scenario."""
    wanted = [(name, rule) for name in names for rule in rules if rule in RULES]
    first = [
        Task(name, choice, TUNING_SEED, jobs)
        for name, rule in wanted
        for choice in candidates(name, rule)
    ]
    screened = _by_rule(bench.measured(first))
    last = [
        Task(name, choice, TUNING_SEED + number, jobs)
        for (name, _), runs in screened.items()
        for number in range(1, seeds)
        for choice in _finalists(runs)
    ]
    finals = _by_rule([*_chosen(screened), *bench.measured(last)])
    return [
        Tuned(name, taste, best(runs, cost_weight))
        for (name, _), runs in finals.items()
        for taste, cost_weight in TASTES.items()
    ]


def candidates(name: str, rule: str) -> Iterator[Choice]:
    """Return the grid of a rule for a scenario: of pilots, only shapes that can hold every job."""
    chosen = scenario(name)
    workload = chosen.workload(TUNING_SEED, 100)
    policy = chosen.policy(workload)
    classes = [JobClass(step.shape, step.hint_s) for step in workload.steps]
    for choice in grid(rule, policy.offers):
        knobs = dict(choice.knobs)
        shape = next(o for o in policy.offers if o.name == knobs["offer"])
        lives = all(c.runtime_s < knobs["walltime_s"] - policy.life_taken_s for c in classes)
        if lives and all(fits(c, shape, policy) for c in classes):
            yield choice


def cost(run: Measured, cost_weight: float) -> float:
    """Return the logarithm of makespan^(1-w) · charged^w, w the weight; infinite for jobs left."""
    if not run.finished:
        return math.inf
    return (1 - cost_weight) * math.log(run.makespan_s) + cost_weight * math.log(run.charged_core_s)


def best(runs: Iterable[Measured], cost_weight: float) -> Choice:
    """Return the choice with the least mean cost; of those that all leave jobs, the one that leaves
    the fewest.
    """
    by_choice: dict[Choice, list[Measured]] = {}
    for run in runs:
        by_choice.setdefault(run.task.choice, []).append(run)
    most = max(len(listed) for listed in by_choice.values())

    def rank(choice: Choice) -> tuple[bool, float, int, str]:
        listed = by_choice[choice]
        mean = sum(cost(run, cost_weight) for run in listed) / len(listed)
        return len(listed) < most, mean, sum(run.jobs_left for run in listed), str(choice)

    return min(by_choice, key=rank)


def _finalists(runs: list[Measured]) -> list[Choice]:
    """Return the best for each taste. Of choices that came to the same in everything, as where a
    knob does nothing, the first is enough.
    """
    distinct = {run._replace(task=run.task._replace(choice=Choice("")), plan_ms=0.0): run
                for run in reversed(runs)}  # fmt: skip
    chosen: dict[Choice, None] = {}
    for cost_weight in TASTES.values():
        ranked = sorted(
            distinct.values(), key=lambda r: (cost(r, cost_weight), r.jobs_left, str(r.task.choice))
        )
        chosen.update(dict.fromkeys(run.task.choice for run in ranked[:FINALISTS]))
    return list(chosen)


def _chosen(screened: Mapping[tuple[str, str], list[Measured]]) -> Iterator[Measured]:
    for runs in screened.values():
        finalists = set(_finalists(runs))
        yield from (run for run in runs if run.task.choice in finalists)


def _by_rule(runs: Iterable[Measured]) -> dict[tuple[str, str], list[Measured]]:
    grouped: dict[tuple[str, str], list[Measured]] = {}
    for run in runs:
        grouped.setdefault((run.task.scenario, run.task.choice.rule), []).append(run)
    return grouped
