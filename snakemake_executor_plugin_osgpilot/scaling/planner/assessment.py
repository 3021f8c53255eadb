"""Place the demand on the live pilots; the rest is for new ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ...model.plan import Forecast, Infeasible
from ...model.resources import JobClass, Policy
from ...model.snapshot import Commitment, Snapshot
from .bin_packing import Bin, fill
from .critical_path import chain_s
from .estimates import Estimates
from .feasibility import fits, infeasible_classes
from .limits import commitment
from .placement import Demand, place, unserved
from .residuals import Weighted, residual_s
from .supply import Supply, supply
from .target_size import WorkPhase, cores_for_all, cores_worth_having


@dataclass(frozen=True)
class Assessment:
    """A snapshot with derived demand, supply and gap.

    `work` are the jobs that wait or will within the lead time, `further_core_s` is the work that
    comes after them, `serial_s` the time the longest chain of jobs takes beyond it. `rooms` are the
    free slots after `work` was placed. `unmet` are the jobs that no live pilot will have started
    before a new one could.
    """

    snapshot: Snapshot
    estimates: Estimates
    policy: Policy
    work: Demand
    further_core_s: float
    serial_s: float
    unmet: Demand
    rooms: tuple[Bin, ...]
    infeasible: tuple[Infeasible, ...]
    have: Supply
    taken: Commitment
    forecast: Forecast

    @classmethod
    def of(cls, snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Assessment:
        infeasible = infeasible_classes(_classes(snapshot), policy)
        classes = _classes(snapshot) - {each.job_class for each in infeasible}
        waiting = {c: n for c, n in snapshot.waiting.items() if n > 0 and c in classes}
        lead_s = _lead_s(classes, snapshot, estimates, policy)
        have = supply(snapshot, estimates, policy, classes, lead_s)
        left, rooms, spare = place(waiting, have, estimates)
        clear_s = _clear_s(waiting, have, lead_s, snapshot, estimates, policy)
        soon = _soon(snapshot, classes, clear_s, lead_s)
        soon_left, rooms = fill(soon, rooms)
        unmet = unserved(Counter(left) + Counter(soon_left), spare, have, estimates)
        work = Counter(waiting) + Counter(soon)
        phase = _phase(work, have.busy_core_s, lead_s, snapshot, estimates, policy)
        further_core_s = max(
            0.0, _area(_known(snapshot, policy), estimates) - _area(work, estimates)
        )
        serial_s = _serial_s(work, snapshot, estimates)
        wanted = cores_for_all(phase, further_core_s, serial_s, policy.cost_weight)
        taken = commitment(snapshot)
        forecast = Forecast(
            wanted_cores=wanted,
            live_cores=have.cores,
            work_core_s=phase.work_core_s,
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
            infeasible,
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
    """Return the time until a new pilot could run jobs; it cannot serve anything earlier."""
    wanted = list(classes)
    useful = [o for o in policy.offers if any(fits(c, o, policy) for c in wanted)]
    open_ones = [o for o in useful if o.name not in snapshot.gates]
    return min(
        (estimates.lead_s(o.name, o.site) for o in open_ones or useful or policy.offers),
        default=0.0,
    )


def _area(demand: Demand, estimates: Estimates) -> float:
    return sum(n * c.shape.cores * estimates.mean_s(c) for c, n in demand.items())


def _phase(
    demand: Demand,
    busy_core_s: float,
    lead_s: float,
    snapshot: Snapshot,
    estimates: Estimates,
    policy: Policy,
) -> WorkPhase:
    """Return the phase of `demand` beside running jobs, which still take `busy_core_s`.

    When no job waits any more, the cores are in the middle of jobs, of which the longest may just
    have begun: the end of all comes halfway between the mean rest of a job and that. A pilot is
    charged until the last of the jobs that it runs side by side has ended.
    """
    runtimes = sorted(
        Weighted(runtime_s, n * c.shape.cores / len(expected_s))
        for c, n in demand.items()
        for expected_s in (estimates.expected_s(c),)
        for runtime_s in expected_s
    )
    longest_s = runtimes[-1].runtime_s if runtimes else 0.0
    tail_s = max(0.0, longest_s - residual_s(runtimes)) / 2
    lost_s = residual_s(runtimes, _side_by_side(demand, policy))
    return WorkPhase(
        _area(demand, estimates) + busy_core_s,
        lead_s + tail_s,
        estimates.boot_s + lost_s,
        snapshot.elapsed_s,
        snapshot.charged_core_s,
    )


def _side_by_side(demand: Demand, policy: Policy) -> float:
    """Return the number of jobs of `demand` on one of the smallest pilots, which are preferred."""
    fitting = [o.shape.cores for o in policy.offers if any(fits(c, o, policy) for c in demand)]
    cores = sum(n * c.shape.cores for c, n in demand.items())
    return max(1.0, min(fitting, default=1) * sum(demand.values()) / cores) if cores else 1.0


def _known(snapshot: Snapshot, policy: Policy) -> Demand:
    """Return all known, feasible jobs that are not running yet."""
    known = Counter(snapshot.waiting) + Counter(snapshot.further)
    for group in snapshot.soon:
        known[group.job_class] += group.jobs
    return {c: n for c, n in known.items() if any(fits(c, o, policy) for o in policy.offers)}


def _serial_s(work: Demand, snapshot: Snapshot, estimates: Estimates) -> float:
    longest_s = max((estimates.runtime_s(c) for c in work), default=0.0)
    return max(0.0, chain_s(snapshot.chain, estimates) - longest_s)


def _clear_s(
    waiting: Demand,
    have: Supply,
    lead_s: float,
    snapshot: Snapshot,
    estimates: Estimates,
    policy: Policy,
) -> float:
    """Return the time until waiting and running jobs finish on the cores worth having.

    Not on the present cores: with each added pilot, more upcoming jobs would seem to be in time for
    another one.
    """
    phase = _phase(waiting, have.busy_core_s, lead_s, snapshot, estimates, policy)
    cores = max(1.0, cores_worth_having(phase, policy.cost_weight))
    longest_s = max((estimates.runtime_s(c) for c in waiting), default=0.0)
    return max(phase.work_core_s / cores, longest_s)


def _soon(
    snapshot: Snapshot, classes: set[JobClass], clear_s: float, lead_s: float
) -> Counter[JobClass]:
    """Return the upcoming jobs that a pilot requested now would be in time for."""
    coming: Counter[JobClass] = Counter()
    for group in snapshot.soon:
        in_s = clear_s if group.ready_s is None else group.ready_s - snapshot.now_s
        if group.job_class in classes and in_s <= lead_s:
            coming[group.job_class] += group.jobs
    return coming
