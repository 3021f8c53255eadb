"""Small workloads and sites for tests of the simulator."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from snakemake_executor_plugin_osgpilot.model.resources import UNBOUNDED, PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.simulator.model import CSR, Site, Spread, Step, Workload

SMALL = PilotType("small", Shape(4, 16_000, UNBOUNDED), (3600, 14_400))
LARGE = PilotType("large", Shape(16, 64_000, UNBOUNDED), (3600, 14_400))
POLICY = Policy((SMALL, LARGE), pilots_max=20, pending_max=20)
ONE_CORE = Step("one", Shape(1, 1024), 600)
FOUR_CORES = Step("four", Shape(4, 4096), 1800)


def workload(
    steps: Sequence[Step],
    jobs: Sequence[tuple[int, float, Sequence[int]]],
    arrivals_s: Sequence[float] | None = None,
) -> Workload:
    """Return jobs of (number of the step, runtime, parents)."""
    return Workload(
        "test",
        tuple(steps),
        array("H", (step for step, _, _ in jobs)),
        array("f", (runtime_s for _, runtime_s, _ in jobs)),
        CSR.of(parents for _, _, parents in jobs),
        None if arrivals_s is None else array("f", arrivals_s),
    )


def bag(jobs: int, runtime_s: float = 300.0, step: Step = ONE_CORE) -> Workload:
    """Return jobs of one step that need nothing of each other."""
    return workload([step], [(0, runtime_s, ())] * jobs)


def quiet_site(**changes) -> Site:
    """Return a site without chance: an empty cluster on which every pilot boots in two minutes."""
    given = {"nodes": 10, "node_shape": Shape(16, 64_000), "boot": Spread(120.0)}
    return Site("quiet", POLICY.offers, **(given | changes))
