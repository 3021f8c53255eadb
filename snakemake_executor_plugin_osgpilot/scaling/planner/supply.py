"""What the pilots we have can still host, from when and until when."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf

from snakemake_executor_plugin_osgpilot.model.resources import (
    END_MARGIN_S,
    JobClass,
    Pilot,
    PilotState,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.bin_packing import Bin
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates

_NEAREST_FIRST = {
    PilotState.READY: 0,
    PilotState.BOOTING: 1,
    PilotState.PENDING: 2,
    PilotState.INTENDED: 3,
}

ARRIVAL_GRAIN_S = 60.0
"""Pilots that come within the same minute are treated alike."""

OVERDUE_SHARE, OVERDUE_MIN_S = 0.3, 30.0
"""A job that runs longer than expected is taken to need this share of its age again."""


HOPELESS = re.compile(
    r"PartitionTimeLimit|PartitionNodeLimit|BadConstraints|Invalid(Account|QOS)|JobHeld"
    r"|(QOS|Assoc)Max\w+Per(Job|Node)Limit|launch failed requeued held"
)
"""Reasons of Slurm's for a pending job that time does not cure (man squeue, JOB REASON CODES).
Limits on what a group may run at once are not among them: they pass when other jobs end."""


def hopeless(pilot: Pilot) -> bool:
    """Whether Slurm will never start this pilot as it is."""
    return pilot.state.waits and HOPELESS.search(pilot.pending_reason) is not None


@dataclass(frozen=True)
class Supply:
    """Free rooms, nearest first, and what there is beside them.

    `hosts` has shape, life and offer of every pilot that serves or will, `cores` their number in
    all. `busy_core_s` is what the jobs that run still need, `coming_core_s` what the pilots can do
    until the horizon beyond that, in core-seconds, `coming_by_offer` the same for each offer.
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
    """Return in how many seconds `pilot` takes jobs, and for how many seconds from then on."""
    if pilot.state.waits:
        wait_s = estimates.remaining_wait_s(pilot.offer, now_s - pilot.asked_s)
        return wait_s + estimates.boot_s, pilot.walltime_s - policy.life_taken_s
    delay_s = 0.0
    if pilot.state is PilotState.BOOTING:
        begun_s = now_s if pilot.started_s is None else pilot.started_s
        delay_s = max(0.0, begun_s + estimates.boot_s - now_s)
    if pilot.ends_s is None:
        return delay_s, pilot.walltime_s - policy.life_taken_s
    return delay_s, pilot.ends_s - END_MARGIN_S - now_s - delay_s


def remaining_s(running: Running, estimates: Estimates, now_s: float) -> float:
    """Return the expected rest of the runtime of jobs that run."""
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
    """Return what there is for jobs of `classes`, until `horizon_s` from now."""
    bounds = sorted({job_class.runtime_s for job_class in classes})
    grouped: defaultdict[tuple[_Order, Bin], list[str]] = defaultdict(list)
    hosts: set[tuple[Shape, float, str]] = set()
    cores, busy_core_s = 0, 0.0
    coming_core_s: defaultdict[str, float] = defaultdict(float)
    for pilot in snapshot.pilots:
        if not pilot.state.serves or hopeless(pilot) or pilot.name in snapshot.shunned:
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
    """Return the same for pilots that are there for about as long until the horizon."""
    if seconds >= horizon_s:
        return horizon_s
    return max(0.0, seconds // ARRIVAL_GRAIN_S * ARRIVAL_GRAIN_S)


def _less(shape: Shape, others: Shape) -> Shape:
    """Return what there is beside jobs of others; for how long they will be there is not known."""
    return Shape(*(max(0, n) for n in shape - others))


_Order = tuple[int, bool, int]


def _order(pilot: Pilot, running: tuple[Running, ...], delay_s: float) -> _Order:
    """Nearest first; of those at hand the busy ones, so that the idle ones can go."""
    return _NEAREST_FIRST[pilot.state], not running, int(delay_s // ARRIVAL_GRAIN_S)


def _admits(life_s: float, bounds: list[int]) -> float:
    """Return the same for lives that admit the same classes, so that fewer kinds are told apart."""
    level = bisect_left(bounds, life_s)
    return float(bounds[level]) if level < len(bounds) else inf
