"""What to launch and what to take back, given what is known."""

from __future__ import annotations

from snakemake_executor_plugin_osgpilot.core.model import (
    Cancel,
    JobClass,
    Launch,
    Pilot,
    PilotState,
    Plan,
    Policy,
    Snapshot,
)
from snakemake_executor_plugin_osgpilot.core.packing import Bin, fill, pilots_for

_NEAREST_FIRST = {PilotState.RUNNING: 0, PilotState.PENDING: 1, PilotState.INTENDED: 2}


def plan(snapshot: Snapshot, policy: Policy) -> Plan:
    """Return what to do next, and why.

    Pure: same arguments, same plan; the order of pilots and classes does not matter. Applying the
    plan and planning again yields no actions. A pilot that runs or may run a job is never
    cancelled here.
    """
    unfit = tuple(sorted(c for c in snapshot.waiting if not _fits(c, policy)))
    waiting = {c: n for c, n in snapshot.waiting.items() if n > 0 and c not in unfit}
    live = sorted(
        (p for p in snapshot.pilots if p.state in _NEAREST_FIRST),
        key=lambda p: (_NEAREST_FIRST[p.state], p.name),
    )
    bins = [_room(pilot, snapshot, policy) for pilot in live]
    unserved = fill(waiting, bins)
    if unserved:
        return Plan(_launches(unserved, len(live), policy), unfit)
    surplus = [
        pilot
        for pilot, room in zip(live, bins, strict=True)
        if pilot.state is PilotState.PENDING and not room.used
    ]
    return Plan(tuple(Cancel(p.name, "no waiting job needs it") for p in surplus), unfit)


def _fits(job_class: JobClass, policy: Policy) -> bool:
    return policy.pilot_shape.holds(job_class.shape) > 0 and job_class.runtime_s < policy.walltime_s


def _room(pilot: Pilot, snapshot: Snapshot, policy: Policy) -> Bin:
    free = pilot.shape
    for job_class, count in snapshot.running.get(pilot.name, {}).items():
        free -= job_class.shape.times(count)
    left_s = policy.walltime_s if pilot.ends_s is None else pilot.ends_s - snapshot.now_s
    return Bin(pilot.name, free, left_s)


def _launches(unserved: dict[JobClass, int], live_count: int, policy: Policy) -> tuple[Launch, ...]:
    wanted = pilots_for(unserved, policy.pilot_shape, policy.walltime_s)
    count = max(0, min(wanted, policy.pilots_max - live_count, policy.launches_max))
    jobs = sum(unserved.values())
    cores = sum(c.shape.cores * n for c, n in unserved.items())
    reason = f"{jobs} waiting jobs ({cores} cores) have no room in {live_count} live pilots"
    return (Launch(reason),) * count
