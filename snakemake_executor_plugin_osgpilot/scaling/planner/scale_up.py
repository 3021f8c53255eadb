"""Which pilots to start for the work that the present ones cannot take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.common.durations import duration
from snakemake_executor_plugin_osgpilot.model.plan import Launch, Refusal
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, PilotType, Policy
from snakemake_executor_plugin_osgpilot.model.snapshot import Commitment, Gate
from snakemake_executor_plugin_osgpilot.scaling.planner.assessment import Assessment
from snakemake_executor_plugin_osgpilot.scaling.planner.bin_packing import (
    Bin,
    largest_first,
    open_pilots,
)
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.feasibility import fits
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import admit, commitment, exhausted
from snakemake_executor_plugin_osgpilot.scaling.planner.placement import hosted
from snakemake_executor_plugin_osgpilot.scaling.planner.target_size import walltime_s

BLOCKED_TOLERANCE = 0.05
"""Larger pilots are preferred only if so many more of the cores would be idle in smaller ones."""

WAIT_TOLERANCE = 1.25
"""A larger pilot is preferred only if the smaller one is expected to wait this much longer."""


def launches(outlook: Assessment) -> tuple[list[Launch], list[Refusal]]:
    """Return the pilots to start, and those that a rule keeps from starting.

    What planning again would start is started now: work may be laid out otherwise once there are
    new pilots, and where a limit refuses a large pilot there may be room for a small one.
    """
    started: list[Launch] = []
    following: Assessment | None = outlook
    while following:
        more, refused = _launches(following)
        started += more
        following = _after(following, more)
    return started, refused


def _after(outlook: Assessment, started: list[Launch]) -> Assessment | None:
    """Return the outlook once `started` are asked for; None if nothing could follow from it."""
    policy, elsewhere = outlook.policy, outlook.snapshot.elsewhere
    if not started:
        return None
    count = Counter(launch.offer for launch in started)
    snapshot = replace(
        outlook.snapshot.after(started, policy),
        elsewhere=elsewhere + Commitment(launched=len(started)),
        gates={
            name: gate._replace(launches_max=gate.launches_max - count[name])
            for name, gate in outlook.snapshot.gates.items()
        },
    )
    if exhausted(commitment(snapshot) + snapshot.elsewhere, policy, snapshot.gates):
        return None
    return Assessment.of(snapshot, outlook.estimates, policy)


def _launches(outlook: Assessment) -> tuple[list[Launch], list[Refusal]]:
    if not outlook.unmet:
        return [], []
    counts = _counts(outlook)
    cores = sum(c.shape.cores * n for c, n in outlook.unmet.items())
    jobs = f"{sum(outlook.unmet.values())} job(s) ({cores} cores)"
    reason = f"no pilot yet for {jobs}"
    if outlook.have.cores:
        lead = duration(outlook.forecast.lead_s)
        reason = f"no room for {jobs} in {outlook.have.cores} cores of pilots within {lead}"
    wanted = [(offer, _walltime_s(offer, counts, outlook), n) for offer, n in counts.items()]
    return admit(wanted, outlook.taken, outlook.policy, outlook.snapshot.gates, reason)


def _counts(outlook: Assessment) -> Counter[PilotType]:
    """Return how many pilots of which offers to start.

    Small ones, unless they would be more than there may be; as many cores as are worth having; and
    one for every class that otherwise had none.
    """
    policy = outlook.policy
    room = policy.pilots_max - outlook.taken.pilots
    cores = outlook.forecast.wanted_cores - outlook.have.cores
    if policy.cores_max is not None:
        # larger pilots are no remedy for too many small ones where the cores are what is short
        cores = min(cores, policy.cores_max - outlook.taken.cores)
    counts: Counter[PilotType] = Counter()
    for choose in _choosers(outlook):
        opened = open_pilots(outlook.unmet, choose, policy.life_taken_s)
        counts = _cut(opened, policy, cores)
        for job_class, _ in largest_first(outlook.unmet):
            offer = None if _hosted_by(job_class, counts, outlook) else choose(job_class)
            if offer is not None:
                counts[offer] += 1
        if counts.total() <= room:
            break
    return _with_hosts(counts, choose, outlook)


def _with_hosts(
    counts: Counter[PilotType], choose: Callable[[JobClass], PilotType | None], outlook: Assessment
) -> Counter[PilotType]:
    """Return `counts` with one pilot for every class to come that otherwise had none.

    It takes the place of as many cores in smaller ones, which would be in its way when the time has
    come; until then it runs what they would. GPUs are not kept waiting.
    """
    snapshot = outlook.snapshot
    to_come = dict.fromkeys((*snapshot.further, *(soon.job_class for soon in snapshot.soon)), 1)
    for job_class, _ in largest_first(to_come):
        offer = None if _hosted_by(job_class, counts, outlook) else choose(job_class)
        is_of_use = offer is not None and any(fits(c, offer, outlook.policy) for c in outlook.unmet)
        if offer is not None and is_of_use and not offer.shape.gpus:
            counts = _in_place_of_smaller(offer, counts)
    return counts


def _in_place_of_smaller(offer: PilotType, counts: Counter[PilotType]) -> Counter[PilotType]:
    """Return `counts` with one of `offer` for as many cores of others; unchanged if these are
    fewer."""
    left, cores = counts.copy(), offer.shape.cores
    for other in sorted(counts, key=_size):
        taken = min(left[other], -(-max(0, cores) // other.shape.cores))
        left[other] -= taken
        cores -= taken * other.shape.cores
    return counts if cores > 0 else Counter({offer: 1}) + left


def _hosted_by(job_class: JobClass, counts: Counter[PilotType], outlook: Assessment) -> bool:
    return hosted(job_class, outlook.have) or any(
        fits(job_class, offer, outlook.policy) for offer in counts
    )


def _cut(opened: list[Bin], policy: Policy, cores: float) -> Counter[PilotType]:
    """Return how many of the pilots in `opened` to have, until they bring `cores`."""
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


def _choosers(outlook: Assessment) -> list[Callable[[JobClass], PilotType | None]]:
    """Return ways to choose offers, those of small ones first.

    Where small pilots would leave cores idle for want of memory, only larger ones are considered.
    """
    floors = sorted({offer.shape.cores for offer in outlook.policy.offers})
    choosers = [_chooser(outlook, floor) for floor in floors]
    shares = [blocked_share(outlook.work, choose, outlook.estimates) for choose in choosers]
    best = min(shares, default=0.0) + BLOCKED_TOLERANCE
    return [c for c, share in zip(choosers, shares, strict=True) if share <= best]


def _chooser(outlook: Assessment, floor: int) -> Callable[[JobClass], PilotType | None]:
    """Return what picks an offer for a class: the smallest, unless it has to wait for long."""
    wait_s, gates = outlook.estimates.wait_s, outlook.snapshot.gates
    by_size = sorted(outlook.policy.offers, key=_size)

    def choose(job_class: JobClass) -> PilotType | None:
        candidates = [o for o in by_size if fits(job_class, o, outlook.policy)]
        candidates = [o for o in candidates if _open(o, gates)] or candidates
        candidates = [o for o in candidates if o.shape.cores >= floor] or candidates[-1:]
        shortest_s = min((wait_s(o.name) for o in candidates), default=0.0)
        quick = (o for o in candidates if wait_s(o.name) <= WAIT_TOLERANCE * shortest_s)
        return next(quick, None)

    return choose


def _open(offer: PilotType, gates: Mapping[str, Gate]) -> bool:
    return offer.name not in gates or gates[offer.name].launches_max > 0


def _size(offer: PilotType) -> tuple[int, int, int, str]:
    """GPUs first: a job that needs none is not to occupy them."""
    return offer.shape.gpus, offer.shape.cores, offer.shape.memory_mb, offer.name


def _walltime_s(offer: PilotType, counts: Counter[PilotType], outlook: Assessment) -> int:
    hosted_classes = [c for c in outlook.unmet if fits(c, offer, outlook.policy)]
    longest_s = max(map(outlook.estimates.limit_s, hosted_classes), default=0.0)
    cores = outlook.have.cores + sum(o.shape.cores * n for o, n in counts.items())
    work_core_s = outlook.forecast.work_core_s + outlook.further_core_s
    work_s = work_core_s / cores + outlook.serial_s
    return walltime_s(offer, longest_s, work_s, outlook.policy.life_taken_s)


def blocked_share(
    demand: Mapping[JobClass, int],
    choose: Callable[[JobClass], PilotType | None],
    estimates: Estimates,
) -> float:
    """Return the share of cores that find no job because another has taken the memory.

    A job that asks for much memory is taken to run beside jobs that ask for less of it by the core,
    on a pilot of the offer chosen for it; which jobs really meet is up to HTCondor.
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
