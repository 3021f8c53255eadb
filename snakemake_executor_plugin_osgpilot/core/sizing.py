"""How many cores are worth having, for how long, and how long to keep them idle."""

from __future__ import annotations

import math

from snakemake_executor_plugin_osgpilot.core.model import Offer

WALLTIME_MIN_S = 1800.0
"""No pilot asks for less than this, unless the site allows no more: boots would be most of it."""

LONGEST_JOB_SHARE = 4
"""A pilot should live this many times as long as its longest job: of its life, the last job's
runtime is lost on average by half (waste 1/8 then)."""

DOUBT = 2.0
"""Work may take this much longer than expected; a walltime that is too long costs nothing but
patience in the queue, one that is too short costs another boot."""


def cores_worth_having(
    work_core_s: float, lead_s: float, overhead_s: float, economy: float
) -> float:
    """Return the number of cores that suits the work best; infinite for `economy` 0.

    With K cores, the work takes T = lead + work/K and costs C = work + K·overhead, where overhead
    is what every core loses to boot and to the tail. The result minimises T^(1-economy)·C^economy:
    with 0.5, one per cent less time is worth one per cent more core-hours; with 0.2, four. Setting
    the derivative of its logarithm by K to zero gives a quadratic with one positive root.
    """
    if economy <= 0:
        return math.inf
    if work_core_s <= 0 or economy >= 1:
        return 0.0
    lead_s, overhead_s = max(lead_s, 1.0), max(overhead_s, 1.0)
    b = (1 - 2 * economy) * overhead_s
    root = math.sqrt(b * b + 4 * economy * (1 - economy) * overhead_s * lead_s)
    return work_core_s * (b + root) / (2 * economy * overhead_s * lead_s)


def walltime_s(offer: Offer, longest_job_s: float, work_s: float, taken_s: float) -> int:
    """Return the shortest walltime of `offer` that is long enough, its longest if none is.

    `work_s` is how long there will be work, `taken_s` what boot and end take off.
    """
    busy_s = max(LONGEST_JOB_SHARE * longest_job_s, DOUBT * work_s)
    wanted_s = max(busy_s + taken_s, WALLTIME_MIN_S)
    return next((w for w in offer.walltimes_s if w >= wanted_s), offer.walltime_max_s)


def keep_idle_s(lead_s: float, economy: float) -> float:
    """Return how long an idle pilot is worth keeping while more work is to come.

    With `economy` 0.5 as long as a new one would take to come: never more than twice the cost of
    the best choice in hindsight (the ski-rental problem). Less thrift keeps it longer.
    """
    if economy <= 0:
        return math.inf
    return lead_s * (1 - economy) / economy
