"""Scenarios of the published comparison: thirteen workflows at a site, four with faults."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Protocol

from ..errors import InputError
from ..model.resources import UNBOUNDED_MB, PilotType, Policy, Shape
from ..simulator.model import Faults, Outage, Site, Waits, Workload
from ..simulator.workloads import FAMILIES, made

WALLTIMES_S = tuple(60 * minutes for minutes in (30, 60, 120, 240, 480, 720, 1440))
OFFERS = tuple(
    PilotType(f"{cores}c", Shape(cores, 4000 * cores, UNBOUNDED_MB), WALLTIMES_S)
    for cores in (16, 8, 4)
)
"""The pilot types of a partition with pilots of 16 cores: the whole, half, a quarter."""

NORMAL = Site("normal", OFFERS, waits=Waits(median_s=900.0))
"""Pilots of 16 cores for eight hours wait a quarter of an hour, small and short ones less."""

SLOW = replace(NORMAL, name="slow queue", waits=Waits(median_s=7200.0))
OUTAGE = replace(
    NORMAL, name="outage", faults=Faults(outages=(Outage(0.0, 2400.0),), fails_after_s=60.0)
)
FAILING = replace(NORMAL, name="failing nodes", faults=Faults(failed_starts=0.2, bad_nodes=2))

LIMITS = Policy(OFFERS, pilots_max=80, pending_max=80, cores_max=320)
"""The same for every policy: 320 cores at a time. Everything else is our default."""

TIGHT = 1.2
"""The exhausted budget, as a multiple of the core-hours that jobs need."""


class Maker(Protocol):
    """Makes the workflow of a seed, of about so many jobs if it can have any number."""

    def __call__(self, seed: int, jobs: int | None = None) -> Workload: ...


@dataclass(frozen=True)
class Scenario:
    """Workflows at a site. `budget` caps the charge at a multiple of the jobs' need.

    `option` is what the command line needs to name it.
    """

    name: str
    make: Maker
    site: Site = NORMAL
    budget: float | None = None
    limits: Policy = field(default=LIMITS)
    option: str = ""

    def workload(self, seed: int, jobs: int | None = None) -> Workload:
        """Return the workflow of this seed."""
        return self.make(seed, jobs)

    @cached_property
    def stamp(self) -> str:
        """Distinguishes it from others of the same user-given name."""
        return hashlib.sha256(pickle.dumps((self.make, self.site, self.limits))).hexdigest()

    def policy(self, workload: Workload) -> Policy:
        """Return the limits for `workload`."""
        if self.budget is None:
            return self.limits
        work_core_s = sum(
            workload.steps[step].shape.cores * runtime_s
            for step, runtime_s in zip(workload.step_of, workload.runtime_s, strict=True)
        )
        return replace(self.limits, core_s_max=self.budget * work_core_s)


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *(Scenario(family, partial(made, family)) for family in FAMILIES),
        Scenario("outage", partial(made, "bag"), OUTAGE),
        Scenario("slow-queue", partial(made, "rounds"), SLOW),
        Scenario("failing-nodes", partial(made, "mixed"), FAILING),
        Scenario("budget", partial(made, "bag"), NORMAL, TIGHT),
    )
}

_given: dict[str, Scenario] = {}


def give(scenarios: Iterable[Scenario]) -> None:
    """Register scenarios by name in this process, with priority over the built-in ones."""
    _given.update({scenario.name: scenario for scenario in scenarios})


def given() -> tuple[Scenario, ...]:
    """Return what was given."""
    return tuple(_given.values())


def scenario(name: str) -> Scenario:
    """Return a scenario by name. Raises `InputError`."""
    try:
        return _given.get(name) or SCENARIOS[name]
    except KeyError as error:
        raise InputError(
            f"there is no workload {name!r}; known are {', '.join(SCENARIOS)}"
        ) from error
