"""Slurm as the manager meets it: pilots by name, rows of `squeue`."""

from __future__ import annotations

from collections.abc import Callable

from ..model.resources import Pilot, PilotType
from ..pilots.state.lifecycle import Row, Seen
from .allocations import Allocation, Lottery, Slurm, node_name
from .clock import MS, Clock
from .cluster import Cluster
from .model import Site
from .pilots import LEAVE_MS, PilotPool, SimulatedPilot
from .random_streams import Luck


class SlurmFacade:
    """Implements `manager.Site`. `pilots` are all that were ever launched, by name.

    `held_back` tells whether pilots of an offer are to leave at once when they start.
    """

    def __init__(
        self, clock: Clock, site: Site, luck: Luck, farm: PilotPool,
        held_back: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._clock, self._site, self._farm, self._held_back = clock, site, farm, held_back
        self._slurm: Slurm
        if site.waits:
            self._slurm = Lottery(clock, site.waits, site.nodes, luck, self._started)
        else:
            self._slurm = Cluster(clock, site, self._started)
        self._nodes = {node_name(node): node for node in range(site.nodes)}
        self._shown: dict[str, Allocation] = {}
        self.pilots: dict[str, SimulatedPilot] = {}

    def rows(self) -> dict[str, Row]:
        rows = {name: allocation.row() for name, allocation in self._shown.items()}
        # squeue shows what has ended for some minutes, so every end is seen once
        self._shown = {n: a for n, a in self._shown.items() if not a.over}
        return rows

    def expected_wait_s(self, offer: PilotType) -> float | None:
        return self._slurm.expected_wait_s(offer) if self._site.hints else None

    def launch(self, pilot: Pilot, number: int, avoid: tuple[str, ...]) -> bool:
        nodes = frozenset(self._nodes[name] for name in avoid)
        if len(nodes) >= self._site.nodes:
            return False
        name, now_ms = pilot.name, self._clock.now
        allocation = Allocation(name, number, pilot.shape, pilot.walltime_s * MS, now_ms, nodes)
        self._shown[name] = allocation
        self.pilots[name] = SimulatedPilot(number, name, pilot.offer, allocation)
        self._slurm.submit(allocation)
        return True

    def cancel(self, name: str) -> None:
        self._slurm.cancel(self.pilots[name].allocation)

    def drain(self, name: str) -> None:
        self._farm.drain(name)

    def stop(self, name: str) -> None:
        pilot = self.pilots[name]
        if pilot.allocation.runs:
            pilot.closed = True
            self._clock.after(LEAVE_MS, lambda: self._farm.end(pilot, Seen.COMPLETED))

    def freed(self, allocation: Allocation) -> None:
        """Record that a running allocation has ended."""
        self._slurm.freed(allocation)

    def _started(self, allocation: Allocation) -> None:
        pilot = self.pilots[allocation.name]
        self._farm.start(pilot, held_back=self._held_back(pilot.offer))
