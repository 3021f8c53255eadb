"""The jobs that still have to run as tasks, in topological order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter

from ..common.snakemake_types import Dag, SingleJob
from ..model.resources import JobClass, Shape
from ..scaling.planner.bounds import Task
from ..scaling.planner.estimates import RUNTIME_PRIOR_S

UNSAID = 2.0
"""A job without `runtime` may take so many times as long as expected."""


def tasks_of(
    dag: Dag,
    on_pilot: Callable[[SingleJob], bool],
    class_of: Callable[[SingleJob], JobClass | None],
    seen_core_s: Mapping[str, float],
) -> tuple[list[Task], list[list[int]]]:
    """Return the tasks, and for each the numbers of those that have to end first.

    The expected runtime is that of earlier jobs of the rule, else half its `runtime`, else the
    planner's prior. `class_of` returns a job's request, None if unknown.
    """
    to_do = set(dag.needrun_jobs())
    graph = {job: [d for d in dag.job_dependencies(job) if d in to_do] for job in to_do}
    numbers: dict[SingleJob, int] = {}
    tasks: list[Task] = []
    parents: list[list[int]] = []
    for job in TopologicalSorter(graph).static_order():
        numbers[job] = len(tasks)
        parents.append([numbers[before] for before in graph[job]])
        tasks.append(_task(job, class_of(job), seen_core_s, on_pilot=on_pilot(job)))
    return tasks, parents


def _task(
    job: SingleJob, job_class: JobClass | None, seen_core_s: Mapping[str, float], *, on_pilot: bool
) -> Task:
    asks = job_class or JobClass(Shape(max(1, job.threads), 0))
    limit_s = float(asks.runtime_s)
    seen_s = seen_core_s.get(str(job.rule), 0.0) / max(1, asks.shape.cores)
    if job.is_local and not seen_s and not limit_s:
        # local rules seldom take long
        return Task(str(job.rule), asks, 0.0, 0.0, on_pilot=False)
    expected_s = seen_s or limit_s / 2 or RUNTIME_PRIOR_S
    most_s = limit_s or UNSAID * expected_s
    return Task(str(job.rule), asks, expected_s, most_s, on_pilot, seen=bool(seen_s))
