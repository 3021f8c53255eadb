"""The words the decisions are made in: immutable values, times in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

MEMORY_QUANTUM_MB = 128
"""A slot hands out memory in multiples of this (MODIFY_REQUEST_EXPR_REQUESTMEMORY, HTCondor manual,
configuration of the condor_startd)."""

UNLIMITED_MB = 10**9
"""Stands for a disk whose size nobody told us."""


@dataclass(frozen=True, order=True)
class Shape:
    """What a job asks for or a pilot offers: cores, memory and disk in megabytes, GPUs."""

    cores: int
    memory_mb: int
    disk_mb: int = 0
    gpus: int = 0

    def _amounts(self) -> tuple[int, int, int, int]:
        return self.cores, self.memory_mb, self.disk_mb, self.gpus

    def __sub__(self, other: Shape) -> Shape:
        pairs = zip(self._amounts(), other._amounts(), strict=True)
        return Shape(*(mine - theirs for mine, theirs in pairs))

    def holds(self, other: Shape) -> int:
        """Return how many of `other`, which asks for something, fit in this shape at once."""
        pairs = zip(self._amounts(), other._amounts(), strict=True)
        return max(0, min(mine // theirs for mine, theirs in pairs if theirs))

    def times(self, count: int) -> Shape:
        """Return `count` of this shape taken together."""
        return Shape(*(amount * count for amount in self._amounts()))

    def __str__(self) -> str:
        text = f"{self.cores} core{'s' * (self.cores != 1)}, {self.memory_mb} MB"
        if 0 < self.disk_mb < UNLIMITED_MB:
            text += f", {self.disk_mb} MB disk"
        return text + (f", {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else "")


@dataclass(frozen=True, order=True)
class JobClass:
    """Jobs that are alike for scaling. `runtime_s` is 0 where the rule does not say."""

    shape: Shape
    runtime_s: int = 0


@dataclass(frozen=True, order=True)
class Request:
    """All that a job asks of a slot. Jobs that ask for the same are submitted together.

    `transfer_image` is False where pilots can read the image at its path. `extras` are further
    lines of the submit description (command or `My.Attribute`, and its text), already checked.
    """

    job_class: JobClass
    container_image: str = ""
    transfer_image: bool = True
    gpu_model: str = ""
    gpu_manufacturer: str = ""
    extras: tuple[tuple[str, str], ...] = ()


class PilotState(Enum):
    """Where a pilot is in its life; the legal moves are in `core.lifecycle`."""

    INTENDED = "intended"
    PENDING = "pending"
    RUNNING = "running"
    ENDING = "ending"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether the allocation is gone for good."""
        return self in (PilotState.DONE, PilotState.FAILED, PilotState.CANCELLED)


@dataclass(frozen=True)
class Pilot:
    """One pilot and the allocation (Slurm job) that holds it.

    `shape` is what it offers to jobs, `ends_s` when it takes its last breath (None: not known
    before it runs), `started_s`/`ended_s` the allocation's own times.
    """

    name: str
    shape: Shape
    state: PilotState = PilotState.INTENDED
    allocation_id: str = ""
    since_s: float = 0.0
    started_s: float | None = None
    ends_s: float | None = None
    ended_s: float | None = None
    node: str = ""
    pending_reason: str = ""
    absent_looks: int = 0


@dataclass(frozen=True)
class Policy:
    """The user's limits. `walltime_s` is the life of a new pilot that jobs can count on."""

    pilot_shape: Shape
    walltime_s: int
    pilots_max: int
    launches_max: int = 10


@dataclass(frozen=True)
class Snapshot:
    """All that a plan may know: waiting jobs by class, pilots, and what runs on each pilot."""

    now_s: float
    waiting: Mapping[JobClass, int]
    pilots: tuple[Pilot, ...] = ()
    running: Mapping[str, Mapping[JobClass, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    """Start one more pilot of the policy's shape."""

    reason: str


@dataclass(frozen=True)
class Cancel:
    """Take a pending pilot back."""

    pilot: str
    reason: str


@dataclass(frozen=True)
class Plan:
    """What to do next. `unfit` are classes that no pilot of this policy can ever hold."""

    actions: tuple[Launch | Cancel, ...] = ()
    unfit: tuple[JobClass, ...] = ()
