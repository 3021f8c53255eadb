"""What a plan may know: one moment of a run, as far as it has been answered for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)


class Running(NamedTuple):
    """Jobs of one class on one pilot; `since_s` is the mean of their starts."""

    job_class: JobClass
    jobs: int
    since_s: float


def ages_s(running: Mapping[str, tuple[Running, ...]], now_s: float) -> dict[JobClass, float]:
    """Return for how long the oldest jobs of each class have been running."""
    found: dict[JobClass, float] = {}
    for groups in running.values():
        for job_class, _, since_s in groups:
            found[job_class] = max(found.get(job_class, 0.0), now_s - since_s)
    return found


class UpcomingGroup(NamedTuple):
    """Jobs that become ready at about `ready_s`; None: when the jobs now waiting are through."""

    job_class: JobClass
    jobs: int
    ready_s: float | None


class Gate(NamedTuple):
    """How many pilots of an offer may be started now, by which rule, and why not more."""

    launches_max: int
    reason: str
    rule: str = "breaker"


@dataclass(frozen=True)
class Commitment:
    """What pilots take of the limits; grows with every launch that is admitted."""

    pilots: int = 0
    pending: int = 0
    cores: int = 0
    core_s: float = 0.0
    launched: int = 0

    def plus(self, offer: PilotType, walltime_s: int, count: int) -> Commitment:
        """Return this with `count` more pilots."""
        cores = offer.shape.cores * count
        return self + Commitment(count, count, cores, cores * walltime_s, count)

    def __add__(self, other: Commitment) -> Commitment:
        return Commitment(
            self.pilots + other.pilots,
            self.pending + other.pending,
            self.cores + other.cores,
            self.core_s + other.core_s,
            self.launched + other.launched,
        )


@dataclass(frozen=True)
class Snapshot:
    """All that a plan may know, as of the answers we had at `looked_s`.

    `waiting` counts ready jobs by class, `running` tells what runs on each pilot, `soon` what comes
    next, `later` how many jobs of the workflow are further off, `further` what is known of them by
    class, `chain` the longest chain of jobs that have not ended. `gates` says of offers in trouble
    how many pilots may be started at most, and why not more, `shunned` of pilots why they are to
    get no more jobs. `others` is what jobs that are not of the run
    take of pilots, `elsewhere` what other runs of the same workflow take of the limits.
    """

    now_s: float
    waiting: Mapping[JobClass, int]
    pilots: tuple[Pilot, ...] = ()
    running: Mapping[str, tuple[Running, ...]] = field(default_factory=dict)
    soon: tuple[UpcomingGroup, ...] = ()
    later: int = 0
    further: Mapping[JobClass, int] = field(default_factory=dict)
    chain: Mapping[JobClass, int] = field(default_factory=dict)
    gates: Mapping[str, Gate] = field(default_factory=dict)
    shunned: Mapping[str, str] = field(default_factory=dict)
    looked_s: float | None = None
    others: Mapping[str, Shape] = field(default_factory=dict)
    elsewhere: Commitment = Commitment()

    def after(self, launches: Iterable[Launch], policy: Policy) -> Snapshot:
        """Return the same once the pilots of `launches` are in Slurm's queue."""
        shapes = {offer.name: offer.shape for offer in policy.offers}
        asked = tuple(
            Pilot(
                f"~{number:06}",
                shapes[launch.offer],
                PilotState.PENDING,
                offer=launch.offer,
                walltime_s=launch.walltime_s,
                asked_s=self.now_s,
                since_s=self.now_s,
            )
            for number, launch in enumerate(launches, len(self.pilots))
        )
        return replace(self, pilots=self.pilots + asked)
