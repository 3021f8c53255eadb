"""What is simulated for the published comparison: twelve workflows at a site, four in trouble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from snakemake_executor_plugin_osgpilot.core.model import Offer, Policy, Shape
from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.simulate.model import (
    Faults,
    Outage,
    Site,
    Waits,
    Workload,
)
from snakemake_executor_plugin_osgpilot.simulate.workloads import FAMILIES, made

WALLTIMES_S = tuple(60 * minutes for minutes in (30, 60, 120, 240, 480, 720, 1440))
OFFERS = tuple(Offer(f"{cores}c", Shape(cores, 4000 * cores), WALLTIMES_S) for cores in (16, 8, 4))
"""What a site file gives for a partition with pilots of 16 cores: the whole, half, a quarter."""

NORMAL = Site("normal", OFFERS, waits=Waits(median_s=900.0))
"""Pilots of 16 cores for eight hours wait a quarter of an hour, small and short ones less."""

SLOW = replace(NORMAL, name="slow queue", waits=Waits(median_s=7200.0))
OUTAGE = replace(
    NORMAL, name="outage", faults=Faults(outages=(Outage(0.0, 2400.0),), fails_after_s=60.0)
)
FAILING = replace(NORMAL, name="failing nodes", faults=Faults(failed_starts=0.2, bad_nodes=2))

LIMITS = Policy(OFFERS, pilots_max=80, pending_max=80, cores_max=320)
"""The same for every rule: 320 cores at a time. All else of ours is as it comes."""

TIGHT = 1.2
"""The exhausted budget, as a multiple of the core-hours that jobs need."""


@dataclass(frozen=True)
class Scenario:
    """A family of workflows at a site. `budget` caps the charge at a multiple of the jobs' need."""

    name: str
    family: str
    site: Site = NORMAL
    budget: float | None = None

    def workload(self, seed: int, jobs: int | None = None) -> Workload:
        """Return the workflow of this seed."""
        return made(self.family, seed, jobs)

    def policy(self, workload: Workload) -> Policy:
        """Return the limits for `workload`."""
        if self.budget is None:
            return LIMITS
        work_core_s = sum(
            workload.steps[step].shape.cores * runtime_s
            for step, runtime_s in zip(workload.step_of, workload.runtime_s, strict=True)
        )
        return replace(LIMITS, core_s_max=self.budget * work_core_s)


SCENARIOS: Mapping[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        *(Scenario(family, family) for family in FAMILIES),
        Scenario("outage", "bag", OUTAGE),
        Scenario("slow-queue", "rounds", SLOW),
        Scenario("failing-nodes", "mixed", FAILING),
        Scenario("budget", "bag", NORMAL, TIGHT),
    )
}


def scenario(name: str) -> Scenario:
    """Return a scenario by name. Raises `BadInput`."""
    try:
        return SCENARIOS[name]
    except KeyError as error:
        raise BadInput(
            f"there is no workload {name!r}; known are {', '.join(SCENARIOS)}"
        ) from error
