"""Chance, by seed. Each concern has its own stream: common random numbers for all policies."""

from __future__ import annotations

import math
from random import Random

from .clock import MS
from .model import Faults, Site, Spread, Waits


class RandomStreams:
    """Random events of a pilot, which depend on its number only, not on earlier events."""

    def __init__(self, seed: int, site: Site) -> None:
        self._seed = seed
        self._site = site

    def stream(self, concern: str, number: int = 0) -> Random:
        """Return the random numbers of one concern of one pilot."""
        return Random(f"{self._seed}/{concern}/{number}")

    def boot_ms(self, number: int) -> int:
        """Return how long pilot `number` takes to come up."""
        return self._draw_ms(self._site.boot, "boot", number)

    def wait_ms(self, number: int, cores: int, walltime_s: int, waits: Waits) -> int:
        """Return how long pilot `number` waits where nobody else is in the queue."""
        median_s = median_wait_s(waits, cores, walltime_s)
        return self._draw_ms(Spread(median_s, waits.sigma), "wait", number)

    def node(self, number: int, nodes: list[int]) -> int:
        """Return where pilot `number` starts, of `nodes`."""
        return self.stream("node", number).choice(nodes)

    def start_fails(self, number: int, node: int, now_ms: int) -> bool:
        """Return True if pilot `number` fails if it starts on `node` now."""
        faults = self._site.faults
        down = any(o.from_s * MS <= now_ms < o.until_s * MS for o in faults.outages)
        return down or self.start_fails_by_chance(number) or node < faults.bad_nodes

    def start_fails_by_chance(self, number: int) -> bool:
        """Return True if pilot `number` fails wherever and whenever it starts."""
        share = self._site.faults.failed_starts
        return share > 0 and self.stream("start", number).random() < share

    def preempted_after_ms(self, number: int) -> int | None:
        """Return after how long Slurm takes pilot `number` away, None if never."""
        return self._hazard_ms(self._site.faults.preemptions_per_h, "preemption", number)

    def node_lost_after_ms(self, number: int) -> int | None:
        """Return after how long the node of pilot `number` goes down, None if never."""
        return self._hazard_ms(self._site.faults.node_failures_per_h, "node failure", number)

    def stragglers(self, jobs: int) -> bytes:
        """Return 1 for each job that takes longer where it runs first, else 0."""
        faults: Faults = self._site.faults
        if not faults.stragglers:
            return bytes(jobs)
        draw = self.stream("stragglers").random
        return bytes(draw() < faults.stragglers for _ in range(jobs))

    def factor(self, concern: str, number: int, sigma: float) -> float:
        """Return by what a lognormal duration of pilot `number` differs from its median."""
        return math.exp(self.stream(concern, number).gauss(0.0, sigma))

    def _draw_ms(self, spread: Spread, concern: str, number: int) -> int:
        return round(spread.median_s * self.factor(concern, number, spread.sigma) * MS)

    def _hazard_ms(self, per_h: float, concern: str, number: int) -> int | None:
        if not per_h:
            return None
        return round(self.stream(concern, number).expovariate(per_h / 3600) * MS)


def median_wait_s(waits: Waits, cores: int, walltime_s: int) -> float:
    """Return the median wait of a pilot of so many cores and so much walltime."""
    by_cores: float = (cores / waits.cores) ** waits.cores_power
    by_walltime: float = (walltime_s / waits.walltime_s) ** waits.walltime_power
    return waits.median_s * by_cores * by_walltime
