"""COBalD with TARDIS: demand by the clock while what there is, is used."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...model.resources import Pilot
from .base import Look, Rule, Verdict

FACTORY_S = 30.0
"""The factory adds and removes drones so often (composite/factory.py:89-134)."""


@dataclass
class CobaldLinear(Rule):
    """Demand falls by `rate` cores a second while utilisation is below `low`, else it rises while
    allocation is above `high`. It stays between `minimum` pilots and `surplus_cores` above supply.

    Source: MatterMiners/cobald 1b6ca11d414d, controller/linear.py:36-40, decorator/
    standardiser.py:22-63; composite/factory.py:89-134 (drones follow demand, the least used go
    first: booting ones at once, running ones drained). It does not see the queue; without a drone
    both values are 1 (composite/weighted.py:75-88). Which resources count is for users to say:
    cores, and memory with `memory_counts`.
    """

    rate: float = 1.0
    low: float = 0.5
    high: float = 0.5
    surplus_cores: int = 10**9
    minimum: int = 1
    memory_counts: bool = False
    _demand: float = field(default=0.0, init=False)
    _at_s: float | None = field(default=None, init=False)
    _factory_s: float = field(default=0.0, init=False)

    def decide(self, look: Look) -> Verdict:
        elapsed_s = 0.0 if self._at_s is None else look.now_s - self._at_s
        self._at_s = look.now_s
        utilisation, allocation = self._used(look)
        if utilisation < self.low:
            self._demand -= self.rate * elapsed_s
        elif allocation > self.high:
            self._demand += self.rate * elapsed_s
        size = self.offer.shape.cores
        supply = len(look.ready) * size
        most = min(supply + self.surplus_cores, look.policy.cores_max or 10**9)
        self._demand = max(self.minimum * size, min(self._demand, most))
        if look.now_s < self._factory_s:
            return Verdict()
        self._factory_s = look.now_s + FACTORY_S
        target = int(-(-self._demand // size))
        if target >= len(look.live):
            return Verdict(self.ask(target - len(look.live)))
        least_used = sorted(look.live, key=lambda p: (self._share(p, look)[0], p.name))
        return Verdict(release=tuple(least_used[: len(look.live) - target]))

    def _used(self, look: Look) -> tuple[float, float]:
        """Return the mean over drones of the scarcest and of the most used resource's share."""
        shares = [self._share(pilot, look) for pilot in look.ready]
        if not shares:
            return 1.0, 1.0
        return sum(s[0] for s in shares) / len(shares), sum(s[1] for s in shares) / len(shares)

    def _share(self, pilot: Pilot, look: Look) -> tuple[float, float]:
        """Return the least and the most used resource's share."""
        cores = memory_mb = 0
        for group in look.snapshot.running.get(pilot.name, ()):
            cores += group.jobs * group.job_class.shape.cores
            memory_mb += group.jobs * group.job_class.shape.memory_mb
        shares = [cores / pilot.shape.cores]
        if self.memory_counts:
            shares.append(memory_mb / pilot.shape.memory_mb)
        return min(shares), max(shares)
