"""Place waiting jobs on the live pilots: in free slots now, or in slots that become free later."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter

from ...model.resources import JobClass
from .bin_packing import Bin, fill, largest_first
from .estimates import Estimates
from .supply import Supply

Demand = Mapping[JobClass, int]


@dataclass
class SpareCapacity:
    """The pilots' spare core-seconds, in total and by pilot type."""

    core_s: float
    by_offer: dict[str, float]

    def of(self, offers: tuple[str, ...]) -> float:
        """Return the spare core-seconds of these pilot types, of all if none is given."""
        if not offers:
            return self.core_s
        return min(self.core_s, sum(self.by_offer.get(offer, 0.0) for offer in offers))

    def take(self, offers: tuple[str, ...], core_s: float) -> None:
        self.core_s -= core_s
        for offer in offers:
            taken = min(core_s, max(0.0, self.by_offer.get(offer, 0.0)))
            self.by_offer[offer] = self.by_offer.get(offer, 0.0) - taken
            core_s -= taken


def place(
    waiting: Demand, have: Supply, estimates: Estimates
) -> tuple[Demand, list[Bin], SpareCapacity]:
    """Place jobs in the free slots; return those left, the slots then, and the spare capacity.

    A job uses no more spare capacity than its pilot adds: otherwise a late pilot's jobs would be
    charged to the pilots that serve already.
    """
    left, rooms = waiting, list[Bin]()
    spare = SpareCapacity(have.coming_core_s, dict(have.coming_by_offer))
    for coming_s, alike in groupby(have.rooms, key=attrgetter("coming_s")):
        before = left
        left, filled = fill(before, alike)
        rooms += filled
        for job_class, count in before.items() if coming_s else ():
            each_core_s = job_class.shape.cores * min(estimates.runtime_s(job_class), coming_s)
            spare.take(job_class.offers, (count - left.get(job_class, 0)) * each_core_s)
    return left, rooms, spare


def unserved(
    left: Demand, spare: SpareCapacity, have: Supply, estimates: Estimates
) -> dict[JobClass, int]:
    """Return the jobs of `left` that no pilot will have started before a new one could.

    The spare capacity until then serves the others. Classes that require certain pilot types only
    use the capacity of these.
    """
    left_over: dict[JobClass, int] = {}
    for job_class, count in largest_first(left):
        each_core_s = job_class.shape.cores * max(1e-3, estimates.runtime_s(job_class))
        served, core_s = 0, spare.of(job_class.offers)
        if core_s > 0 and hosted(job_class, have):
            served = min(count, int(core_s // each_core_s))
            spare.take(job_class.offers, served * each_core_s)
        if served < count:
            left_over[job_class] = count - served
    return left_over


def hosted(job_class: JobClass, have: Supply) -> bool:
    """Return True if a pilot that serves or will can run this class when it is empty."""
    wanted = job_class.offers
    return any(
        shape.holds(job_class.shape) and job_class.runtime_s < life_s
        for shape, life_s, offer in have.hosts
        if not wanted or offer in wanted
    )
