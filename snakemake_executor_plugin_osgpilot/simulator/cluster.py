"""A batch queue with finite nodes and other users: fair share, EASY backfill by walltime."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import simpy

from ..model.resources import Shape
from ..pilots.state.lifecycle import Seen
from .allocations import Allocation
from .clock import MS, Clock
from .model import OtherJob, Site

DEPTH = 500
"""So many jobs are looked at for backfill (slurm.conf, bf_max_job_test)."""

HALF_LIFE_MS = 7 * 24 * 3600 * MS
"""After this time, use counts for half (slurm.conf, PriorityDecayHalfLife)."""

AGE_MAX_MS = 7 * 24 * 3600 * MS
"""A job that has waited so long has the highest age factor (slurm.conf, PriorityMaxAge)."""

US = 0

Part = tuple[int, int, int, int]
"""A node, and cores, megabytes and GPUs of it."""


@dataclass
class Free:
    """Free resources of each node."""

    cores: list[int]
    memory_mb: list[int]
    gpus: list[int]

    def copy(self) -> Free:
        return Free(self.cores[:], self.memory_mb[:], self.gpus[:])

    def take(self, parts: list[Part], sign: int = -1) -> None:
        """Claim parts of nodes, or release them with `sign` 1."""
        for node, cores, memory_mb, gpus in parts:
            self.cores[node] += sign * cores
            self.memory_mb[node] += sign * memory_mb
            self.gpus[node] += sign * gpus

    def lesser(self, other: Free) -> Free:
        """Return what is free in both."""
        return Free(
            [min(a, b) for a, b in zip(self.cores, other.cores, strict=True)],
            [min(a, b) for a, b in zip(self.memory_mb, other.memory_mb, strict=True)],
            [min(a, b) for a, b in zip(self.gpus, other.gpus, strict=True)],
        )


@dataclass(eq=False)
class Entry:
    """An allocation in the queue or on nodes, and whose it is."""

    allocation: Allocation
    user: int
    runtime_ms: int | None = None
    parts: list[Part] = field(default_factory=list)

    @property
    def ends_ms(self) -> int:
        """The time limit at which Slurm ends it."""
        return self.allocation.started_ms + self.allocation.walltime_ms


class Cluster:
    """Implements `allocations.Slurm` for a site with a queue."""

    def __init__(self, clock: Clock, site: Site, started: Callable[[Allocation], None]) -> None:
        self._clock, self._site, self._started = clock, site, started
        shape, nodes = site.node_shape, site.nodes
        self._free = Free([shape.cores] * nodes, [shape.memory_mb] * nodes, [shape.gpus] * nodes)
        self._pending: list[Entry] = []
        self._running: dict[Allocation, Entry] = {}
        self._usage: defaultdict[int, float] = defaultdict(float)
        self._used_cores: defaultdict[int, int] = defaultdict(int)
        self._counted_ms = 0
        self._due = False
        if site.background:
            clock.process(self._others(sorted(site.background)))

    def submit(self, allocation: Allocation) -> None:
        self._add(Entry(allocation, US))

    def cancel(self, allocation: Allocation) -> None:
        if not allocation.runs and not allocation.over:
            allocation.end(Seen.CANCELLED, "CANCELLED", self._clock.now)
            self._pending = [e for e in self._pending if e.allocation is not allocation]

    def freed(self, allocation: Allocation) -> None:
        entry = self._running.pop(allocation)
        self._count_usage()
        self._free.take(entry.parts, 1)
        self._used_cores[entry.user] -= allocation.shape.cores
        self._wake()

    def expected_wait_s(self, shape: Shape, walltime_s: int) -> float | None:
        # like `sbatch --test-only`, which knows what runs and not what else waits
        now_ms = self._clock.now
        asked = Allocation("", 0, shape, walltime_s * MS, now_ms)
        if self._place(asked, self._free):
            return 0.0
        shadow = self._shadow(asked)
        return None if shadow is None else (shadow[0] - now_ms) / MS

    def taken_by_first(self) -> list[tuple[float, int]]:
        """Return until when how many cores are taken by jobs of others that came at the start."""
        return [
            ((entry.allocation.started_ms + entry.runtime_ms) / MS, entry.allocation.shape.cores)
            for entry in self._running.values()
            if entry.runtime_ms is not None and not entry.allocation.submitted_ms
        ]

    def _others(self, background: list[OtherJob]) -> Generator[simpy.Event, None, None]:
        per_core_mb = self._site.node_shape.memory_mb // max(1, self._site.node_shape.cores)
        most = self._site.nodes * self._site.node_shape.cores
        for number, job in enumerate(background):
            if (wait_ms := round(job.submit_s * MS) - self._clock.now) > 0:
                yield self._clock.timeout(wait_ms)
            if not 0 < job.cores <= most:
                continue
            shape = Shape(job.cores, job.cores * per_core_mb)
            walltime_ms = max(1, round(job.walltime_s * MS))
            runtime_ms = max(1, min(walltime_ms, round(job.runtime_s * MS)))
            other = Allocation("", number, shape, walltime_ms, self._clock.now)
            self._add(Entry(other, job.user, runtime_ms))

    def _add(self, entry: Entry) -> None:
        self._pending.append(entry)
        self._wake()

    def _wake(self) -> None:
        if not self._due:
            self._due = True
            interval_ms = max(1, round(self._site.schedule_s * MS))
            self._clock.after(interval_ms - self._clock.now % interval_ms, self._schedule)

    def _schedule(self) -> None:
        """Start what fits in order; what comes first and does not fit keeps its place for later."""
        self._due = False
        self._count_usage()
        self._sort()
        reserved: tuple[int, Free] | None = None
        failed: set[tuple[object, ...]] = set()
        started: set[Entry] = set()
        for entry in self._pending[:DEPTH]:
            allocation = entry.allocation
            short = reserved is not None and self._clock.now + allocation.walltime_ms <= reserved[0]
            kind = (allocation.shape, tuple(allocation.avoid), short)
            if kind in failed:
                continue
            room = self._free if reserved is None or short else self._free.lesser(reserved[1])
            if parts := self._place(allocation, room):
                self._start(entry, parts)
                started.add(entry)
                if reserved is not None and not short:
                    reserved[1].take(parts)
                continue
            failed.add(kind)
            if reserved is None:
                if not self._site.backfill:
                    break
                reserved = self._shadow(allocation)
        self._pending = [entry for entry in self._pending if entry not in started]

    def _start(self, entry: Entry, parts: list[Part]) -> None:
        allocation, now_ms = entry.allocation, self._clock.now
        entry.parts = parts
        self._free.take(parts)
        self._running[allocation] = entry
        self._used_cores[entry.user] += allocation.shape.cores
        allocation.begin(parts[0][0], now_ms)
        if entry.runtime_ms is None:
            self._started(allocation)
        else:
            self._clock.after(entry.runtime_ms, lambda: self.freed(allocation))

    def _place(self, allocation: Allocation, free: Free) -> list[Part] | None:
        cores, memory_mb, _, gpus = allocation.shape
        if cores > self._site.node_shape.cores:
            return _spread(cores, memory_mb // cores, free)
        for node, free_cores in enumerate(free.cores):
            if (
                free_cores >= cores
                and free.memory_mb[node] >= memory_mb
                and free.gpus[node] >= gpus
                and node not in allocation.avoid
            ):
                return [(node, cores, memory_mb, gpus)]
        return None

    def _shadow(self, allocation: Allocation) -> tuple[int, Free] | None:
        """Return when there will be room by the walltimes of what runs, and what is free then
        beside; None if there never is.
        """
        free = self._free.copy()
        for entry in sorted(self._running.values(), key=lambda entry: entry.ends_ms):
            free.take(entry.parts, 1)
            if parts := self._place(allocation, free):
                free.take(parts)
                return entry.ends_ms, free
        return None

    def _count_usage(self) -> None:
        passed_ms = self._clock.now - self._counted_ms
        self._counted_ms = self._clock.now
        keep = 0.5 ** (passed_ms / HALF_LIFE_MS)
        for user in self._usage.keys() | self._used_cores.keys():
            used = self._used_cores[user] * passed_ms
            self._usage[user] = self._usage[user] * keep + used

    def _sort(self) -> None:
        """Sort what waits, highest priority first.

        That is fair share 2^(-use/share) and age, of equal weight (Slurm's priority/multifactor
        plugin, with the same share for every user).
        """
        if not self._site.fair_share:
            return
        now_ms = self._clock.now
        users = {entry.user for entry in self._pending} | self._usage.keys()
        share = max(1.0, sum(self._usage.values()) / max(1, len(users)))
        factor = {user: 2 ** -(self._usage[user] / share) for user in users}

        def priority(entry: Entry) -> float:
            age = min(1.0, (now_ms - entry.allocation.submitted_ms) / AGE_MAX_MS)
            return factor[entry.user] + age

        self._pending.sort(key=priority, reverse=True)


def _spread(cores: int, per_core_mb: int, free: Free) -> list[Part] | None:
    """Return parts of as many nodes as it takes."""
    parts: list[Part] = []
    for node, free_cores in enumerate(free.cores):
        if per_core_mb:
            free_cores = min(free_cores, free.memory_mb[node] // per_core_mb)
        taken = min(cores, free_cores)
        if taken > 0:
            parts.append((node, taken, taken * per_core_mb, 0))
            cores -= taken
        if not cores:
            return parts
    return None
