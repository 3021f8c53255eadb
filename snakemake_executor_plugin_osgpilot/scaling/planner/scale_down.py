"""Which pilots nobody needs any more, and when to let them go."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Drain
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, may_run_on
from snakemake_executor_plugin_osgpilot.scaling.planner.assessment import Assessment
from snakemake_executor_plugin_osgpilot.scaling.planner.supply import hopeless, usable_s
from snakemake_executor_plugin_osgpilot.scaling.planner.target_size import keep_idle_s


def releases(outlook: Assessment) -> tuple[frozenset[str], list[Cancel | Drain]]:
    """Return the pilots without a use, and what to do about them now."""
    used = {name for room in outlook.rooms if room.used for name in room.pilots} - _late(outlook)
    unneeded = [
        pilot
        for pilot in sorted(outlook.snapshot.pilots, key=lambda p: (not p.state.waits, p.name))
        if pilot.state.serves and pilot.name not in used
        and not outlook.snapshot.running.get(pilot.name)
    ]  # fmt: skip
    last = _last_hosts(outlook) if unneeded else frozenset()
    surplus = _surplus([pilot for pilot in unneeded if pilot.name not in last], outlook)
    decided = []
    for pilot in unneeded:
        patience_s = _patience_s(pilot, surplus, last, outlook)
        if action := _release(pilot, patience_s, outlook):
            decided.append(action)
    done = {action.pilot for action in decided}
    decided += [action for action in _shunned(outlook) if action.pilot not in done]
    return frozenset(pilot.name for pilot in unneeded), decided


def _late(outlook: Assessment) -> set[str]:
    """Return the pilots in Slurm's queue that will come when those that run have done all the work
    there is, for all we know.

    None is late where a new one would be asked for in its place.
    """
    snapshot, estimates = outlook.snapshot, outlook.estimates
    if snapshot.later:
        return set()
    running = tuple(pilot for pilot in snapshot.pilots if not pilot.state.waits)
    cores = sum(pilot.shape.cores for pilot in running if pilot.state.serves)
    through_s = outlook.forecast.work_core_s / cores if cores else math.inf
    late = {
        pilot.name
        for pilot in snapshot.pilots
        if pilot.state.waits
        and usable_s(pilot, estimates, outlook.policy, snapshot.now_s)[0] > through_s
    }
    if not late or through_s >= outlook.forecast.lead_s:
        return set()
    without = Assessment.of(replace(snapshot, pilots=running), estimates, outlook.policy)
    return set() if without.unmet else late


def _shunned(outlook: Assessment) -> Iterator[Drain]:
    """Drain the pilots that are to get no more jobs, busy or not: what runs there may go on."""
    for pilot in outlook.snapshot.pilots:
        why = outlook.snapshot.shunned.get(pilot.name)
        if why and pilot.state.serves and not pilot.state.waits:
            yield Drain(pilot.name, why)


def _last_hosts(outlook: Assessment) -> frozenset[str]:
    """Return the pilots without which there was none for a class that is to come."""
    snapshot = outlook.snapshot
    serving = [p for p in snapshot.pilots if p.state.serves and p.name not in snapshot.shunned]
    found = set()
    for job_class in {*snapshot.further, *(soon.job_class for soon in snapshot.soon)}:
        hosts = (
            pilot.name
            for pilot in serving
            if may_run_on(job_class, pilot.offer) and pilot.shape.holds(job_class.shape)
        )
        if len(one := list(islice(hosts, 2))) == 1:
            found.update(one)
    return frozenset(found)


def _surplus(unneeded: list[Pilot], outlook: Assessment) -> frozenset[str]:
    """Return the pilots beyond the cores that are worth having for all that is to come; none if
    that is not known. Those that wait in Slurm's queue come first, then the oldest."""
    snapshot, cores = outlook.snapshot, outlook.have.cores
    if sum(snapshot.further.values()) < snapshot.later:
        return frozenset()
    surplus = set()
    for pilot in unneeded:
        if cores - pilot.shape.cores >= outlook.forecast.wanted_cores:
            surplus.add(pilot.name)
            cores -= pilot.shape.cores
    return frozenset(surplus)


def _patience_s(
    pilot: Pilot, surplus: frozenset[str], last: frozenset[str], outlook: Assessment
) -> float:
    policy = outlook.policy
    if pilot.state.waits or pilot.name in surplus:
        return policy.patience_s
    lead_s = outlook.estimates.lead_s(pilot.offer)
    kept_s = max(policy.patience_s, keep_idle_s(lead_s, policy.economy))
    if pilot.name in last:
        # all the others would wait for a new one: its price is to be seen beside theirs
        kept_s *= max(1.0, outlook.have.cores / pilot.shape.cores)
    return kept_s


def _release(pilot: Pilot, patience_s: float, outlook: Assessment) -> Cancel | Drain | None:
    snapshot = outlook.snapshot
    if hopeless(pilot):
        return Cancel(pilot.name, f"Slurm will not start it: {pilot.pending_reason}")
    act = Cancel if pilot.state.waits else Drain
    if not (snapshot.waiting or snapshot.soon or snapshot.later):
        return act(pilot.name, "no job is left that could need it")
    since_s = pilot.unneeded_since_s
    idle_s = 0.0 if since_s is None else snapshot.now_s - since_s
    if idle_s < patience_s:
        return None
    return act(pilot.name, f"no job has needed it for {idle_s:.0f} s")
