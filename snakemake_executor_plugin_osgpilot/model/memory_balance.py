"""Keep memory-heavy jobs from blocking the cores of a pilot."""

from __future__ import annotations

from collections.abc import Mapping

from .resources import JobClass, Shape

CORES_KEPT_S = 600.0
"""Time after the last start or end of a slot on a pilot for which its cores are kept for others."""


def weight(shape: Shape, pilot: Shape | None) -> int:
    """Return the number of cores a job blocks: its own, or those that go with its memory, if more;
    an unknown pilot has memory for all.
    """
    if pilot is None:
        return shape.cores
    return max(shape.cores, -(-shape.memory_mb * pilot.cores // pilot.memory_mb))


def is_heavy(shape: Shape, pilot: Shape) -> bool:
    """Return True if a job takes a larger share of a pilot's memory than of its cores."""
    return shape.memory_mb * pilot.cores > shape.cores * pilot.memory_mb


def may_start_beside(shape: Shape, pilot: Shape, free: Shape) -> bool:
    """Return True if a job leaves memory for jobs on the remaining cores.

    It does if it is not memory-heavy, or if the jobs running there, taken together, are not.
    """
    return not (is_heavy(shape, pilot) and is_heavy(pilot - free, pilot))


def apart(waiting: Mapping[JobClass, int], pilot: Shape, *, before: bool) -> bool:
    """Return True if memory-heavy jobs are to be spread over pilots; `before` is the last answer.

    Spreading begins when other jobs wait for all cores of a pilot, and ends when none waits.
    """
    heavy = [jobs for job_class, jobs in waiting.items() if is_heavy(job_class.shape, pilot)]
    light_cores = sum(
        jobs * job_class.shape.cores
        for job_class, jobs in waiting.items()
        if not is_heavy(job_class.shape, pilot)
    )
    return any(heavy) and light_cores >= (1 if before else pilot.cores)
