"""Resources, job classes, pilots and policy: immutable values; times in seconds since the epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import NamedTuple

MEMORY_QUANTUM_MB = 128
"""A slot hands out memory in multiples of this (MODIFY_REQUEST_EXPR_REQUESTMEMORY, HTCondor manual,
configuration of the condor_startd)."""

UNBOUNDED = UNBOUNDED_MB = 10**9
"""Stands for an unknown bound, such as a disk of unknown size."""

OWN_ROOT = "OSGPilotOwnRoot"
"""Attribute of a job: true to start its container with a writable root file system in memory."""

END_MARGIN_S = 240
"""Margin between retirement and the Slurm time limit: HTCondor checks the end of life once per
MASTER_UPDATE_INTERVAL (60 s), then jobs and daemons need time to leave."""


class Shape(NamedTuple):
    """Requested or offered resources: cores, memory and disk in megabytes, GPUs."""

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
        """Return how many of `other`, which is not empty, fit into this shape at once."""
        # unrolled: the planner spends most of its time here
        count = self.cores // other.cores if other.cores else UNBOUNDED
        if other.memory_mb:
            count = min(count, self.memory_mb // other.memory_mb)
        if other.disk_mb:
            count = min(count, self.disk_mb // other.disk_mb)
        if other.gpus:
            count = min(count, self.gpus // other.gpus)
        return max(0, count)

    def times(self, count: int) -> Shape:
        """Return the sum of `count` of this shape."""
        return Shape(
            self.cores * count, self.memory_mb * count, self.disk_mb * count, self.gpus * count
        )

    def __str__(self) -> str:
        text = f"{self.cores} core{'s' * (self.cores != 1)}, {self.memory_mb} MB"
        if 0 < self.disk_mb < UNBOUNDED_MB:
            text += f", {self.disk_mb} MB disk"
        return text + (f", {self.gpus} GPU{'s' * (self.gpus != 1)}" if self.gpus else "")


class JobClass(NamedTuple):
    """Jobs that are equivalent for scaling. `runtime_s` is 0 if the rule does not declare it.

    `offers` names the only pilot types that may run them; empty means any.
    """

    shape: Shape
    runtime_s: int = 0
    offers: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class Request:
    """Everything a job requests of a slot. Jobs with equal requests are submitted together.

    `transfer_image` is False where pilots can read the image at its path; otherwise a `common`
    image may be sent once for several jobs. `extras` are validated further lines of the submit
    description (command or `My.Attribute`, and its text).
    """

    job_class: JobClass
    container_image: str = ""
    transfer_image: bool = True
    gpu_model: str = ""
    gpu_manufacturer: str = ""
    extras: tuple[tuple[str, str], ...] = ()
    common: bool = True


class PilotState(Enum):
    """The state of a pilot; `pilots.state.lifecycle` has the legal transitions."""

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
        """True if the allocation has ended."""
        self.waits = name in ("intended", "pending")
        """True if Slurm has not started the allocation yet."""
        self.serves = not self.over and name != "draining"
        """True if it accepts jobs, now or once it has started."""


@dataclass(frozen=True)
class PilotType:
    """A type of pilot that a site can start; the name is PARTITION/SHAPE, or SITE:PARTITION/SHAPE
    if the run has several sites.

    `shape` is available to jobs, `walltimes_s` are the possible walltimes in increasing order.
    `allocated_cores` is what Slurm gives such a pilot, which may be more than it asks for (0: not
    known). `price` is the cost of a core-hour at its `site`, in the unit of the site files.
    """

    name: str
    shape: Shape
    walltimes_s: tuple[int, ...]
    allocated_cores: int = 0
    site: str = ""
    price: float = 1.0

    @property
    def charged_cores(self) -> int:
        """The cores that are charged."""
        return self.allocated_cores or self.shape.cores

    @property
    def walltime_max_s(self) -> int:
        return self.walltimes_s[-1]


@dataclass(frozen=True)
class Pilot:
    """One pilot and the allocation (Slurm job) that holds it.

    `shape` is available to jobs, `offer` names its type, `walltime_s` was requested from Slurm at
    `asked_s`. `since_s` is when it entered its state, `started_s` and `ended_s` are the
    allocation's times, `ends_s` is when Slurm ends it (None before it runs). `unneeded_since_s` is
    set while no plan has a use for it. `failure` is the reason for a failure, Slurm's or ours.
    `allocated_cores` is what Slurm gave it, 0 before it is known. `site` is where it was requested.
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
    allocated_cores: int = 0
    site: str = ""

    @property
    def charged_cores(self) -> int:
        """The cores that are charged: those of the allocation, as far as known."""
        return self.allocated_cores or self.shape.cores


@dataclass(frozen=True)
class SiteLimits:
    """Limits on the pilots at one site (None: no limit), besides those of all together."""

    site: str
    pilots_max: int | None = None
    cores_max: int | None = None
    core_s_max: float | None = None


@dataclass(frozen=True)
class Policy:
    """User limits and cost/speed preference.

    `cost_weight` weighs core-hours against time, see `scaling.planner.target_size`; `core_s_max`
    limits the total charge (None: no limit). `life_taken_s` is the part of a pilot's walltime that
    boot and orderly shutdown take. `launches_max` limits the launches of one plan. `pending_max`
    holds for the queue of each site.
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
    launches_max: int = 10
    site_limits: tuple[SiteLimits, ...] = ()

    @cached_property
    def limits_of(self) -> Mapping[str, SiteLimits]:
        """The limits of sites that have some, by site."""
        return {limits.site: limits for limits in self.site_limits}

    @cached_property
    def sites(self) -> tuple[str, ...]:
        """The sites, in the order of their pilot types."""
        return tuple(dict.fromkeys(offer.site for offer in self.offers))

    def with_allocated(self, cores: Mapping[str, int]) -> Policy:
        """Return the policy with what Slurm gives pilots, by the name of their type."""
        offers = tuple(
            replace(offer, allocated_cores=cores.get(offer.name, offer.allocated_cores))
            for offer in self.offers
        )
        return self if offers == self.offers else replace(self, offers=offers)

    @property
    def pilot_life_s(self) -> int:
        """The time for which jobs can use a new pilot, at most."""
        return max(offer.walltime_max_s for offer in self.offers) - self.life_taken_s


_UNITS = (("core", "cores"), ("MB of memory",) * 2, ("MB of disk",) * 2, ("GPU", "GPUs"))


def may_run_on(job_class: JobClass, offer: str) -> bool:
    """Return True if jobs of this class may run on pilots of this type."""
    return not job_class.offers or offer in job_class.offers


def lacks(job_class: JobClass, room: Shape, life_s: float) -> list[str]:
    """Return what `room`, which lasts for `life_s`, lacks for one job of this class."""
    gaps = [needs - has for needs, has in zip(job_class.shape, room, strict=True)]
    missing = [f"{n} {unit[n != 1]}" for n, unit in zip(gaps, _UNITS, strict=True) if n > 0]
    over_s = job_class.runtime_s - life_s
    return missing + ([f"{over_s // 60 + 1:.0f} min of life"] if over_s >= 0 else [])
