"""The work there is, laid out over the pilots there are: what remains for new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.model.plan import Forecast, Infeasible
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Policy
from snakemake_executor_plugin_osgpilot.model.snapshot import Commitment, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.bin_packing import Bin, fill
from snakemake_executor_plugin_osgpilot.scaling.planner.critical_path import chain_s
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.feasibility import fits, unfit
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import commitment
from snakemake_executor_plugin_osgpilot.scaling.planner.placement import Demand, laid_out, unserved
from snakemake_executor_plugin_osgpilot.scaling.planner.supply import Supply, supply
from snakemake_executor_plugin_osgpilot.scaling.planner.target_size import (
    WorkPhase,
    cores_for_all,
    cores_worth_having,
)


@dataclass(frozen=True)
class Assessment:
    """A snapshot thought through.

    `work` is what waits or will within the lead time, `further_core_s` the work that comes after
    that and `serial_s` how long the longest chain of jobs takes beyond it. `rooms` is the pilots'
    room after `work` was put in as far as it goes. `unmet` is what no pilot we have will have come
    to when a new one could be there.
    """

    snapshot: Snapshot
    estimates: Estimates
    policy: Policy
    work: Demand
    further_core_s: float
    serial_s: float
    unmet: Demand
    rooms: tuple[Bin, ...]
    unfit: tuple[Infeasible, ...]
    have: Supply
    taken: Commitment
    forecast: Forecast

    @classmethod
    def of(cls, snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Assessment:
        none_fits = unfit(_classes(snapshot), policy)
        classes = _classes(snapshot) - {each.job_class for each in none_fits}
        waiting = {c: n for c, n in snapshot.waiting.items() if n > 0 and c in classes}
        lead_s = _lead_s(classes, snapshot, estimates, policy)
        have = supply(snapshot, estimates, policy, classes, lead_s)
        left, rooms, spare = laid_out(waiting, have, estimates)
        clear_s = _clear_s(waiting, have, estimates, lead_s, policy.cost_weight)
        soon = _soon(snapshot, classes, clear_s, lead_s)
        soon_left, rooms = fill(soon, rooms)
        unmet = unserved(Counter(left) + Counter(soon_left), spare, have, estimates)
        work = Counter(waiting) + Counter(soon)
        work_core_s = _area(work, estimates) + have.busy_core_s
        stretch = WorkPhase(work_core_s, lead_s, _overhead_s(work, estimates))
        further_core_s = max(
            0.0, _area(_known(snapshot, policy), estimates) - _area(work, estimates)
        )
        serial_s = _serial_s(work, snapshot, estimates)
        wanted = cores_for_all(stretch, further_core_s, serial_s, policy.cost_weight)
        taken = commitment(snapshot)
        forecast = Forecast(
            wanted_cores=wanted,
            live_cores=have.cores,
            work_core_s=work_core_s,
            lead_s=lead_s,
            finish_s=clear_s,
            committed_core_s=taken.core_s,
        )
        return cls(
            snapshot,
            estimates,
            policy,
            work,
            further_core_s,
            serial_s,
            unmet,
            tuple(rooms),
            none_fits,
            have,
            taken + snapshot.elsewhere,
            forecast,
        )


def _classes(snapshot: Snapshot) -> set[JobClass]:
    ready = {job_class for job_class, count in snapshot.waiting.items() if count > 0}
    return ready | {soon.job_class for soon in snapshot.soon}


def _lead_s(
    classes: Iterable[JobClass], snapshot: Snapshot, estimates: Estimates, policy: Policy
) -> float:
    """Return how soon a new pilot could be of use: nothing earlier can be served by one."""
    wanted = list(classes)
    useful = [o for o in policy.offers if any(fits(c, o, policy) for c in wanted)]
    open_ones = [o for o in useful if o.name not in snapshot.gates]
    return min(
        (estimates.lead_s(o.name) for o in open_ones or useful or policy.offers), default=0.0
    )


def _area(demand: Demand, estimates: Estimates) -> float:
    return sum(n * c.shape.cores * estimates.runtime_s(c) for c, n in demand.items())


def _overhead_s(demand: Demand, estimates: Estimates) -> float:
    """Return what a core loses to boot and tail; at the end it waits for half a job on average."""
    cores = sum(n * c.shape.cores for c, n in demand.items())
    mean_runtime_s = _area(demand, estimates) / cores if cores else 0.0
    return estimates.boot_s + mean_runtime_s / 2


def _known(snapshot: Snapshot, policy: Policy) -> Demand:
    """Return all jobs that do not run yet and can, as far as it is known what they ask for."""
    known = Counter(snapshot.waiting) + Counter(snapshot.further)
    for group in snapshot.soon:
        known[group.job_class] += group.jobs
    return {c: n for c, n in known.items() if any(fits(c, o, policy) for o in policy.offers)}


def _serial_s(work: Demand, snapshot: Snapshot, estimates: Estimates) -> float:
    longest_s = max((estimates.runtime_s(c) for c in work), default=0.0)
    return max(0.0, chain_s(snapshot.chain, estimates) - longest_s)


def _clear_s(
    waiting: Demand, have: Supply, estimates: Estimates, lead_s: float, cost_weight: float
) -> float:
    """Return in how long what waits and runs will be through, on the cores it is worth.

    Not on those there are: with each pilot that is added, more of what comes later would seem to be
    in time for another one.
    """
    work_core_s = _area(waiting, estimates) + have.busy_core_s
    overhead_s = _overhead_s(waiting, estimates)
    cores = max(1.0, cores_worth_having(WorkPhase(work_core_s, lead_s, overhead_s), cost_weight))
    longest_s = max((estimates.runtime_s(c) for c in waiting), default=0.0)
    return max(work_core_s / cores, longest_s)


def _soon(
    snapshot: Snapshot, classes: set[JobClass], clear_s: float, lead_s: float
) -> Counter[JobClass]:
    """Return the jobs to come that a pilot asked for now would be in time for."""
    coming: Counter[JobClass] = Counter()
    for group in snapshot.soon:
        in_s = clear_s if group.ready_s is None else group.ready_s - snapshot.now_s
        if group.job_class in classes and in_s <= lead_s:
            coming[group.job_class] += group.jobs
    return coming
