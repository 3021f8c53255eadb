"""Duration and cost of a workflow, from simulated runs."""

from __future__ import annotations

import time

from ..scaling.planner.bounds import Case, Expected, bounds, earliest_s
from ..scaling.planner.planner import plan
from ..simulator.calibrated_site import site_like
from ..simulator.model import BOOT, Outcome, Site, Spread
from ..simulator.world import run
from .synthetic_workload import SHARES, on_pilots

RUNS_MIN, FOR_S = 3, 5.0
"""Time for runs with different random numbers; at least three are made."""

WAIT_SIGMA = 0.6
"""Spread of waits in Slurm's queue: the standard deviation of their logarithm."""

TASKS_MAX, LINKS_MAX = 3_000, 200_000
"""Larger workflows would take too long to simulate; they get bounds."""


def simulated(case: Case) -> Expected:
    """Return the range over some simulated runs, or bounds where these cannot be had.

    In a simulation every pilot waits in Slurm's queue independently, for about the expected time.
    Jobs of rules without history all take the same share (`SHARES`) of their `runtime`: little,
    nearly all, or something in between. Jobs that do not run on pilots add the time by which they
    lengthen the critical path.
    """
    found = None
    if len(case.tasks) <= TASKS_MAX:
        found = on_pilots(case.tasks, case.parents, LINKS_MAX)
    if found is None:
        return bounds(case)
    apart_s = _path_s(case, elsewhere=True) - _path_s(case, elsewhere=False)
    until_s = time.monotonic() + FOR_S
    outcomes: list[Outcome] = []
    for seed in range(1, len(SHARES) + 1):
        if len(outcomes) >= RUNS_MIN and time.monotonic() > until_s:
            break
        outcomes.append(run(found(seed), _site(case), plan, case.policy, seed))
    if any(outcome.jobs_left for outcome in outcomes):
        return bounds(case)
    took_s = [outcome.makespan_s + apart_s for outcome in outcomes]
    core_h = [outcome.charged_core_s / 3600 for outcome in outcomes]
    how = f"{len(outcomes)} simulated runs"
    return Expected(
        (min(took_s), max(took_s)), (min(core_h), max(core_h)), how, unknown=case.unknown
    )


def _path_s(case: Case, *, elsewhere: bool) -> float:
    runtimes_s = [t.expected_s if t.on_pilot or elsewhere else 0.0 for t in case.tasks]
    return earliest_s(case.parents, runtimes_s)[1]


def _site(case: Case) -> Site:
    wait, boot = Spread(case.wait_s, WAIT_SIGMA), BOOT._replace(median_s=case.boot_s)
    return site_like("here", case.policy.offers, wait, boot, case.match_s)
