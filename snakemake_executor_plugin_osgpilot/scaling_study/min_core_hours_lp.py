"""The fewest core-hours that hold a workload: a linear program over what fills pilots."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import islice
from operator import sub
from typing import Any

import pulp

from ..model.resources import PilotType, Shape

PATTERNS_MAX = 5_000
"""With more sets of jobs that fill a pilot than this, jobs may be cut in pieces for the bound."""


def least_core_s(work: Mapping[Shape, float], offers: tuple[PilotType, ...]) -> float:
    """Return CH*: the fewest core-seconds of pilots that hold all the work, seconds by shape.

    At each moment a pilot holds a set of whole jobs: variables are hours of each offer with each
    set that leaves no room for one more (P. C. Gilmore and R. E. Gomory, "A linear programming
    approach to the cutting-stock problem", Operations Research 9, 1961). A job may run in several
    of them, and boots are free: they are the same whatever a pilot's life, and a life can be a
    day. Raises `ValueError` if a job fits no offer.
    """
    scale = max(1.0, sum(work.values()))
    demand = {shape: seconds / scale for shape, seconds in work.items() if seconds > 0}
    for shape in demand:
        if not any(offer.shape.holds(shape) for offer in offers):
            raise ValueError(f"no pilot of {len(offers)} kinds holds a job of {shape}")
    shapes = sorted(demand, reverse=True)
    patterns = [
        (offer.shape.cores, pattern)
        for offer in offers
        for pattern in islice(full_patterns(offer.shape, shapes), PATTERNS_MAX + 1)
    ]
    with warnings.catch_warnings():
        # Snakemake allows PuLP below 3.4 only, which warns of changes in 4.0
        warnings.simplefilter("ignore", DeprecationWarning)
        if len(patterns) > PATTERNS_MAX:
            return scale * _least_cores_in_pieces(demand, offers)
        return scale * _least_cores(demand, shapes, patterns)


def full_patterns(room: Shape, shapes: Sequence[Shape]) -> Iterator[tuple[int, ...]]:
    """Yield how many jobs of each of `shapes` fit into `room` together, if no more of them fit."""
    if len(shapes) == 1:
        yield (room.holds(shapes[0]),)
        return
    first, *others = shapes
    for count in range(room.holds(first), -1, -1):
        left = room - first.times(count)
        for rest in full_patterns(left, others):
            taken = [other.times(n) for other, n in zip(others, rest, strict=True)]
            if not reduce(sub, taken, left).holds(first):
                yield (count, *rest)


def _least_cores(
    demand: Mapping[Shape, float],
    shapes: Sequence[Shape],
    patterns: Sequence[tuple[int, tuple[int, ...]]],
) -> float:
    """Return how many cores of pilots, filled by `patterns`, do the work in one unit of time."""
    program = pulp.LpProblem("core_hours", pulp.LpMinimize)
    lives = [pulp.LpVariable(f"life_{n}", lowBound=0) for n in range(len(patterns))]
    program += pulp.lpSum(cores * life for (cores, _), life in zip(patterns, lives, strict=True))
    for k, shape in enumerate(shapes):
        held = (row[k] * life for (_, row), life in zip(patterns, lives, strict=True) if row[k])
        program += pulp.lpSum(held) >= demand[shape]
    program.solve(pulp.PULP_CBC_CMD(msg=False))
    return float(pulp.value(program.objective))


def _least_cores_in_pieces(demand: Mapping[Shape, float], offers: tuple[PilotType, ...]) -> float:
    """Return the same if jobs may be cut in pieces, with no more in any dimension than there is."""
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
