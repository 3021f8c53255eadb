"""Learn from ended jobs how the runtime of a rule depends on the size of the inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import exp, log, log1p, sqrt
from statistics import fmean, median
from typing import NamedTuple

JOBS_MIN = 10
"""Minimum number of jobs for a claim."""

CORRELATION_MIN = 0.3
"""A weaker correlation is of no use for an order."""

SIGNIFICANT = 2.6
"""Minimum |correlation|·√(jobs − 1): chance alone exceeds it once in a hundred rules (Kendall and
Gibbons, Rank Correlation Methods, 1990: the normal approximation of Spearman's coefficient)."""

RATIO_MAX = 64.0
"""Maximum ratio of an expected runtime to that of the rule's usual job, and its inverse's."""

GROWTH = 1.5
"""An effect is computed again when there are so many times as many jobs."""

SAMPLES_MAX = 128
"""Number of jobs kept for a rule; when there are more, every second one is left out."""


class Sample(NamedTuple):
    """A job that succeeded: the bytes of its inputs and its runtime."""

    input_bytes: int
    runtime_s: float


class SizeEffect(NamedTuple):
    """The dependency found in `jobs` jobs: Spearman's rank `correlation`, and a power law with this
    `exponent` through the `usual_bytes` of a job.
    """

    jobs: int
    correlation: float
    exponent: float
    usual_bytes: float

    @property
    def holds(self) -> bool:
        """True if it is strong and certain enough to order jobs by it."""
        strength = abs(self.correlation)
        if self.jobs < JOBS_MIN or strength < CORRELATION_MIN:
            return False
        return strength * sqrt(self.jobs - 1) >= SIGNIFICANT

    def ratio(self, input_bytes: int) -> float:
        """Return the expected runtime relative to a job with the usual size of inputs."""
        if not self.holds:
            return 1.0
        power = self.exponent * (log1p(input_bytes) - log1p(self.usual_bytes))
        return exp(min(log(RATIO_MAX), max(-log(RATIO_MAX), power)))


NO_EFFECT = SizeEffect(0, 0.0, 0.0, 0.0)


def size_effect(samples: Sequence[Sample]) -> SizeEffect:
    """Return how runtimes depend on the size of inputs.

    The exponent is the median of the slopes between all pairs, on logarithms, so that outliers do
    not matter (H. Theil, Indagationes Mathematicae 12, 1950; P. K. Sen, J. Am. Stat. Assoc. 63,
    1968).
    """
    if len(samples) < 2:
        return NO_EFFECT
    sizes = [log1p(sample.input_bytes) for sample in samples]
    times = [log(max(1.0, sample.runtime_s)) for sample in samples]
    slopes = [
        (times[b] - times[a]) / (sizes[b] - sizes[a])
        for a, b in combinations(range(len(samples)), 2)
        if sizes[a] != sizes[b]
    ]
    usual = median(sample.input_bytes for sample in samples)
    correlation = _pearson(_ranks(sizes), _ranks(times))
    return SizeEffect(len(samples), correlation, median(slopes or (0.0,)), usual)


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, equal ones with the mean of theirs."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [sum(places[value]) / len(places[value]) for value in values]


def _pearson(xs: Sequence[float], ys: Sequence[float]) -> float:
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    squares = sum((x - mean_x) ** 2 for x in xs) * sum((y - mean_y) ** 2 for y in ys)
    if squares <= 0:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sqrt(squares)


class RuntimesBySize:
    """The knowledge about each rule: jobs of `earlier` runs, and those noted since.

    An effect is seldom computed again, so that waiting jobs are seldom reordered. `_counts` are the
    jobs known of each rule, `_computed` how many there were then; every `_strides`th one is kept.
    """

    def __init__(self, earlier: Mapping[str, Iterable[Sample]] | None = None) -> None:
        self._samples = {rule: list(samples) for rule, samples in (earlier or {}).items()}
        self._effects = {rule: size_effect(known) for rule, known in self._samples.items()}
        self._counts = {rule: len(known) for rule, known in self._samples.items()}
        self._computed = dict(self._counts)
        self._strides: dict[str, int] = {}
        self._earlier_s = {
            rule: fmean(sample.runtime_s for sample in known)
            for rule, known in self._samples.items()
            if len(known) >= JOBS_MIN and not self._effects[rule].holds
        }

    def note(self, rule: str, sample: Sample) -> bool:
        """Record a job that succeeded; return True if the order of the rule's jobs may change."""
        count = self._counts[rule] = self._counts.get(rule, 0) + 1
        known = self._samples.setdefault(rule, [])
        stride = self._strides.get(rule, 1)
        if not count % stride:
            known.append(sample)
        if len(known) > SAMPLES_MAX:
            # not the oldest ones: where long jobs come first, the newest are all alike
            del known[::2]
            self._strides[rule] = 2 * stride
        if count < max(JOBS_MIN, GROWTH * self._computed.get(rule, 0)):
            return False
        before = self.effect(rule)
        after = self._effects[rule] = size_effect(known)
        self._computed[rule] = count
        return before.holds or after.holds

    def earlier_s(self, rule: str) -> float | None:
        """Return what a job of the rule took in earlier runs, None if too few are known, or if it
        depends on the inputs.
        """
        return self._earlier_s.get(rule)

    def effect(self, rule: str) -> SizeEffect:
        """Return how the runtime of the rule's jobs depends on the size of their inputs."""
        return self._effects.get(rule, NO_EFFECT)

    def samples(self) -> dict[str, list[Sample]]:
        """Return the jobs kept of each rule."""
        return {rule: list(samples) for rule, samples in self._samples.items()}
