"""The clairvoyant supply of pilots: the best with full knowledge of a site's random events.

Nobody has pilots earlier, and so nobody is done earlier, whose pilots keep to the limits of the
policy: a pilot that was asked for counts until it is seen to be over.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..model.intervals import LOOK_SOONEST_S
from ..model.resources import UNBOUNDED, Policy
from ..simulator.clock import MS, Clock
from ..simulator.cluster import Cluster
from ..simulator.model import Site
from ..simulator.random_streams import RandomStreams, median_wait_s
from .supply_curve import Supply


class Kind(NamedTuple):
    """A pilot that can be asked for."""

    cores: int
    walltime_s: int


class _Chance(NamedTuple):
    """Of one pilot: when it can be asked for at the earliest, by what its wait differs from the
    median, and its boot.
    """

    asked_s: float
    factor: float
    boot_s: float


class Foresight:
    """The random events of a seed at a site, known in advance.

    Pilots are numbered as they are asked for, and luck goes by number. At one look no more can be
    asked for than the policy lets be there at a time, and after a look at which some were asked for
    the next one is LOOK_SOONEST_S later or more (`model.intervals`): number n cannot be had before
    look n // most. Whoever knows that a pilot has bad luck lets it go and has the next one.
    """

    def __init__(self, site: Site, policy: Policy, seed: int) -> None:
        self._site, self._luck = site, RandomStreams(seed, site)
        smallest = min(offer.shape.cores for offer in policy.offers)
        most = min(policy.pilots_max, (policy.cores_max or UNBOUNDED) // smallest)
        self._most = max(1, most)
        self._drawn: list[_Chance | None] = []
        self.cores = capacity_cores(site, policy)

    def first_s(self, kinds: Iterable[Kind]) -> float:
        """Return when the first pilot of one of `kinds` can be up at the earliest."""
        median_s = min(map(self._median_s, kinds))
        earliest_s = math.inf
        for chance in self._chances():
            if chance.asked_s >= earliest_s:
                break
            earliest_s = min(earliest_s, self._up_s(chance, median_s))
        return earliest_s

    def supply(self, kinds: Iterable[Kind]) -> Supply:
        """Return how many cores of pilots of `kinds` can be up at each time at the most."""
        medians_s: dict[int, float] = {}
        for kind in kinds:
            known_s = medians_s.get(kind.cores, math.inf)
            medians_s[kind.cores] = min(known_s, self._median_s(kind))
        steps: list[tuple[float, int]] = []
        cores = 0
        for chance in self._chances():
            if cores >= self.cores and chance.asked_s >= -steps[0][0]:
                break
            for up_s, more in self._growth(chance, medians_s):
                heapq.heappush(steps, (-up_s, more))
                cores += more
                # what comes after all that there may be is of no use
                while cores - steps[0][1] >= self.cores:
                    cores -= heapq.heappop(steps)[1]
        return Supply.of(((-up_s, more) for up_s, more in steps), self.cores).under(self._free())

    def _growth(self, chance: _Chance, medians_s: dict[int, float]) -> Iterator[tuple[float, int]]:
        """Return how many cores one pilot can have, and from when on: a larger one comes later."""
        had = 0
        for cores, median_s in sorted(medians_s.items()):
            yield self._up_s(chance, median_s), cores - had
            had = cores

    def _chances(self) -> Iterator[_Chance]:
        """Return the pilots that come up at all, in the order of their numbers."""
        number = 0
        while self._site.faults.failed_starts < 1:
            if number == len(self._drawn):
                self._drawn.append(self._draw(number + 1))
            if chance := self._drawn[number]:
                yield chance
            number += 1

    def _draw(self, number: int) -> _Chance | None:
        if self._luck.start_fails_by_chance(number):
            return None
        waits = self._site.waits
        return _Chance(
            LOOK_SOONEST_S * ((number - 1) // self._most),
            self._luck.factor("wait", number, waits.sigma) if waits else 1.0,
            self._site.boot.median_s * self._luck.factor("boot", number, self._site.boot.sigma),
        )

    def _median_s(self, kind: Kind) -> float:
        waits = self._site.waits
        return median_wait_s(waits, kind.cores, kind.walltime_s) if waits else 0.0

    def _up_s(self, chance: _Chance, median_s: float) -> float:
        """Return when a pilot is up, to the millisecond; in an outage it is asked for later."""
        starts_s = chance.asked_s + median_s * chance.factor
        if self._site.waits is None:
            # a queue is looked at at whole multiples of this
            interval_s = max(1, round(self._site.schedule_s * MS)) / MS
            starts_s = interval_s * (starts_s // interval_s + 1)
        for outage in sorted(self._site.faults.outages):
            if outage.from_s <= starts_s < outage.until_s:
                starts_s = outage.until_s
        return starts_s + chance.boot_s - 1 / MS

    def _free(self) -> Supply:
        """Return what jobs of others leave that come with the first pilots, before them in order.

        They all start at the same look of Slurm at its queue, where nobody has used anything yet,
        so that those who asked first are first; see `cluster.Cluster`.
        """
        site = self._site
        if site.waits is not None or not site.background:
            return Supply.of([(0.0, self.cores)], self.cores)
        clock = Clock()
        cluster = Cluster(clock, site, lambda _: None)
        clock.run(until=max(1, round(site.schedule_s * MS)) + 1)
        taken = cluster.taken_by_first()
        free = site.nodes * site.node_shape.cores - sum(cores for _, cores in taken)
        return Supply.of([(0.0, free), *taken], self.cores)


def capacity_cores(site: Site, policy: Policy) -> int:
    """Return how many cores of pilots there can be at a time."""
    largest = max(offer.shape.cores for offer in policy.offers)
    cores = min(policy.pilots_max * largest, policy.cores_max or UNBOUNDED)
    return cores if site.waits is not None else min(cores, site.nodes * site.node_shape.cores)
