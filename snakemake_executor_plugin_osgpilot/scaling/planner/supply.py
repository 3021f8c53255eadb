"""The capacity of the live pilots over time."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from ...model.resources import END_MARGIN_S, JobClass, Pilot, PilotState, Policy, Shape
from ...model.snapshot import Running, Snapshot
from .bin_packing import Bin
from .estimates import Estimates

_NEAREST_FIRST = {
    PilotState.READY: 0,
    PilotState.BOOTING: 1,
    PilotState.PENDING: 2,
    PilotState.INTENDED: 3,
}

ARRIVAL_GRAIN_S = 60.0
"""Pilots that start within the same minute are treated as equal."""

OVERDUE_SHARE, OVERDUE_MIN_S = 0.3, 30.0
"""A job that runs longer than expected is assumed to need this share of its age again."""


PERMANENT_REASONS = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|Invalid(Account|QOS)|JobHeld"
    r"|(QOS|Assoc)Max\w+Per(Job|Node)Limit|launch failed requeued held"
)
"""Slurm's reasons for a pending job that will never start (man squeue, JOB REASON CODES). Limits on
what a group may run at once are not included: they pass when other jobs end."""


def permanently_pending(pilot: Pilot) -> bool:
    """Return True if Slurm will never start this pilot as requested."""
    return pilot.state.waits and PERMANENT_REASONS.search(pilot.pending_reason) is not None


@dataclass(frozen=True)
class Supply:
    """Free slots, nearest first, and the totals.

    `hosts` has shape, remaining life and type of every pilot that serves or will, `cores` is their
    total. `busy_core_s` is the remaining work of running jobs, `coming_core_s` the capacity beyond
    that until the horizon, `coming_by_offer` the same by pilot type.
    """

    rooms: tuple[Bin, ...]
    hosts: frozenset[tuple[Shape, float, str]]
    cores: int
    busy_core_s: float
    coming_core_s: float
    coming_by_offer: Mapping[str, float]


def usable_s(
    pilot: Pilot, estimates: Estimates, policy: Policy, now_s: float
) -> tuple[float, float]:
    """Return the seconds until `pilot` accepts jobs, and the seconds it does so from then on."""
    if pilot.state.waits:
        wait_s = estimates.remaining_wait_s(pilot.offer, now_s - pilot.asked_s)
        return wait_s + estimates.boot_at_s(pilot.site), pilot.walltime_s - policy.life_taken_s
    delay_s = 0.0
    if pilot.state is PilotState.BOOTING:
        begun_s = now_s if pilot.started_s is None else pilot.started_s
        delay_s = max(0.0, begun_s + estimates.boot_at_s(pilot.site) - now_s)
    if pilot.ends_s is None:
        return delay_s, pilot.walltime_s - policy.life_taken_s
    return delay_s, pilot.ends_s - END_MARGIN_S - now_s - delay_s


def remaining_s(running: Running, estimates: Estimates, now_s: float) -> float:
    """Return the expected remaining runtime of running jobs."""
    age_s = max(0.0, now_s - running.since_s)
    rest_s = estimates.runtime_s(running.job_class) - age_s
    return rest_s if rest_s > 0 else max(OVERDUE_MIN_S, OVERDUE_SHARE * age_s)


def supply(
    snapshot: Snapshot,
    estimates: Estimates,
    policy: Policy,
    classes: Iterable[JobClass],
    horizon_s: float,
) -> Supply:
    """Return the supply for jobs of `classes` until `horizon_s` from now."""
    bounds = sorted({job_class.runtime_s for job_class in classes})
    grouped: defaultdict[tuple[_Order, Bin], list[str]] = defaultdict(list)
    hosts: set[tuple[Shape, float, str]] = set()
    cores, busy_core_s = 0, 0.0
    coming_core_s: defaultdict[str, float] = defaultdict(float)
    for pilot in snapshot.pilots:
        if not pilot.state.serves or permanently_pending(pilot) or pilot.name in snapshot.blocked:
            continue
        if pilot.name in snapshot.unconfirmed:
            continue
        delay_s, life_s = usable_s(pilot, estimates, policy, snapshot.now_s)
        running = snapshot.running.get(pilot.name, ())
        life_s = _admits(life_s, bounds)
        shape = pilot.shape
        if pilot.name in snapshot.others:
            shape = _less(shape, snapshot.others[pilot.name])
        free = shape
        hosts.add((shape, life_s, pilot.offer))
        cores += shape.cores
        in_time_s = _in_time_s(min(horizon_s - delay_s, life_s), horizon_s)
        coming_s = shape.cores * in_time_s
        for group in running:
            free -= group.job_class.shape.times(group.jobs)
            rest_s = remaining_s(group, estimates, snapshot.now_s)
            taken = group.jobs * group.job_class.shape.cores
            busy_core_s += taken * rest_s
            coming_s -= taken * min(rest_s, horizon_s)
        coming_core_s[pilot.offer] += coming_s
        if min(free.cores, free.memory_mb) > 0:
            kind = Bin(free, life_s, (), pilot.offer, coming_s=in_time_s)
            grouped[_order(pilot, running, delay_s), kind].append(pilot.name)
    rooms = tuple(
        kind._replace(pilots=tuple(sorted(grouped[order, kind]))) for order, kind in sorted(grouped)
    )
    coming_s = max(0.0, sum(coming_core_s.values()))
    return Supply(rooms, frozenset(hosts), cores, busy_core_s, coming_s, coming_core_s)


def _in_time_s(seconds: float, horizon_s: float) -> float:
    """Return the time until the horizon, rounded so that similar pilots are grouped."""
    if seconds >= horizon_s:
        return horizon_s
    return max(0.0, seconds // ARRIVAL_GRAIN_S * ARRIVAL_GRAIN_S)


def _less(shape: Shape, others: Shape) -> Shape:
    """Return the resources that jobs of others leave; how long these will run is not known."""
    return Shape(*(max(0, n) for n in shape - others))


_Order = tuple[int, bool, int]


def _order(pilot: Pilot, running: tuple[Running, ...], delay_s: float) -> _Order:
    """Return a sort key: nearest first; busy before idle, so that idle ones can end."""
    return _NEAREST_FIRST[pilot.state], not running, int(delay_s // ARRIVAL_GRAIN_S)


def _admits(life_s: float, bounds: list[int]) -> float:
    """Return an equal value for lives that admit the same classes, so that pilots are grouped."""
    level = bisect_left(bounds, life_s)
    return float(bounds[level]) if level < len(bounds) else inf
