"""Whether pilots have memory and cores in the proportion in which the jobs, taken together, ask."""

from __future__ import annotations

from collections.abc import Mapping

from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape

CORES_KEPT_S = 600.0
"""For so long after the last start or end of a slot on a pilot, its cores are kept for others."""


def weight(shape: Shape, pilot: Shape | None) -> int:
    """Return how many cores a job takes, or those of a pilot that come with its memory if they are
    more; a pilot of which nothing is known has memory for all."""
    if pilot is None:
        return shape.cores
    return max(shape.cores, -(-shape.memory_mb * pilot.cores // pilot.memory_mb))


def is_heavy(shape: Shape, pilot: Shape) -> bool:
    """Whether a job takes more of a pilot's memory than of its cores."""
    return shape.memory_mb * pilot.cores > shape.cores * pilot.memory_mb


def may_start_beside(shape: Shape, pilot: Shape, free: Shape) -> bool:
    """Whether a job leaves memory for jobs on the cores beside it, as far as there can be any.

    It does if it is not heavy, or if those that run there are not, taken together.
    """
    return not (is_heavy(shape, pilot) and is_heavy(pilot - free, pilot))


def apart(waiting: Mapping[JobClass, int], pilot: Shape, *, before: bool) -> bool:
    """Return whether heavy jobs are to keep apart from now on; `before` is whether they were.

    They are from when others wait for all cores of a pilot until none of these waits any more.
    """
    heavy = [jobs for job_class, jobs in waiting.items() if is_heavy(job_class.shape, pilot)]
    light_cores = sum(
        jobs * job_class.shape.cores
        for job_class, jobs in waiting.items()
        if not is_heavy(job_class.shape, pilot)
    )
    return any(heavy) and light_cores >= (1 if before else pilot.cores)
