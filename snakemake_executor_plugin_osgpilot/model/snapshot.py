"""The planner's input: the state of a run at one moment, from answered queries only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

from .plan import Launch
from .resources import JobClass, Pilot, PilotState, PilotType, Policy, Shape


class Running(NamedTuple):
    """Running jobs of one class on one pilot; `since_s` is their mean start time."""

    job_class: JobClass
    jobs: int
    since_s: float


def ages_s(running: Mapping[str, tuple[Running, ...]], now_s: float) -> dict[JobClass, float]:
    """Return the age of the oldest running job of each class."""
    found: dict[JobClass, float] = {}
    for groups in running.values():
        for job_class, _, since_s in groups:
            found[job_class] = max(found.get(job_class, 0.0), now_s - since_s)
    return found


class UpcomingGroup(NamedTuple):
    """Jobs that become ready at about `ready_s`; None: when the jobs now waiting have finished."""

    job_class: JobClass
    jobs: int
    ready_s: float | None


class Gate(NamedTuple):
    """Maximum number of pilots of a type to start now, with the limiting rule and its reason."""

    launches_max: int
    reason: str
    rule: str = "breaker"


@dataclass(frozen=True)
class Commitment:
    """Use of the limits by pilots, in total and `by_site`; grows with every admitted launch."""

    pilots: int = 0
    pending: int = 0
    cores: int = 0
    core_s: float = 0.0
    launched: int = 0
    by_site: Mapping[str, Commitment] = field(default_factory=dict)

    def at(self, site: str) -> Commitment:
        """Return the part of it at a site; all of it if the site has no name."""
        return self.by_site.get(site, Commitment()) if site else self

    def plus(self, offer: PilotType, walltime_s: int, count: int) -> Commitment:
        """Return this with `count` more pilots."""
        cores = offer.charged_cores * count
        more = Commitment(count, count, cores, cores * walltime_s, count)
        return self + replace(more, by_site={offer.site: more} if offer.site else {})

    def __add__(self, other: Commitment) -> Commitment:
        sites = sorted(self.by_site.keys() | other.by_site.keys())
        return Commitment(
            self.pilots + other.pilots,
            self.pending + other.pending,
            self.cores + other.cores,
            self.core_s + other.core_s,
            self.launched + other.launched,
            {site: self.at(site) + other.at(site) for site in sites},
        )


@dataclass(frozen=True)
class Snapshot:
    """Everything a plan is based on, as answered at `looked_s`.

    `waiting` counts ready jobs by class, `running` has the jobs on each pilot, `soon` those that
    come next, `later` the number of jobs further off, `further` the known ones of these by class,
    `chain` the longest chain of unfinished jobs. `gates` limits launches of failing pilot types,
    `blocked` has pilots that get no more jobs, with the reason. `others` is the use of pilots by
    jobs of other runs, `elsewhere` the use of the limits by other runs of the same workflow.
    `silent` are sites whose Slurm has not answered for a while; nothing is decided about the pilots
    there, and those in `unconfirmed`, which the pool does not show either, do not count as supply.
    `begun_s` is when this process first had a job for a pilot.
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
    blocked: Mapping[str, str] = field(default_factory=dict)
    looked_s: float | None = None
    others: Mapping[str, Shape] = field(default_factory=dict)
    elsewhere: Commitment = Commitment()
    silent: frozenset[str] = frozenset()
    unconfirmed: frozenset[str] = frozenset()
    begun_s: float | None = None

    @property
    def elapsed_s(self) -> float:
        """The time since there was a job for a pilot."""
        return 0.0 if self.begun_s is None else max(0.0, self.now_s - self.begun_s)

    @cached_property
    def charged_core_s(self) -> float:
        """The core-seconds that pilots were charged in this time."""
        since_s = self.now_s - self.elapsed_s
        return sum(
            pilot.charged_cores * max(0.0, end_s - max(since_s, pilot.started_s))
            for pilot in self.pilots
            if pilot.started_s is not None
            for end_s in (self.now_s if pilot.ended_s is None else pilot.ended_s,)
        )

    def after(self, launches: Iterable[Launch], policy: Policy) -> Snapshot:
        """Return the snapshot with the pilots of `launches` in Slurm's queue."""
        offers = {offer.name: offer for offer in policy.offers}
        asked = tuple(
            Pilot(
                f"~{number:06}",
                offers[launch.offer].shape,
                PilotState.PENDING,
                offer=launch.offer,
                walltime_s=launch.walltime_s,
                asked_s=self.now_s,
                since_s=self.now_s,
                allocated_cores=offers[launch.offer].allocated_cores,
                site=offers[launch.offer].site,
            )
            for number, launch in enumerate(launches, len(self.pilots))
        )
        return replace(self, pilots=self.pilots + asked)
