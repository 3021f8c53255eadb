"""Slurm as the manager of pilots meets it: requests by name, rows of `squeue`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from ..errors import RejectedError
from ..model.resources import Pilot, PilotType
from ..pilots import batch_system
from ..pilots.state.lifecycle import Row, Seen
from .allocations import Allocation, Lottery, Slurm, node_name
from .clock import MS, Clock
from .cluster import Cluster
from .model import Site
from .pilots import LEAVE_MS, PilotPool, SimulatedPilot
from .random_streams import RandomStreams


class SimulatedRequests:
    """Implements `batch_system.PilotRequests`; every pilot type is a partition of its own."""

    shared = False

    def __init__(self, offers: Iterable[PilotType]) -> None:
        self.offers = {offer.name: offer for offer in offers}

    def last_number(self) -> int:
        return 0

    def name(self, number: int) -> str:
        return f"p{number}"

    def allocation(self, pilot: Pilot) -> batch_system.Allocation:
        return batch_system.Allocation(
            pilot.name,
            "simulated",
            pilot.shape.cores,
            pilot.shape.memory_mb,
            pilot.walltime_s // 60,
            self.pilot_folder(pilot.name),
            partition=pilot.offer,
            gpus=pilot.shape.gpus,
        )

    def pilot_folder(self, name: str) -> Path:
        return Path(name)

    def file(self, name: str) -> Path:
        return Path(name)


class SlurmFacade:
    """Implements `batch_system.Slurm`. `pilots` are all that were ever submitted, by name.

    `held_back` tells whether pilots of an offer are to leave at once when they start.
    """

    def __init__(
        self, clock: Clock, site: Site, offers: Mapping[str, PilotType], luck: RandomStreams,
        pilot_pool: PilotPool, held_back: Callable[[str], bool],
    ) -> None:  # fmt: skip
        self._clock, self._site, self._pilot_pool, self._held_back = (
            clock,
            site,
            pilot_pool,
            held_back,
        )
        self._offers = offers
        self._slurm: Slurm
        if site.waits:
            self._slurm = Lottery(clock, site.waits, site.nodes, luck, self._started)
        else:
            self._slurm = Cluster(clock, site, self._started)
        self._nodes = {node_name(node): node for node in range(site.nodes)}
        self._shown: dict[str, Allocation] = {}
        self.pilots: dict[str, SimulatedPilot] = {}

    def submit(self, allocation: batch_system.Allocation) -> str:
        nodes = frozenset(self._nodes[name] for name in allocation.exclude)
        if len(nodes) >= self._site.nodes:
            raise RejectedError("all nodes are excluded")
        name, number, now_ms = allocation.name, len(self.pilots) + 1, self._clock.now
        offer = self._offers[allocation.partition]
        walltime_ms = 60 * allocation.walltime_min * MS
        queued = Allocation(name, number, offer.shape, walltime_ms, now_ms, nodes)
        self._shown[name] = queued
        self.pilots[name] = SimulatedPilot(number, name, offer.name, queued)
        self._slurm.submit(queued)
        return str(number)

    def look(self) -> dict[str, Row]:
        rows = {name: allocation.row() for name, allocation in self._shown.items()}
        # squeue shows what has ended for some minutes, so every end is seen once
        self._shown = {n: a for n, a in self._shown.items() if not a.over}
        return rows

    def expectation(self, allocation: batch_system.Allocation) -> batch_system.Expectation | None:
        if not self._site.hints:
            return None
        shape = self._offers[allocation.partition].shape
        wait_s = self._slurm.expected_wait_s(shape, 60 * allocation.walltime_min)
        return None if wait_s is None else batch_system.Expectation(wait_s)

    def cancel_pending(self, pilots: Mapping[str, str]) -> None:
        for name in pilots.values():
            self._slurm.cancel(self.pilots[name].allocation)

    def drain_running(self, pilots: Mapping[str, str]) -> None:
        for name in pilots.values():
            self._pilot_pool.drain(name)

    def end_running(self, pilots: Mapping[str, str]) -> None:
        for pilot in (self.pilots[name] for name in pilots.values()):
            if pilot.allocation.runs:
                pilot.closed = True
                self._clock.after(LEAVE_MS, partial(self._pilot_pool.end, pilot, Seen.COMPLETED))

    def kill(self, pilots: Mapping[str, str]) -> None:
        self.cancel_pending(pilots)
        for pilot in (self.pilots[name] for name in pilots.values()):
            if pilot.allocation.runs:
                self._pilot_pool.end(pilot, Seen.CANCELLED, "CANCELLED")

    def interrupt(self) -> None:
        """No command hangs."""

    def write(self, files: Mapping[Path, str]) -> None:
        """Pilots read no files."""

    def log_tail(self, folder: Path) -> str:
        return "a simulated failure"

    def freed(self, allocation: Allocation) -> None:
        """Record that a running allocation has ended."""
        self._slurm.freed(allocation)

    def _started(self, allocation: Allocation) -> None:
        pilot = self.pilots[allocation.name]
        self._pilot_pool.start(pilot, held_back=self._held_back(pilot.offer))
