"""The common base of the policies: the state in their terms, and the limits of the site.

A rule here decides how many pilots there are. All else is the same for everybody: HTCondor matches
the jobs, idle pilots end when the pilot's own time is up, and when no job is left all pilots go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar, NamedTuple

from ...model.plan import Action, Cancel, Drain, Plan
from ...model.resources import UNBOUNDED, JobClass, Pilot, PilotState, PilotType, Policy
from ...model.snapshot import Snapshot
from ...scaling.planner.bin_packing import Bin
from ...scaling.planner.estimates import Estimates
from ...scaling.planner.feasibility import fits
from ...scaling.planner.limits import admit, commitment


class Ask(NamedTuple):
    """So many pilots of an offer, for this long."""

    offer: PilotType
    walltime_s: int
    pilots: int


@dataclass(frozen=True)
class Verdict:
    """The decision of a policy: pilots to start, and pilots to end in any state."""

    asks: tuple[Ask, ...] = ()
    release: tuple[Pilot, ...] = ()


NOTHING = Verdict()


@dataclass(frozen=True)
class Look:
    """A snapshot in the words that rules of scaling use. `idle_s` is how long each pilot that is up
    has been without a job.
    """

    snapshot: Snapshot
    estimates: Estimates
    policy: Policy
    idle_s: Mapping[str, float]

    @property
    def now_s(self) -> float:
        return self.snapshot.now_s

    def waiting(self, offer: PilotType) -> dict[JobClass, int]:
        """Return the jobs that wait and that a pilot of `offer` can run."""
        return {
            job_class: jobs
            for job_class, jobs in self.snapshot.waiting.items()
            if jobs > 0 and fits(job_class, offer, self.policy)
        }

    @cached_property
    def live(self) -> tuple[Pilot, ...]:
        return tuple(p for p in self.snapshot.pilots if p.state.serves)

    @cached_property
    def pending(self) -> tuple[Pilot, ...]:
        """The pilots in Slurm's queue."""
        return tuple(p for p in self.live if p.state.waits)

    @cached_property
    def booting(self) -> tuple[Pilot, ...]:
        return tuple(p for p in self.live if p.state is PilotState.BOOTING)

    @cached_property
    def ready(self) -> tuple[Pilot, ...]:
        return tuple(p for p in self.live if p.state is PilotState.READY)

    @cached_property
    def running(self) -> dict[JobClass, int]:
        """Return the jobs that run, by class."""
        sums: dict[JobClass, int] = {}
        for groups in self.snapshot.running.values():
            for group in groups:
                sums[group.job_class] = sums.get(group.job_class, 0) + group.jobs
        return sums

    @cached_property
    def rooms(self) -> tuple[Bin, ...]:
        """Free resources of the running pilots."""
        return tuple(self._rooms())

    def _rooms(self) -> Iterator[Bin]:
        for pilot in self.ready:
            free = pilot.shape
            for group in self.snapshot.running.get(pilot.name, ()):
                free -= group.job_class.shape.times(group.jobs)
            if min(free.cores, free.memory_mb) > 0:
                life_s = pilot.walltime_s if pilot.ends_s is None else pilot.ends_s - self.now_s
                yield Bin(free, life_s, (pilot.name,), pilot.offer)

    @property
    def free_cores(self) -> int:
        return sum(room.free.cores for room in self.rooms)

    def idle(self, at_least_s: float) -> list[Pilot]:
        """Return the pilots that have been idle so long, the longest first."""
        idle = [p for p in self.ready if self.idle_s.get(p.name, -1.0) >= at_least_s]
        return sorted(idle, key=lambda p: (-self.idle_s[p.name], p.name))


def jobs_in(demand: Mapping[JobClass, int]) -> int:
    return sum(demand.values())


def cores_in(demand: Mapping[JobClass, int]) -> int:
    return sum(job_class.shape.cores * jobs for job_class, jobs in demand.items())


def pilots_for(demand: Mapping[JobClass, int], offer: PilotType) -> int:
    """Return how many pilots have the sum of what jobs ask for, in the scarcest dimension."""
    sums = [sum(c.shape[k] * jobs for c, jobs in demand.items()) for k in range(4)]
    return max(
        (-(-load // most) for load, most in zip(sums, offer.shape, strict=True) if most), default=0
    )


@dataclass
class Rule:
    """Base of all rules: pilots of one offer and one walltime. Remembers, so one for each run."""

    heeds_gates: ClassVar[bool] = False
    """True if pilots that start end at once while our circuit breaker is open."""

    offer: PilotType
    walltime_s: int
    idle_s: float = field(default=600.0, kw_only=True)
    _idle_since_s: dict[str, float] = field(default_factory=dict, init=False, repr=False)

    def decide(self, look: Look) -> Verdict:
        """Return what the rule says. For subclasses."""
        raise NotImplementedError

    def ask(self, count: float) -> tuple[Ask, ...]:
        """Return the wish for `count` pilots more."""
        return (Ask(self.offer, self.walltime_s, int(count)),) if count >= 1 else ()

    def __call__(self, snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Plan:
        """Decide on what the planner would be given."""
        look = Look(snapshot, estimates, policy, self._idle(snapshot))
        left = snapshot.soon or snapshot.later or look.running or any(snapshot.waiting.values())
        if not left:
            return Plan(tuple(_released(look.live, "no job is left")))
        verdict = self.decide(look)
        return Plan((*_launched(verdict.asks, look), *_released(verdict.release, "surplus")))

    def _idle(self, snapshot: Snapshot) -> dict[str, float]:
        self._idle_since_s = {
            pilot.name: self._idle_since_s.get(pilot.name, snapshot.now_s)
            for pilot in snapshot.pilots
            if pilot.state is PilotState.READY and not snapshot.running.get(pilot.name)
        }
        return {name: snapshot.now_s - since_s for name, since_s in self._idle_since_s.items()}


def _launched(asks: Iterable[Ask], look: Look) -> Iterator[Action]:
    """Apply what holds for everybody: the site's cores and the budget, as Slurm keeps them."""
    everybody = replace(look.policy, pending_max=UNBOUNDED, launches_max=UNBOUNDED)
    launches, _ = admit(asks, commitment(look.snapshot), everybody, {}, "rule")
    yield from launches


def _released(pilots: Iterable[Pilot], reason: str) -> Iterator[Action]:
    for pilot in pilots:
        if pilot.state.waits:
            yield Cancel(pilot.name, reason)
        elif pilot.state.serves:
            yield Drain(pilot.name, reason)
