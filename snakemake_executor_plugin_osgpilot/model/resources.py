"""The words the decisions are made in: immutable values, times in seconds since the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

MEMORY_QUANTUM_MB = 128
"""A slot hands out memory in multiples of this (MODIFY_REQUEST_EXPR_REQUESTMEMORY, HTCondor manual,
configuration of the condor_startd)."""

UNBOUNDED = UNBOUNDED_MB = 10**9
"""Stands for what has no bound that we know, such as a disk whose size nobody told us."""


END_MARGIN_S = 240
"""A pilot retires so long before Slurm ends it: HTCondor looks at its end of life once per
MASTER_UPDATE_INTERVAL (60 s), then jobs and daemons need time to leave."""


class Shape(NamedTuple):
    """What a job asks for or a pilot offers: cores, memory and disk in megabytes, GPUs."""

    cores: int
    memory_mb: int
    disk_mb: int = 0
    gpus: int = 0

    def __sub__(self, other: Shape) -> Shape:
        return Shape(
            self.cores - other.cores,
            self.memory_mb - other.memory_mb,
            self.disk_mb - other.disk_mb,
            self.gpus - other.gpus,
        )

    def holds(self, other: Shape) -> int:
        """Return how many of `other`, which asks for something, fit in this shape at once."""
        # spelled out: this is what a plan spends its time on
        count = self.cores // other.cores if other.cores else UNBOUNDED
        if other.memory_mb:
            count = min(count, self.memory_mb // other.memory_mb)
        if other.disk_mb:
            count = min(count, self.disk_mb // other.disk_mb)
        if other.gpus:
            count = min(count, self.gpus // other.gpus)
        return max(0, count)

    def times(self, count: int) -> Shape:
        """Return `count` of this shape taken together."""
        return Shape(
            self.cores * count, self.memory_mb * count, self.disk_mb * count, self.gpus * count
        )

    def __str__(self) -> str:
        text = f"{self.cores} core{'s' * (self.cores != 1)}, {self.memory_mb} MB"
        if 0 < self.disk_mb < UNBOUNDED_MB:
            text += f", {self.disk_mb} MB disk"
        return text + (f", {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else "")


class JobClass(NamedTuple):
    """Jobs that are alike for scaling. `runtime_s` is 0 where the rule does not say.

    `offers` names those whose pilots alone may run them; none means that any may.
    """

    shape: Shape
    runtime_s: int = 0
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Request:
    """All that a job asks of a slot. Jobs that ask for the same are submitted together.

    `transfer_image` is False where pilots can read the image at its path; else it may be sent ahead
    for several jobs if it is `common`. `extras` are further lines of the submit description
    (command or `My.Attribute`, and its text), already checked.
    """

    job_class: JobClass
    container_image: str = ""
    transfer_image: bool = True
    gpu_model: str = ""
    gpu_manufacturer: str = ""
    extras: tuple[tuple[str, str], ...] = ()
    common: bool = True


class PilotState(Enum):
    """Where a pilot is in its life; the legal moves are in `core.lifecycle`."""

    INTENDED = "intended"
    PENDING = "pending"
    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    def __init__(self, name: str) -> None:
        self.over = name in ("done", "failed", "cancelled")
        """Whether the allocation is gone for good."""
        self.waits = name in ("intended", "pending")
        """Whether Slurm has not started the allocation yet."""
        self.serves = not self.over and name != "draining"
        """Whether it takes jobs, now or as soon as it is there."""


@dataclass(frozen=True)
class PilotType:
    """A kind of pilot that the site lets us start; the name is PARTITION/SHAPE.

    `shape` is what jobs get of it, `walltimes_s` the lives it can have, in increasing order.
    """

    name: str
    shape: Shape
    walltimes_s: tuple[int, ...]

    @property
    def walltime_max_s(self) -> int:
        return self.walltimes_s[-1]


@dataclass(frozen=True)
class Pilot:
    """One pilot and the allocation (Slurm job) that holds it.

    `shape` is what it offers to jobs, `offer` the kind it is of, `walltime_s` what Slurm was asked
    for at `asked_s`. `since_s` is when it came to its state, `started_s`/`ended_s` the allocation's
    own times, `ends_s` when Slurm ends it (None: not known before it runs). `unneeded_since_s` is
    set while no plan has a use for it. `failure` says in Slurm's or our words how it failed.
    """

    name: str
    shape: Shape
    state: PilotState = PilotState.INTENDED
    offer: str = ""
    walltime_s: int = 0
    allocation_id: str = ""
    asked_s: float = 0.0
    since_s: float = 0.0
    started_s: float | None = None
    ends_s: float | None = None
    ended_s: float | None = None
    unneeded_since_s: float | None = None
    node: str = ""
    pending_reason: str = ""
    failure: str = ""
    absent_looks: int = 0


@dataclass(frozen=True)
class Policy:
    """The user's limits and taste.

    `cost_weight` weighs core-hours against time, see `target_size`; `core_s_max` caps what may ever
    be charged (None: no cap). `life_taken_s` is what boot and orderly end take off a pilot's
    walltime before a job can count on the rest. `launches_max` is how many may be started by one
    plan.
    """

    offers: tuple[PilotType, ...]
    pilots_max: int = 10
    pending_max: int = 10
    cores_max: int | None = None
    core_s_max: float | None = None
    cost_weight: float = 0.5
    life_taken_s: int = 600
    patience_s: float = 60.0
    stale_s: float = 60.0
    launches_max: int = 3

    @property
    def pilot_life_s(self) -> int:
        """How long jobs can count on a new pilot, in seconds."""
        return max(offer.walltime_max_s for offer in self.offers) - self.life_taken_s


_NAMES = ("cores", "MB of memory", "MB of disk", "GPUs")


def may_run_on(job_class: JobClass, offer: str) -> bool:
    """Whether jobs of this class do not want pilots of other offers."""
    return not job_class.offers or offer in job_class.offers


def lacks(job_class: JobClass, room: Shape, life_s: float) -> list[str]:
    """Return what is missing in `room`, which lives for `life_s`, for one job of this class."""
    gaps = zip(job_class.shape, room, _NAMES, strict=True)
    missing = [f"{needs - has} {name}" for needs, has, name in gaps if needs > has]
    over_s = job_class.runtime_s - life_s
    return missing + ([f"{over_s // 60 + 1:.0f} min of life"] if over_s >= 0 else [])
