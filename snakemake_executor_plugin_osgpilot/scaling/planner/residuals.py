"""How long pilots are still busy when no job waits any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Weighted(NamedTuple):
    """A runtime in seconds, and how often it occurs."""

    runtime_s: float
    weight: float


def residual_s(runtimes: Iterable[Weighted], side_by_side: float = 1.0) -> float:
    """Return the expected time until the last of the jobs that run side by side has ended.

    They are met at a random moment, so the rest R of one has P(R <= t) = 1/E[X] times the integral
    of P(X > x) over x from 0 to t (renewal theory, D. R. Cox 1962, chapter 5). The maximum of n has
    the n-th power of this, and its mean is the integral of one minus that; between two runtimes,
    P(R <= t) is linear. For n = 1 the result is E[X²]/2E[X]. It is 0 without runtimes.
    """
    by_length = sorted(runtimes)
    total_s = sum(each.weight * each.runtime_s for each in by_length)
    if total_s <= 0:
        return 0.0
    left, power = sum(each.weight for each in by_length), side_by_side + 1
    at_s = share = mean_s = 0.0
    for runtime_s, weight in by_length:
        if left > 0:
            slope = left / total_s
            more = min(1.0, share + slope * (runtime_s - at_s))
            mean_s += runtime_s - at_s - (more**power - share**power) / (power * slope)
            at_s, share = runtime_s, more
        left -= weight
    return mean_s
