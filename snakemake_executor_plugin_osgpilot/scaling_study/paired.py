"""Ratios of two policies, paired by seed, with intervals that cover."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

T_QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""The 97.5 % quantiles of Student's distribution for 1 to 30 degrees of freedom."""

T_BEYOND = 1.96


class Paired(NamedTuple):
    """A geometric mean of ratios and its 95 % interval."""

    ratio: float
    low: float
    high: float


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Paired:
    """Return ours by theirs from the logarithms of both, by seed; infinite if one is.

    Both have the same luck with a seed, so that the ratio varies less than either. Student's
    interval on the logarithms, which covers also for few seeds.
    """
    logs = [a - b for a, b in zip(ours, theirs, strict=True)]
    if not logs or not all(map(math.isfinite, (*ours, *theirs))):
        # a policy that leaves jobs behind has no ratio
        worse = math.inf if not all(map(math.isfinite, ours)) else 0.0
        return Paired(worse, 0.0, math.inf)
    mean = sum(logs) / len(logs)
    if len(logs) == 1:
        return Paired(math.exp(mean), 0.0, math.inf)
    variance = sum((each - mean) ** 2 for each in logs) / (len(logs) - 1)
    freedom = len(logs) - 1
    quantile = T_QUANTILES[freedom - 1] if freedom <= len(T_QUANTILES) else T_BEYOND
    half = quantile * math.sqrt(variance / len(logs))
    return Paired(math.exp(mean), math.exp(mean - half), math.exp(mean + half))
