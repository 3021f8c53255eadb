"""Job classes that no pilot can run, and what the nearest pilot type lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...model.plan import Infeasible
from ...model.resources import JobClass, PilotType, Policy, Shape, lacks, may_run_on


def fits(job_class: JobClass, offer: PilotType, policy: Policy) -> bool:
    """Return True if an empty pilot of type `offer` with the longest walltime can run the class."""
    life_s = offer.walltime_max_s - policy.life_taken_s
    return (
        may_run_on(job_class, offer.name)
        and offer.shape.holds(job_class.shape) > 0
        and job_class.runtime_s < life_s
    )


def largest(offers: Iterable[PilotType]) -> Shape:
    """Return the maximum of each resource over the pilot types."""
    return Shape(*map(max, zip(*(offer.shape for offer in offers), strict=True)))


def unschedulable(
    classes: Iterable[JobClass], policy: Policy, unavailable: Mapping[str, str]
) -> dict[JobClass, str]:
    """Return the classes for which no pilot can be started any more, each with the reasons.

    `unavailable` has the pilot types that cannot be started, with the reason.
    """
    found = {}
    for job_class in classes if unavailable else ():
        fitting = {offer.name for offer in policy.offers if fits(job_class, offer, policy)}
        if fitting and fitting <= unavailable.keys():
            found[job_class] = "; ".join(sorted({unavailable[offer] for offer in fitting}))
    return found


def infeasible_classes(classes: Iterable[JobClass], policy: Policy) -> tuple[Infeasible, ...]:
    """Return the classes that no pilot type can run, each with the nearest type and the gap."""
    return tuple(
        Infeasible(job_class, _gap(job_class, policy))
        for job_class in sorted(classes)
        if not any(fits(job_class, offer, policy) for offer in policy.offers)
    )


def _gap(job_class: JobClass, policy: Policy) -> str:
    wanted = [o for o in policy.offers if o.name in job_class.offers] or policy.offers
    offers = [(_missing(job_class, offer, policy), offer) for offer in wanted]
    missing, nearest = min(offers, key=lambda pair: (len(pair[0]), pair[0], pair[1].name))
    return (
        f"it needs {text(job_class)}; the nearest pilot ({nearest.name}: {nearest.shape}, "
        f"{(nearest.walltime_max_s - policy.life_taken_s) // 60} min for jobs) "
        f"lacks {' and '.join(missing)}"
    )


def text(job_class: JobClass, rule_memory_mb: int | None = None) -> str:
    """Return the request of a class as text for users, with what the rule itself names."""
    minutes = f", {job_class.runtime_s // 60} min" if job_class.runtime_s else ""
    asked = f"{job_class.shape}{minutes}"
    memory = f"{job_class.shape.memory_mb} MB"
    if rule_memory_mb in (None, job_class.shape.memory_mb):
        return asked
    return asked.replace(memory, f"{memory} (rule: {rule_memory_mb} MB)", 1)


def _missing(job_class: JobClass, offer: PilotType, policy: Policy) -> list[str]:
    return lacks(job_class, offer.shape, offer.walltime_max_s - policy.life_taken_s)
