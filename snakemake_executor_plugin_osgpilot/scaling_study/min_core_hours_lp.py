"""The fewest core-hours that hold a workload: a linear program over the pilots' shapes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pulp

from ..model.resources import PilotType, Shape


def least_core_s(work: Mapping[Shape, float], offers: tuple[PilotType, ...]) -> float:
    """Return CH*: the fewest core-seconds of pilots that hold all the work, seconds by shape.

    Variables are hours of each offer, and of each shape of jobs on each offer that can hold it at
    all; in no dimension more than the hours bring. Jobs may be cut in pieces, boots are free: they
    are the same whatever a pilot's life, and a life can be a day. Raises `ValueError` if a job fits
    no offer.
    """
    scale = max(1.0, sum(work.values()))
    demand = {shape: seconds / scale for shape, seconds in work.items()}
    for shape in demand:
        if not any(offer.shape.holds(shape) for offer in offers):
            raise ValueError(f"no pilot of {len(offers)} kinds holds a job of {shape}")
    with warnings.catch_warnings():
        # Snakemake allows PuLP below 3.4 only, which warns of changes in 4.0
        warnings.simplefilter("ignore", DeprecationWarning)
        return scale * _least_cores(demand, offers)


def _least_cores(demand: Mapping[Shape, float], offers: tuple[PilotType, ...]) -> float:
    """Return how many cores of pilots hold so much work of each shape in one unit of time."""
    program = pulp.LpProblem("core_hours", pulp.LpMinimize)
    lives = [pulp.LpVariable(f"life_{n}", lowBound=0) for n in range(len(offers))]
    program += pulp.lpSum(o.shape.cores * life for o, life in zip(offers, lives, strict=True))
    used: dict[tuple[int, int], list[Any]] = {}
    for c, (shape, amount) in enumerate(demand.items()):
        hosts = [n for n, offer in enumerate(offers) if offer.shape.holds(shape)]
        parts = {n: pulp.LpVariable(f"part_{c}_{n}", lowBound=0) for n in hosts}
        program += pulp.lpSum(parts.values()) == amount
        for n, part in parts.items():
            for k in range(4):
                used.setdefault((n, k), []).append(shape[k] * part)
    for (n, k), terms in used.items():
        program += pulp.lpSum(terms) <= offers[n].shape[k] * lives[n]
    program.solve(pulp.PULP_CBC_CMD(msg=False))
    return float(pulp.value(program.objective))
