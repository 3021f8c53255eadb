"""Allocations, and the simpler of the two models of Slurm's scheduling."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol

from ..model.resources import Shape
from ..pilots.state.lifecycle import Row, Seen
from .clock import MS, Clock
from .model import Waits
from .random_streams import RandomStreams, median_wait_s


class Allocation:
    """A Slurm job of one node: ours, which holds a pilot, or another user's part of a node.

    `node` is -1 until it runs. `avoid` are nodes that it is not to start on.
    """

    __slots__ = (
        "_row", "avoid", "draining", "ended_ms", "name", "node", "number", "seen", "shape",
        "started_ms", "state", "submitted_ms", "walltime_ms",
    )  # fmt: skip

    def __init__(
        self, name: str, number: int, shape: Shape, walltime_ms: int, submitted_ms: int,
        avoid: Collection[int] = (),
    ) -> None:  # fmt: skip
        self.name, self.number, self.shape = name, number, shape
        self.walltime_ms, self.submitted_ms, self.avoid = walltime_ms, submitted_ms, avoid
        self.node, self.started_ms, self.ended_ms = -1, -1, -1
        self.seen, self.state, self.draining = Seen.QUEUED, "PENDING", False
        self._row: Row | None = None

    @property
    def over(self) -> bool:
        """True if it has ended, or was cancelled before it began."""
        return self.ended_ms >= 0

    @property
    def runs(self) -> bool:
        """True if it has begun and not ended."""
        return self.started_ms >= 0 and self.ended_ms < 0

    def begin(self, node: int, now_ms: int) -> None:
        """Note that it runs from now on."""
        self.node, self.started_ms = node, now_ms
        self.seen, self.state, self._row = Seen.RUNNING, "RUNNING", None

    def end(self, seen: Seen, state: str, now_ms: int) -> None:
        """Note that it is over."""
        self.seen, self.state, self.ended_ms, self._row = seen, state, now_ms, None

    def row(self) -> Row:
        """Return what `squeue` shows of it."""
        if self._row is None:
            self._row = self._made_row()
        return self._row

    def _made_row(self) -> Row:
        began = self.started_ms >= 0
        ends_ms = self.ended_ms if self.over else self.started_ms + self.walltime_ms
        return Row(
            str(self.number),
            self.name,
            self.seen,
            started_s=self.started_ms / MS if began else None,
            ends_s=ends_ms / MS if began or self.over else None,
            node=node_name(self.node) if began else "",
            state=self.state,
        )


def node_name(node: int) -> str:
    """Return a node's name."""
    return f"n{node}"


class Slurm(Protocol):
    """Hands out nodes; calls what it was made with when an allocation starts."""

    def submit(self, allocation: Allocation) -> None:
        """Add an allocation."""

    def cancel(self, allocation: Allocation) -> None:
        """Cancel one that has not started; do nothing if it has."""

    def freed(self, allocation: Allocation) -> None:
        """Record that a running one has ended."""

    def expected_wait_s(self, shape: Shape, walltime_s: int) -> float | None:
        """Return how long such an allocation would wait, for all Slurm can tell."""


class Lottery:
    """Every allocation waits for a time of its own, see `model.Waits`. Implements `Slurm`."""

    def __init__(
        self, clock: Clock, waits: Waits, nodes: int, luck: RandomStreams,
        started: Callable[[Allocation], None],
    ) -> None:  # fmt: skip
        self._clock, self._waits, self._nodes = clock, waits, nodes
        self._luck, self._started = luck, started

    def submit(self, allocation: Allocation) -> None:
        number, cores = allocation.number, allocation.shape.cores
        walltime_s = allocation.walltime_ms // MS
        delay_ms = self._luck.wait_ms(number, cores, walltime_s, self._waits)
        self._clock.after(delay_ms, lambda: self._start(allocation))

    def cancel(self, allocation: Allocation) -> None:
        if not allocation.runs and not allocation.over:
            allocation.end(Seen.CANCELLED, "CANCELLED", self._clock.now)

    def freed(self, allocation: Allocation) -> None:
        pass

    def expected_wait_s(self, shape: Shape, walltime_s: int) -> float | None:
        return median_wait_s(self._waits, shape.cores, walltime_s)

    def _start(self, allocation: Allocation) -> None:
        if not allocation.over:
            good = [node for node in range(self._nodes) if node not in allocation.avoid]
            node = self._luck.node(allocation.number, good or list(range(self._nodes)))
            allocation.begin(node, self._clock.now)
            self._started(allocation)
