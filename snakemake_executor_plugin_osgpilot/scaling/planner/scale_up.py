"""Choose the pilots to launch for the work that live ones cannot serve."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

from ...common.counting import count_of
from ...common.durations import duration
from ...model.plan import Launch, Refusal
from ...model.resources import JobClass, PilotType, Policy
from ...model.snapshot import Commitment, Gate
from .assessment import Assessment
from .bin_packing import Bin, largest_first, open_pilots
from .estimates import Estimates
from .feasibility import fits
from .limits import admit, budget_left_core_s, commitment, exhausted, has_room
from .placement import hosted
from .site_choice import SiteChoice
from .target_size import Renewal, affordable_walltime_s, walltime_s

BLOCKED_TOLERANCE = 0.05
"""Larger pilots are preferred only if smaller ones would idle this much larger share of cores."""

WAIT_TOLERANCE = 1.25
"""A larger pilot is preferred only if the smaller one is expected to wait this much longer."""


def launches(assessment: Assessment) -> tuple[list[Launch], list[Refusal]]:
    """Return the pilots to launch, and those that a limit refuses.

    Launch at once whatever planning again would launch: new pilots may change the placement, and
    where a limit refuses a large pilot, a small one may be admitted.
    """
    started: list[Launch] = []
    following: Assessment | None = assessment
    while following:
        more, refused = _launches(following)
        started += more
        following = _after(following, more)
    return started, refused


def _after(assessment: Assessment, started: list[Launch]) -> Assessment | None:
    """Return the assessment once `started` are requested; None if no launch could follow."""
    policy, elsewhere = assessment.policy, assessment.snapshot.elsewhere
    if not started:
        return None
    count = Counter(launch.offer for launch in started)
    snapshot = replace(
        assessment.snapshot.after(started, policy),
        elsewhere=elsewhere + Commitment(launched=len(started)),
        gates={
            name: gate._replace(launches_max=gate.launches_max - count[name])
            for name, gate in assessment.snapshot.gates.items()
        },
    )
    if exhausted(commitment(snapshot) + snapshot.elsewhere, policy, snapshot.gates):
        return None
    return Assessment.of(snapshot, assessment.estimates, policy)


def _launches(assessment: Assessment) -> tuple[list[Launch], list[Refusal]]:
    if not assessment.unmet:
        return [], []
    counts = _counts(assessment)
    cores = sum(c.shape.cores * n for c, n in assessment.unmet.items())
    jobs = count_of(sum(assessment.unmet.values()), "job") + f" ({count_of(cores, 'core')})"
    reason = f"no pilot yet for {jobs}"
    if assessment.have.cores:
        lead = duration(assessment.forecast.lead_s)
        have = count_of(assessment.have.cores, "core")
        reason = f"no room for {jobs} in {have} of pilots within {lead}"
    wanted = [(offer, _walltime_s(offer, counts, assessment), n) for offer, n in counts.items()]
    return admit(wanted, assessment.taken, assessment.policy, assessment.snapshot.gates, reason)


def _counts(assessment: Assessment) -> Counter[PilotType]:
    """Return the number of pilots to launch by type.

    Prefer small pilots within `pilots_max`, up to the target cores, and one for every class that
    no pilot could run otherwise.
    """
    policy = assessment.policy
    room = policy.pilots_max - assessment.taken.pilots
    cores = assessment.forecast.wanted_cores - assessment.have.cores
    if policy.cores_max is not None:
        # larger pilots do not help where the number of cores is the limit
        cores = min(cores, policy.cores_max - assessment.taken.cores)
    counts: Counter[PilotType] = Counter()
    for choose in _choosers(assessment):
        opened = open_pilots(assessment.unmet, choose, policy.life_taken_s)
        counts = _cut(opened, policy, cores)
        for job_class, _ in largest_first(assessment.unmet):
            offer = None if _hosted_by(job_class, counts, assessment) else choose(job_class)
            if offer is not None:
                counts[offer] += 1
        if counts.total() <= room:
            break
    return _with_hosts(counts, choose, assessment)


def _with_hosts(
    counts: Counter[PilotType],
    choose: Callable[[JobClass], PilotType | None],
    assessment: Assessment,
) -> Counter[PilotType]:
    """Return `counts` with one pilot for every upcoming class that no pilot could run otherwise.

    It replaces as many cores in smaller ones, which would use up the limits by then; until then it
    runs their jobs. Pilots with GPUs are not launched ahead of time.
    """
    snapshot = assessment.snapshot
    to_come = dict.fromkeys((*snapshot.further, *(soon.job_class for soon in snapshot.soon)), 1)
    for job_class, _ in largest_first(to_come):
        offer = None if _hosted_by(job_class, counts, assessment) else choose(job_class)
        is_useful = offer is not None and any(
            fits(c, offer, assessment.policy) for c in assessment.unmet
        )
        if offer is not None and is_useful and not offer.shape.gpus:
            counts = _in_place_of_smaller(offer, counts)
    return counts


def _in_place_of_smaller(offer: PilotType, counts: Counter[PilotType]) -> Counter[PilotType]:
    """Return `counts` with one of `offer` in place of as many cores of others; unchanged if these
    are fewer.
    """
    left, cores = counts.copy(), offer.shape.cores
    for other in sorted(counts, key=_size):
        taken = min(left[other], -(-max(0, cores) // other.shape.cores))
        left[other] -= taken
        cores -= taken * other.shape.cores
    return counts if cores > 0 else Counter({offer: 1}) + left


def _hosted_by(job_class: JobClass, counts: Counter[PilotType], assessment: Assessment) -> bool:
    return hosted(job_class, assessment.have) or any(
        fits(job_class, offer, assessment.policy) for offer in counts
    )


def _cut(opened: list[Bin], policy: Policy, cores: float) -> Counter[PilotType]:
    """Return the pilots in `opened` up to `cores`, by type."""
    offers = {offer.name: offer for offer in policy.offers}
    counts: Counter[PilotType] = Counter()
    for room in opened:
        if cores <= 0:
            break
        offer = offers[room.offer]
        taken = int(min(len(room.pilots), -(-cores // offer.shape.cores)))
        counts[offer] += taken
        cores -= taken * offer.shape.cores
    return counts


def _choosers(assessment: Assessment) -> list[Callable[[JobClass], PilotType | None]]:
    """Return functions that choose pilot types, those that prefer small pilots first.

    Where small pilots would leave cores idle for lack of memory, only larger ones are considered.
    """
    floors = sorted({offer.shape.cores for offer in assessment.policy.offers})
    choosers = [_chooser(assessment, floor) for floor in floors]
    shares = [blocked_share(assessment.work, choose, assessment.estimates) for choose in choosers]
    best = min(shares, default=0.0) + BLOCKED_TOLERANCE
    return [c for c, share in zip(choosers, shares, strict=True) if share <= best]


def _chooser(assessment: Assessment, floor: int) -> Callable[[JobClass], PilotType | None]:
    """Return a function that chooses a type for a class: the smallest, unless its wait is long."""
    wait_s, policy = assessment.estimates.wait_s, assessment.policy
    gates = assessment.snapshot.gates
    by_size = sorted(policy.offers, key=_size)
    startable = {
        o.name for o in by_size if _open(o, gates) and has_room(assessment.taken, policy, o)
    }
    sites = SiteChoice(assessment.snapshot, assessment.estimates, policy, assessment.forecast)

    @cache
    def choose(job_class: JobClass) -> PilotType | None:
        candidates = [o for o in by_size if fits(job_class, o, policy)]
        candidates = [o for o in candidates if o.name in startable] or candidates
        candidates = sites.best(candidates)
        candidates = [o for o in candidates if o.shape.cores >= floor] or candidates[-1:]
        shortest_s = min((wait_s(o.name) for o in candidates), default=0.0)
        quick = (o for o in candidates if wait_s(o.name) <= WAIT_TOLERANCE * shortest_s)
        return next(quick, None)

    return choose


def _open(offer: PilotType, gates: Mapping[str, Gate]) -> bool:
    return offer.name not in gates or gates[offer.name].launches_max > 0


def _size(offer: PilotType) -> tuple[int, int, int, int, str]:
    """Return a sort key; GPUs first: a job that needs none must not occupy them.

    Of types that are charged the same, as where Slurm gives whole nodes, the largest is first.
    """
    gpus, cores = offer.shape.gpus, offer.shape.cores
    return gpus, offer.charged_cores, -cores, offer.shape.memory_mb, offer.name


def _walltime_s(offer: PilotType, counts: Counter[PilotType], assessment: Assessment) -> int:
    hosted_classes = [c for c in assessment.unmet if fits(c, offer, assessment.policy)]
    longest_s = max(map(assessment.estimates.limit_s, hosted_classes), default=0.0)
    more = sum(o.shape.cores * n for o, n in counts.items())
    work_core_s = assessment.forecast.work_core_s + assessment.further_core_s
    work_s = work_core_s / (assessment.have.cores + more) + assessment.serial_s
    wanted_s = walltime_s(offer, longest_s, work_s, assessment.policy.life_taken_s)
    left_core_s = budget_left_core_s(assessment.taken, assessment.policy, offer.site)
    if math.isinf(left_core_s):
        return wanted_s
    job_s = max(map(assessment.estimates.runtime_s, hosted_classes), default=0.0)
    renewal = Renewal(
        work_core_s=work_core_s * more / (assessment.have.cores + more),
        cores=sum(o.charged_cores * n for o, n in counts.items()),
        left_core_s=left_core_s,
        lead_s=assessment.forecast.lead_s,
        taken_s=assessment.policy.life_taken_s,
        job_s=job_s,
        longest_job_s=longest_s,
        lost_s=assessment.estimates.boot_at_s(offer.site) + job_s / 2,
    )
    return affordable_walltime_s(offer, wanted_s, renewal)


def blocked_share(
    demand: Mapping[JobClass, int],
    choose: Callable[[JobClass], PilotType | None],
    estimates: Estimates,
) -> float:
    """Return the share of cores that idle because other jobs use the memory.

    A memory-heavy job is assumed to share a pilot of the type chosen for it with jobs that need
    less memory per core; the real placement is up to HTCondor.
    """
    weights_s = {c: n * estimates.runtime_s(c) for c, n in demand.items()}
    beside_cores = beside_mb = blocked = 0.0
    for job_class in sorted(sorted(weights_s), key=_memory_by_core_mb):
        weight_s, shape = weights_s[job_class], job_class.shape
        offer = choose(job_class)
        if offer and beside_mb:
            free = offer.shape - shape
            usable = free.memory_mb * beside_cores / beside_mb
            blocked += weight_s * max(0.0, free.cores - usable)
        beside_cores += weight_s * shape.cores
        beside_mb += weight_s * shape.memory_mb
    return blocked / (beside_cores + blocked) if beside_cores else 0.0


def _memory_by_core_mb(job_class: JobClass) -> float:
    return job_class.shape.memory_mb / max(1, job_class.shape.cores)
