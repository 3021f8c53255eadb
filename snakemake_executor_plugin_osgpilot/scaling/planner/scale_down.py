"""Choose the pilots to cancel or drain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice

from ...model.plan import Cancel, Drain
from ...model.resources import JobClass, Pilot, may_run_on
from .assessment import Assessment
from .supply import permanently_pending, usable_s
from .target_size import keep_idle_s


def releases(assessment: Assessment) -> tuple[frozenset[str], list[Cancel | Drain]]:
    """Return the unneeded pilots, and the cancels and drains that are due."""
    used = {name for room in assessment.rooms if room.used for name in room.pilots}
    beyond = _beyond_target(assessment)
    used -= _late(assessment) | beyond
    unneeded = [
        pilot
        for pilot in sorted(assessment.snapshot.pilots, key=lambda p: (not p.state.waits, p.name))
        if pilot.state.serves and pilot.name not in used
        and pilot.site not in assessment.snapshot.silent
        and not assessment.snapshot.running.get(pilot.name)
    ]  # fmt: skip
    last = _last_hosts(assessment) if unneeded else frozenset()
    surplus = _surplus([pilot for pilot in unneeded if pilot.name not in last], assessment)
    shortest_life_s = _shortest_life_s(assessment)
    decided = []
    for pilot in unneeded:
        patience_s = _patience_s(pilot, surplus, last, shortest_life_s, assessment)
        why = "more cores are not worth having" if pilot.name in beyond else "no job has needed it"
        if action := _release(pilot, patience_s, why, assessment):
            decided.append(action)
    done = {action.pilot for action in decided}
    decided += [action for action in _cordoned(assessment) if action.pilot not in done]
    return frozenset(pilot.name for pilot in unneeded), decided


def _late(assessment: Assessment) -> set[str]:
    """Return the pilots in Slurm's queue that will probably start after the running ones have
    done all the work.

    None is late if a new one would be requested in its place.
    """
    snapshot, estimates = assessment.snapshot, assessment.estimates
    if snapshot.later:
        return set()
    running = tuple(pilot for pilot in snapshot.pilots if not pilot.state.waits)
    cores = sum(pilot.shape.cores for pilot in running if pilot.state.serves)
    through_s = assessment.forecast.work_core_s / cores if cores else math.inf
    late = {
        pilot.name
        for pilot in snapshot.pilots
        if pilot.state.waits
        and usable_s(pilot, estimates, assessment.policy, snapshot.now_s)[0] > through_s
    }
    if not late or through_s >= assessment.forecast.lead_s:
        return set()
    without = Assessment.of(replace(snapshot, pilots=running), estimates, assessment.policy)
    return set() if without.unmet else late


def _beyond_target(assessment: Assessment) -> set[str]:
    """Return the pilots in Slurm's queue, the latest ones, that are more than is worth having, as
    where jobs turned out to be shorter than expected.

    While more work is known to come, their places in the queue are worth keeping.
    """
    if assessment.further_core_s > 0:
        return set()
    snapshot, cores = assessment.snapshot, assessment.have.cores
    away = snapshot.blocked.keys() | snapshot.unconfirmed
    staying = [p for p in snapshot.pilots if p.state.serves and p.name not in away]
    queued = [pilot for pilot in staying if pilot.state.waits]
    alike = Counter((pilot.offer, pilot.walltime_s) for pilot in queued)
    beyond = set[str]()
    for pilot in sorted(queued, key=lambda p: (p.asked_s, p.name), reverse=True):
        kind, left = (pilot.offer, pilot.walltime_s), cores - pilot.shape.cores
        if left < assessment.forecast.wanted_cores:
            continue
        # pilots of one kind can run the same jobs
        if alike[kind] == 1:
            gone = {pilot.name, *beyond}
            if not _serve_all([p for p in staying if p.name not in gone], assessment):
                continue
        beyond.add(pilot.name)
        alike[kind] -= 1
        cores = left
    return beyond


def _serve_all(pilots: Collection[Pilot], assessment: Assessment) -> bool:
    """Return True if every class of `work` has one of `pilots` that can run it."""
    snapshot, policy = assessment.snapshot, assessment.policy

    def runs(pilot: Pilot, job_class: JobClass) -> bool:
        _, life_s = usable_s(pilot, assessment.estimates, policy, snapshot.now_s)
        fits = may_run_on(job_class, pilot.offer) and pilot.shape.holds(job_class.shape) > 0
        return fits and job_class.runtime_s < life_s

    return all(any(runs(pilot, job_class) for pilot in pilots) for job_class in assessment.work)


def _cordoned(assessment: Assessment) -> Iterator[Drain]:
    """Drain cordoned pilots, busy or not: running jobs may finish."""
    for pilot in assessment.snapshot.pilots:
        why = assessment.snapshot.blocked.get(pilot.name)
        is_in_reach = pilot.site not in assessment.snapshot.silent
        if why and is_in_reach and pilot.state.serves and not pilot.state.waits:
            yield Drain(pilot.name, why)


def _last_hosts(assessment: Assessment) -> frozenset[str]:
    """Return the pilots that are the only possible host of an upcoming class."""
    snapshot = assessment.snapshot
    away = snapshot.blocked.keys() | snapshot.unconfirmed
    serving = [p for p in snapshot.pilots if p.state.serves and p.name not in away]
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


def _surplus(unneeded: list[Pilot], assessment: Assessment) -> frozenset[str]:
    """Return the pilots beyond the target size for all upcoming work; none if that is not known.
    Those in Slurm's queue come first, then the oldest.
    """
    snapshot, cores = assessment.snapshot, assessment.have.cores
    if sum(snapshot.further.values()) < snapshot.later:
        return frozenset()
    surplus = set()
    for pilot in unneeded:
        if cores - pilot.shape.cores >= assessment.forecast.wanted_cores:
            surplus.add(pilot.name)
            cores -= pilot.shape.cores
    return frozenset(surplus)


def _patience_s(
    pilot: Pilot,
    surplus: frozenset[str],
    last: frozenset[str],
    shortest_life_s: float,
    assessment: Assessment,
) -> float:
    policy = assessment.policy
    if pilot.state.waits or pilot.name in surplus:
        return policy.patience_s
    now_s = assessment.snapshot.now_s
    if usable_s(pilot, assessment.estimates, policy, now_s)[1] <= shortest_life_s:
        return 0.0
    lead_s = assessment.estimates.lead_s(pilot.offer, pilot.site)
    kept_s = max(policy.patience_s, keep_idle_s(lead_s, policy.cost_weight))
    if pilot.name in last:
        # all others would wait for a new one: weigh its cost against theirs
        kept_s *= max(1.0, assessment.have.cores / pilot.shape.cores)
    return kept_s


def _shortest_life_s(assessment: Assessment) -> float:
    """Return the remaining life up to which no job that is known or may come can start."""
    snapshot = assessment.snapshot
    if snapshot.later > sum(snapshot.further.values()):
        return -math.inf
    known = {*snapshot.waiting, *snapshot.further, *(soon.job_class for soon in snapshot.soon)}
    return min((job_class.runtime_s for job_class in known), default=-math.inf)


def _release(
    pilot: Pilot, patience_s: float, why: str, assessment: Assessment
) -> Cancel | Drain | None:
    snapshot = assessment.snapshot
    if permanently_pending(pilot):
        return Cancel(pilot.name, f"Slurm will not start it: {pilot.pending_reason}")
    act = Cancel if pilot.state.waits else Drain
    if not (snapshot.waiting or snapshot.soon or snapshot.later):
        return act(pilot.name, "no job is left that could need it")
    since_s = pilot.unneeded_since_s
    idle_s = 0.0 if since_s is None else snapshot.now_s - since_s
    if idle_s < patience_s:
        return None
    return act(pilot.name, f"{why} for {idle_s:.0f} s")
