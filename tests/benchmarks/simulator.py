"""A million jobs in virtual time, as a bag and as chains of three: processor time and memory.

Needs no pool. The last lines read `simulator NAME_METRIC value`.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from array import array

from snakemake_executor_plugin_osgpilot.model.resources import UNBOUNDED, PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.simulator.model import CSR, Site, Step, Waits, Workload
from snakemake_executor_plugin_osgpilot.simulator.world import run

OFFERS = (
    PilotType("16c", Shape(16, 64_000, UNBOUNDED), (3600, 14_400, 28_800)),
    PilotType("64c", Shape(64, 256_000, UNBOUNDED), (3600, 14_400, 28_800, 86_400)),
)
POLICY = Policy(OFFERS, pilots_max=100, pending_max=50, cores_max=2000)
STEPS = (
    Step("first", Shape(1, 2048), 300),
    Step("second", Shape(2, 4096), 600),
    Step("third", Shape(1, 1024), 300),
)
MEANS_S = (60.0, 90.0, 30.0)


def bag(jobs: int, rng: random.Random) -> Workload:
    """Return jobs of one step that need nothing of each other."""
    runtime_s = array("f", (MEANS_S[0] * rng.lognormvariate(0, 0.5) for _ in range(jobs)))
    return Workload("bag", STEPS[:1], array("H", bytes(2 * jobs)), runtime_s, CSR.empty(jobs))


def chains(jobs: int, rng: random.Random) -> Workload:
    """Return chains of three jobs."""
    step_of = array("H", (job % 3 for job in range(jobs)))
    runtime_s = array("f", (MEANS_S[step] * rng.lognormvariate(0, 0.5) for step in step_of))
    parents = CSR.of((job - 1,) if job % 3 else () for job in range(jobs))
    return Workload("chains", STEPS, step_of, runtime_s, parents)


def measure(workload: Workload) -> None:
    """Simulate `workload`, print what it took."""
    site = Site("simulated", OFFERS, waits=Waits(900))
    begun_s = time.process_time()
    told = run(workload, site, plan, POLICY, 1)
    spent_s = time.process_time() - begun_s
    assert not told.jobs_left
    figures = {
        "s": round(spent_s, 1),
        "us_per_job": round(1e6 * spent_s / len(workload), 1),
        "looks": len(told.plan_s),
        "planner_s": round(sum(told.plan_s), 1),
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    for metric, value in figures.items():
        print(f"simulator {workload.name}_{metric} {value}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    arguments = parser.parse_args()
    for make in (bag, chains):
        measure(make(arguments.jobs, random.Random(1)))


if __name__ == "__main__":
    main()
