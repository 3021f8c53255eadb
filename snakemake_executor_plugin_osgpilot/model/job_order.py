"""The order in which jobs of a run are started where several wait: HTCondor's job priority."""

from __future__ import annotations

from math import log2
from typing import NamedTuple

from .memory_balance import is_heavy, weight
from .resources import Shape

LEVELS = 128
"""Number of levels of urgency."""

LEVELS_PER_DOUBLING = 4
"""Levels between a remaining time and twice as much. Each level splits the jobs of a class at the
negotiator, and runtimes are not predicted more precisely."""

WEIGHTS = 8192
"""Number of weights: cores, and as many again for jobs that need much memory."""

RULE_PRIORITY_MAX = 1000
"""Larger priorities of rules count like this; it is what HTCondor's 32 bits leave room for."""


def urgency(remaining_s: float) -> int:
    """Return the level of a job from which on the workflow takes `remaining_s`: its own expected
    runtime and the longest chain of jobs after it (the upward rank of H. Topcuoglu, S. Hariri and
    M.-Y. Wu, IEEE Trans. Parallel Distrib. Syst. 13, 2002).
    """
    return min(LEVELS - 1, round(LEVELS_PER_DOUBLING * log2(max(1.0, remaining_s))))


def priority(shape: Shape, largest: Shape | None, level: int = 0, rule_priority: float = 0) -> int:
    """Return the priority of a job; `largest` is the shape of the biggest pilot, if known.

    The `priority:` of its rule comes first. Then jobs that need much memory, which find room on few
    pilots at a time, and of the others the largest: small ones that start first would fragment all
    slots. Then the level of urgency.
    """
    half = WEIGHTS // 2
    size = min(half - 1, weight(shape, largest))
    if largest is not None and is_heavy(shape, largest):
        size += half
    given = int(max(-RULE_PRIORITY_MAX, min(RULE_PRIORITY_MAX, rule_priority)))
    return (given * WEIGHTS + size) * LEVELS + level


class Outlook(NamedTuple):
    """What is known of a job when it is handed over that its place in the queue depends on.

    `expected_s` is what a job of its rule takes as far as the rule says, `after_s` the time of the
    longest chain of jobs after it, `input_bytes` the size of its inputs, None if unknown.
    """

    expected_s: float = 0.0
    after_s: float = 0.0
    input_bytes: int | None = None
    rule_priority: float = 0


NO_OUTLOOK = Outlook()
