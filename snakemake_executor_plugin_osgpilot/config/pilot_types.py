"""The pilot types of a site, for the planner and for Slurm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..common.names import is_offer
from ..model.resources import UNBOUNDED_MB, PilotType, Shape
from .site import Partition, Site


@dataclass(frozen=True)
class Kind:
    """A pilot type, with the partition and the memory (headroom included) of its allocation."""

    offer: PilotType
    partition: Partition
    memory_mb: int


def kinds(site: Site) -> tuple[Kind, ...]:
    """Return the types of all partitions: the largest pilot, its half, its quarter and so on."""
    return tuple(kind for partition in site.partitions for kind in _kinds(partition, site))


def _word(partition: str) -> str:
    """Return the name of a partition as a ClassAd can have it."""
    return "".join(each if is_offer(each) else "_" for each in partition)


def _kinds(partition: Partition, site: Site) -> Iterator[Kind]:
    parts = 1
    while parts == 1 or partition.cores // parts >= partition.smallest_cores:
        cores = partition.cores // parts
        # with more memory a core than the largest has, Slurm may give more cores (MaxMemPerCPU)
        memory_mb = partition.memory_mb * cores // partition.cores
        offered_mb = memory_mb - site.pilot.memory_headroom_mb
        if partition.gpus % parts or offered_mb <= 0:
            return
        limited = partition.disk_mb < UNBOUNDED_MB
        shape = Shape(
            cores,
            offered_mb,
            partition.disk_mb // parts if limited else UNBOUNDED_MB,
            partition.gpus // parts,
        )
        walltimes_s = tuple(60 * minutes for minutes in partition.walltimes_min)
        name = f"{site.offer_prefix}{_word(partition.name or 'default')}/{shape.cores}c"
        price = 1.0 if site.cost_per_core_h is None else site.cost_per_core_h
        offer = PilotType(name, shape, walltimes_s, site=site.resource, price=price)
        yield Kind(offer, partition, memory_mb)
        parts *= 2
