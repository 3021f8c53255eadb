"""Which offers can hold a job at all, and what is missing where none can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snakemake_executor_plugin_osgpilot.model.plan import Infeasible
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    PilotType,
    Policy,
    Shape,
    lacks,
    may_run_on,
)


def fits(job_class: JobClass, offer: PilotType, policy: Policy) -> bool:
    """Whether an empty pilot of `offer` with the longest life can run a job of this class."""
    life_s = offer.walltime_max_s - policy.life_taken_s
    return (
        may_run_on(job_class, offer.name)
        and offer.shape.holds(job_class.shape) > 0
        and job_class.runtime_s < life_s
    )


def largest(offers: Iterable[PilotType]) -> Shape:
    """Return the most that a pilot has of each kind."""
    return Shape(*map(max, zip(*(offer.shape for offer in offers), strict=True)))


def stranded(
    classes: Iterable[JobClass], policy: Policy, hopeless: Mapping[str, str]
) -> dict[JobClass, str]:
    """Return the classes for which no pilot can be started any more, each with the reasons.

    `hopeless` has the offers of which none can, with the reason.
    """
    found = {}
    for job_class in classes if hopeless else ():
        fitting = {offer.name for offer in policy.offers if fits(job_class, offer, policy)}
        if fitting and fitting <= hopeless.keys():
            found[job_class] = "; ".join(sorted({hopeless[offer] for offer in fitting}))
    return found


def unfit(classes: Iterable[JobClass], policy: Policy) -> tuple[Infeasible, ...]:
    """Return the classes that no offer can hold, each with the nearest offer and the gap."""
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


def text(job_class: JobClass) -> str:
    """Return what jobs of a class ask for, for people."""
    minutes = f", {job_class.runtime_s // 60} min" if job_class.runtime_s else ""
    return f"{job_class.shape}{minutes}"


def _missing(job_class: JobClass, offer: PilotType, policy: Policy) -> list[str]:
    return lacks(job_class, offer.shape, offer.walltime_max_s - policy.life_taken_s)
