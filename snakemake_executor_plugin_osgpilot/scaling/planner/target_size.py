"""The number of cores worth having, their walltime, and how long to keep them idle."""

from __future__ import annotations

import math
from typing import NamedTuple

from ...model.resources import PilotType

WALLTIME_MIN_S = 1800.0
"""Minimum walltime, unless the site allows less: boots would dominate."""

SAFETY_FACTOR = 1.25
"""Safety factor for work that takes longer than expected; a walltime that is too long only costs
a longer queue wait, one that is too short costs another boot."""


PAYABLE_SHARE = 0.85
"""Of a budget that seems too small for the work, jobs can use this share; the rest is for boots."""

GENERATIONS_MAX = 20
"""So many generations of pilots are looked ahead."""


class WorkPhase(NamedTuple):
    """A phase of a run: its work, the time before work can begin, and the time every core loses to
    boot and idling.

    Before it, the run has taken `elapsed_s` and was charged `spent_core_s`.
    """

    work_core_s: float
    lead_s: float
    overhead_s: float
    elapsed_s: float = 0.0
    spent_core_s: float = 0.0

    def time_s(self, cores: float) -> float:
        """Return the time it takes on `cores`."""
        return self.lead_s + self.work_core_s / cores

    def charged_core_s(self, cores: float) -> float:
        """Return the cost of `cores`."""
        return self.work_core_s + cores * self.overhead_s

    def price(self, time_s: float, charged_core_s: float, cost_weight: float) -> float:
        """Return what the whole run costs the user if the rest takes this time and charge."""
        time_s, charged_core_s = self.elapsed_s + time_s, self.spent_core_s + charged_core_s
        return float(time_s ** (1 - cost_weight) * charged_core_s**cost_weight)


def cores_worth_having(phase: WorkPhase, cost_weight: float) -> float:
    """Return the optimal number of cores; infinite for `cost_weight` 0.

    With K cores, the run takes T = elapsed + lead + work/K and costs C = spent + work + K·overhead.
    The result minimises T^(1-w)·C^w for `cost_weight` w: with 0.5, one per cent less time is worth
    one per cent more core-hours; with 0.2, four. Setting the derivative of its logarithm by K to
    zero gives a quadratic with one positive root.
    """
    if cost_weight <= 0:
        return math.inf
    work_core_s, lead_s, overhead_s, elapsed_s, spent_core_s = phase
    if work_core_s <= 0 or cost_weight >= 1:
        return 0.0
    fixed_s, overhead_s = max(elapsed_s + lead_s, 1.0), max(overhead_s, 1.0)
    a = cost_weight * overhead_s * fixed_s
    b = (1 - 2 * cost_weight) * overhead_s * work_core_s
    c = (1 - cost_weight) * work_core_s * (spent_core_s + work_core_s)
    return (b + math.sqrt(b * b + 4 * a * c)) / (2 * a)


def cores_for_all(
    near: WorkPhase, rest_core_s: float, serial_s: float, cost_weight: float
) -> float:
    """Return the optimal number of cores for `near` and the work that follows.

    `serial_s` is the time of the longest chain of jobs beyond the jobs in sight: no number of cores
    shortens it, and pilots kept for later work idle meanwhile (work takes at most
    T = serial + work/K, R. L. Graham, SIAM J. Appl. Math. 17, 1969). Alternatively, pilots end
    between two phases, and new ones start after another lead time. The cheaper one is chosen.
    """
    fresh = cores_worth_having(near, cost_weight)
    if rest_core_s <= 0 or not 0 < cost_weight < 1:
        return fresh
    work_core_s = near.work_core_s + rest_core_s
    whole = near._replace(
        work_core_s=work_core_s,
        lead_s=near.lead_s + serial_s,
        overhead_s=near.overhead_s + serial_s,
    )
    kept = cores_worth_having(whole, cost_weight)
    if fresh <= 0:
        return kept
    phases = work_core_s / near.work_core_s
    held_s = min(serial_s / phases, keep_idle_s(near.lead_s, cost_weight))
    renewed_s = phases * near.time_s(fresh) + serial_s
    renewed_core_s = phases * (near.charged_core_s(fresh) + fresh * held_s)
    renewed = near.price(renewed_s, renewed_core_s, cost_weight)
    price = whole.price(whole.time_s(kept), whole.charged_core_s(kept), cost_weight)
    return kept if price <= renewed else fresh


def walltime_s(offer: PilotType, longest_job_s: float, work_s: float, taken_s: float) -> int:
    """Return the shortest walltime of `offer` that is long enough, its longest if none is.

    `work_s` is how long there will be work, `taken_s` the time lost to boot and shutdown.
    """
    wanted_s = max(longest_job_s + SAFETY_FACTOR * work_s + taken_s, WALLTIME_MIN_S)
    return next((w for w in offer.walltimes_s if w >= wanted_s), offer.walltime_max_s)


class Renewal(NamedTuple):
    """Work for pilots that are replaced when they end: on `cores` at most, until the budget of
    `left_core_s` is used up.

    A job takes `job_s`, and starts only where `longest_job_s` are left. Every core loses `lost_s`
    to boot and to the jobs that end last beside it.
    """

    work_core_s: float
    cores: float
    left_core_s: float
    lead_s: float
    taken_s: float
    job_s: float
    longest_job_s: float
    lost_s: float

    def time_s(self, walltime_s: int) -> float:
        """Return the time for the work with pilots of this walltime, one generation after the
        other; what the budget does not suffice for counts as if done on one core.
        """
        work_core_s = min(self.work_core_s, PAYABLE_SHARE * self.left_core_s)
        left_core_s, time_s = self.left_core_s, 0.0
        for _ in range(GENERATIONS_MAX):
            cores = min(self.cores, left_core_s / walltime_s)
            if cores < 1 or work_core_s <= 0:
                break
            starts_s = walltime_s - self.taken_s - self.longest_job_s
            works_s = min(starts_s + self.job_s, work_core_s / cores)
            time_s += self.lead_s + works_s
            work_core_s -= cores * works_s
            left_core_s -= cores * (works_s + self.lost_s)
        return time_s + work_core_s


def affordable_walltime_s(offer: PilotType, wanted_s: int, renewal: Renewal) -> int:
    """Return `wanted_s`, or the walltime up to there that makes best use of a small budget.

    A pilot counts with its whole walltime until it has ended. Short walltimes admit more pilots at
    a time, which have to be replaced more often.
    """
    if renewal.cores * wanted_s <= renewal.left_core_s:
        return wanted_s
    least_s = renewal.taken_s + renewal.longest_job_s
    most_s = min(wanted_s, renewal.left_core_s / offer.charged_cores)
    listed = [w for w in offer.walltimes_s if least_s < w <= most_s]
    return min(reversed(listed), key=renewal.time_s, default=wanted_s)


def keep_idle_s(lead_s: float, cost_weight: float) -> float:
    """Return how long to keep an idle pilot while more work is upcoming.

    With `cost_weight` 0.5 as long as a new one would take to start: at most twice the cost of the
    best choice in hindsight (the ski-rental problem). A lower `cost_weight` keeps it longer.
    """
    if cost_weight <= 0:
        return math.inf
    return lead_s * (1 - cost_weight) / cost_weight
