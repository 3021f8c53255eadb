"""Bounds of a workflow's time and core-hours, independent of the order of its jobs.

Critical path and area bound of list scheduling (Graham 1969): on m cores that are never idle while
a job could run, the work takes at least max(path, work/m) and at most path + work/m.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from ...model.resources import JobClass, Policy

LEAST_SHARE = 0.05
"""Minimum runtime of a job of a rule never seen, as a share of the declared limit."""


class Task(NamedTuple):
    """An upcoming job with its expected and its maximum runtime.

    `on_pilot` is False if it runs elsewhere: then it counts for the path only. `seen` is False if
    no job of the rule has ever ended: then the expectation is a guess.
    """

    rule: str
    job_class: JobClass
    expected_s: float
    limit_s: float
    on_pilot: bool = True
    seen: bool = True

    @property
    def least_s(self) -> float:
        """The minimum runtime."""
        return self.expected_s if self.seen else LEAST_SHARE * self.limit_s


@dataclass(frozen=True)
class Case:
    """A workflow to be run. `parents` are the indices of earlier tasks, for each task.

    `cores` is the size of the first pilots, `cores_max` the maximum at a time, `wait_s` and
    `boot_s` are the queue wait and boot time of the first pilot, `match_s` is the time from there
    to a job, None if unknown. `policy` has the limits.
    """

    tasks: Sequence[Task]
    parents: Sequence[Sequence[int]]
    cores: int
    cores_max: int
    wait_s: float
    boot_s: float
    policy: Policy
    match_s: float | None = None

    @property
    def lead_s(self) -> float:
        """The time until a job runs on the first pilot."""
        return self.wait_s + self.boot_s + (self.match_s or 0.0)

    @property
    def unknown(self) -> tuple[str, ...]:
        """The rules with unknown runtime."""
        return tuple(sorted({task.rule for task in self.tasks if not task.seen}))


@dataclass(frozen=True)
class Expected:
    """Time from the first submission to the last end in seconds, and core-hours, each as a range.

    `how` names the method, `unknown` are rules of which no job has ever ended.
    """

    makespan_s: tuple[float, float]
    core_h: tuple[float, float]
    how: str
    unknown: tuple[str, ...] = ()

    def charged(self, ratio: float) -> Expected:
        """Return this for pilots that are charged `ratio` times the cores that they offer."""
        low_h, high_h = self.core_h
        return replace(self, core_h=(low_h * ratio, high_h * ratio))


def bounds(case: Case) -> Expected:
    """Return the bounds for `case`: at best with the expected runtimes, at worst with the limits.

    At best all allowed cores serve at once and are never idle; at worst only the first pilots come,
    and all of them stay to the end.
    """
    on_pilots = [task for task in case.tasks if task.on_pilot]
    work_s = sum(task.least_s * task.job_class.shape.cores for task in on_pilots)
    limit_s = sum(task.limit_s * task.job_class.shape.cores for task in on_pilots)
    _, path_s = earliest_s(case.parents, [task.least_s for task in case.tasks])
    _, limit_path_s = earliest_s(case.parents, [task.limit_s for task in case.tasks])
    lead_s = case.lead_s if on_pilots else 0.0
    cores = max(1, case.cores)
    best_s = lead_s + max(path_s, work_s / max(1, case.cores_max))
    worst_s = lead_s + limit_path_s + limit_s / cores
    boots_core_s = case.cores * case.boot_s
    worst_core_s = cores * (worst_s - lead_s) + boots_core_s if on_pilots else 0.0
    if case.policy.core_s_max is not None:
        worst_core_s = min(worst_core_s, case.policy.core_s_max)
    best_core_s = min(work_s + boots_core_s, worst_core_s)
    return Expected(
        (best_s, max(best_s, worst_s)),
        (best_core_s / 3600, worst_core_s / 3600),
        "bounds from the longest chain of jobs and their work",
        case.unknown,
    )


class Parents(Protocol):
    """Indices of the earlier jobs that each job depends on."""

    def __getitem__(self, job: int, /) -> Iterable[int]: ...


def earliest_s(
    parents: Parents, runtimes_s: Sequence[float], arrivals_s: Iterable[float] | None = None
) -> tuple[array[float], float]:
    """Return the earliest start of each job, and the end of the last one.

    Without `arrivals_s` all arrive at once, and the latter is the length of the longest chain.
    """
    start_s = array("d", arrivals_s or bytes(8 * len(runtimes_s)))
    last_s = 0.0
    for job, runtime_s in enumerate(runtimes_s):
        for parent in parents[job]:
            start_s[job] = max(start_s[job], start_s[parent] + runtimes_s[parent])
        last_s = max(last_s, start_s[job] + runtime_s)
    return start_s, last_s
