"""Vector bin packing of job classes into pilots, first fit by decreasing size.

Pilots with equal free resources and remaining life are grouped, so that the effort grows with the
number of job classes and groups, not with the number of jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from ...model.resources import JobClass, PilotType, Shape


class Bin(NamedTuple):
    """Equivalent pilots: each has `free` resources and accepts jobs with a runtime below `life_s`.

    `pilots` are their names, or numbers of pilots that do not exist yet. `coming_s` is the time
    they serve before a pilot requested now could.
    """

    free: Shape
    life_s: float
    pilots: Sequence[str] | range
    offer: str = ""
    used: bool = False
    coming_s: float = 0.0


def largest_first(demand: Mapping[JobClass, int]) -> list[tuple[JobClass, int]]:
    """Return the classes by decreasing size, as first-fit-decreasing bin packing requires.

    GPUs first: a job without GPUs must not take the place of one that needs them.
    """
    return sorted(demand.items(), key=lambda item: (item[0].shape.gpus, item[0]), reverse=True)


def fill(
    demand: Mapping[JobClass, int], rooms: Iterable[Bin]
) -> tuple[dict[JobClass, int], list[Bin]]:
    """Place jobs in `rooms` in order; return those that do not fit, and the rooms afterwards."""
    left: dict[JobClass, int] = {}
    full: list[Bin] = []
    open_now = list(rooms)
    for job_class, count in largest_first(demand):
        shape, runtime_s, wanted = job_class
        still_open: list[Bin] = []
        for room in open_now:
            if (
                count <= 0
                or room.free.cores < shape.cores
                or room.free.memory_mb < shape.memory_mb
                or room.life_s <= runtime_s
                or (wanted and room.offer not in wanted)
            ):
                still_open.append(room)
                continue
            count, parts = _spread(shape, count, room)
            for part in parts:
                (still_open if part.free.cores > 0 else full).append(part)
        open_now = still_open
        if count > 0:
            left[job_class] = count
    return left, full + open_now


def _spread(job: Shape, count: int, room: Bin) -> tuple[int, list[Bin]]:
    """Place up to `count` jobs in the pilots of `room`, filling one after the other."""
    per_pilot = room.free.holds(job)
    if not per_pilot:
        return count, [room]
    free, life_s, pilots, offer, used, coming_s = room
    full = min(len(pilots), count // per_pilot)
    rest = count - full * per_pilot if full < len(pilots) else 0
    edge = full + (1 if rest else 0)
    parts = []
    if full:
        parts.append(Bin(free - job.times(per_pilot), life_s, pilots[:full], offer, True, coming_s))
    if rest:
        parts.append(Bin(free - job.times(rest), life_s, pilots[full:edge], offer, True, coming_s))
    if edge < len(pilots):
        parts.append(Bin(free, life_s, pilots[edge:], offer, used, coming_s))
    return count - full * per_pilot - rest, parts


def open_pilots(
    demand: Mapping[JobClass, int],
    choose: Callable[[JobClass], PilotType | None],
    life_taken_s: float,
) -> list[Bin]:
    """Return new pilots that hold all of `demand` at once, each of the type chosen for its first
    class; `life_taken_s` is the walltime lost to boot and shutdown. Classes for which `choose`
    finds no type are left out.
    """
    opened: list[Bin] = []
    for job_class, count in largest_first(demand):
        left, opened = fill({job_class: count}, opened)
        offer = choose(job_class) if left else None
        if offer is None:
            continue
        missing = left[job_class]
        fresh = -(-missing // offer.shape.holds(job_class.shape))
        life_s = offer.walltime_max_s - life_taken_s
        empty = Bin(offer.shape, life_s, range(fresh), offer.name)
        opened += fill({job_class: missing}, [empty])[1]
    return opened
