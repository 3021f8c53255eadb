"""Which offers can hold a job at all, and what is missing where none can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from snakemake_executor_plugin_osgpilot.model.plan import Infeasible
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, PilotType, Policy, Shape

_NAMES = ("cores", "MB of memory", "MB of disk", "GPUs")


def fits(job_class: JobClass, offer: PilotType, policy: Policy) -> bool:
    """Whether an empty pilot of `offer` with the longest life can run a job of this class."""
    life_s = offer.walltime_max_s - policy.life_taken_s
    return (
        may_run_on(job_class, offer.name)
        and offer.shape.holds(job_class.shape) > 0
        and job_class.runtime_s < life_s
    )


def may_run_on(job_class: JobClass, offer: str) -> bool:
    """Whether jobs of this class do not want pilots of other offers."""
    return not job_class.offers or offer in job_class.offers


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


def lacks(job_class: JobClass, room: Shape, life_s: float) -> list[str]:
    """Return what is missing in `room`, which lives for `life_s`, for one job of this class."""
    gaps = zip(job_class.shape, room, _NAMES, strict=True)
    missing = [f"{needs - has} {name}" for needs, has, name in gaps if needs > has]
    over_s = job_class.runtime_s - life_s
    return missing + ([f"{over_s // 60 + 1:.0f} min of life"] if over_s >= 0 else [])
