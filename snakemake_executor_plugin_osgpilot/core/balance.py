"""Whether pilots have memory and cores in the proportion in which the jobs, taken together, ask."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from snakemake_executor_plugin_osgpilot.core.estimates import Estimates
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Offer


def blocked_share(
    demand: Mapping[JobClass, int],
    choose: Callable[[JobClass], Offer | None],
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
