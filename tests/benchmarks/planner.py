"""One plan for 100,000 waiting jobs in 50 classes and 1,000 pilots, many times over.

Needs no pool. The last line reads `planner p99_ms X`; the line before compares with the same plan
for a hundredth of the jobs, which shows that time does not grow with them.
"""

from __future__ import annotations

import random
import time

from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

CLASSES, PILOTS, REPEATS = 50, 1000, 200
OFFERS = tuple(
    PilotType(f"c{cores}", Shape(cores, 4000 * cores, 10**6), (3600, 14400, 86400))
    for cores in (4, 16, 64)
)
STATES = (PilotState.PENDING, PilotState.BOOTING, PilotState.READY, PilotState.READY)


def snapshot(rng: random.Random, jobs: int) -> Snapshot:
    """Return a busy moment: pilots of three shapes in all states, most of them full."""
    classes = [
        JobClass(
            Shape(rng.choice((1, 1, 1, 2, 4, 8)), 500 * (number + 1), rng.choice((1000, 2000))),
            rng.choice((0, 900, 3600, 14400)),
        )
        for number in range(CLASSES)
    ]
    pilots, running = [], {}
    for number in range(PILOTS):
        offer, state = rng.choice(OFFERS), rng.choice(STATES)
        started_s = None if state.waits else rng.uniform(-20000, 0)
        ends_s = None if started_s is None else started_s + 86400
        pilots.append(
            Pilot(
                f"p{number:04}",
                offer.shape,
                state,
                offer.name,
                86400,
                started_s=started_s,
                ends_s=ends_s,
                asked_s=rng.uniform(-3000, 0),
            )
        )
        if state is PilotState.READY:
            job_class = rng.choice(classes)
            most = offer.shape.holds(job_class.shape)
            if most:
                count = max(1, most - rng.choice((0, 0, 0, 1)))
                running[f"p{number:04}"] = (Running(job_class, count, rng.uniform(-600, 0)),)
    waiting = dict.fromkeys(classes, jobs // CLASSES)
    return Snapshot(0.0, waiting, tuple(pilots), running, later=jobs)


def p99_ms(jobs: int) -> float:
    """Return the 99th percentile of the processor time of one plan, in milliseconds."""
    policy = Policy(OFFERS, pilots_max=1500, pending_max=500, launches_max=10)
    known = Estimates(waits_s={offer.name: (600.0,) for offer in OFFERS}, boots_s=(120.0,))
    spent = []
    for number in range(REPEATS):
        moment = snapshot(random.Random(number), jobs)
        begun = time.process_time()
        decided = plan(moment, known, policy)
        spent.append(time.process_time() - begun)
        assert decided.forecast.work_core_s > 0
    return 1000 * sorted(spent)[int(REPEATS * 0.99) - 1]


def main() -> None:
    few, many = p99_ms(1000), p99_ms(100_000)
    print(f"planner ratio_100k_to_1k_jobs {many / few:.2f}")
    print(f"planner p99_ms {many:.1f}")


if __name__ == "__main__":
    main()
