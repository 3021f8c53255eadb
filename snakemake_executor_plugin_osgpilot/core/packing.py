"""How many jobs of each class fit where. Work grows with classes × pilots, not with jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.core.model import JobClass, Shape


@dataclass
class Bin:
    """Free room of one pilot while it is being filled; `left_s` is the life it has left."""

    name: str
    free: Shape
    left_s: float
    used: bool = False

    def take(self, job_class: JobClass, count: int) -> int:
        """Put up to `count` jobs in; return how many went in."""
        if job_class.runtime_s >= self.left_s:
            return 0
        taken = min(count, self.free.holds(job_class.shape))
        if taken:
            self.free -= job_class.shape.times(taken)
            self.used = True
        return taken


def largest_first(waiting: Mapping[JobClass, int]) -> list[tuple[JobClass, int]]:
    """Order classes by decreasing size, as first-fit-decreasing bin packing wants it."""
    return sorted(waiting.items(), key=lambda item: item[0], reverse=True)


def fill(waiting: Mapping[JobClass, int], bins: list[Bin]) -> dict[JobClass, int]:
    """Put waiting jobs into `bins` in their order; return those that found no room."""
    left: dict[JobClass, int] = {}
    for job_class, count in largest_first(waiting):
        for candidate in bins:
            if count == 0:
                break
            count -= candidate.take(job_class, count)
        if count:
            left[job_class] = count
    return left


def pilots_for(waiting: Mapping[JobClass, int], shape: Shape, left_s: float) -> int:
    """Return how many new pilots of `shape` hold all of `waiting` at once.

    Classes that do not fit an empty pilot are not counted. Pilots that are filled alike are kept
    as one group, so that the work does not grow with the number of jobs.
    """
    opened, groups = 0, list[_Group]()
    for job_class, count in largest_first(waiting):
        per_pilot = shape.holds(job_class.shape)
        if per_pilot == 0 or job_class.runtime_s >= left_s:
            continue
        refilled = list[_Group]()
        for free, pilots in groups:
            count, parts = _spread(job_class.shape, count, free, pilots)
            refilled += parts
        fresh = -(-count // per_pilot)
        opened += fresh
        groups = refilled + _spread(job_class.shape, count, shape, fresh)[1]
    return opened


_Group = tuple[Shape, int]
"""So many pilots with so much free room each."""


def _spread(job: Shape, count: int, free: Shape, pilots: int) -> tuple[int, list[_Group]]:
    """Put `count` jobs on `pilots` alike; return the jobs left over and the groups that result."""
    per_pilot = free.holds(job)
    if per_pilot == 0 or count == 0 or pilots == 0:
        return count, [(free, pilots)] if pilots else []
    full = min(pilots, count // per_pilot)
    rest = count - full * per_pilot if full < pilots else 0
    parts = [
        (free - job.times(per_pilot), full),
        (free - job.times(rest), 1 if rest else 0),
        (free, pilots - full - (1 if rest else 0)),
    ]
    return count - full * per_pilot - rest, [part for part in parts if part[1]]
