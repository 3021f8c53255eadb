"""Workflows to simulate: made from a seed, or put together from jobs that are known."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from ..model.resources import Shape
from .model import CSR, Step, Workload

MINUTE_S = 60.0
ONE_CORE = Shape(1, 2000)


class Job(NamedTuple):
    """One job: the true runtime, and what its rule says. `parents` are numbers of earlier jobs."""

    rule: str
    shape: Shape
    runtime_s: float
    parents: tuple[int, ...] = ()
    hint_s: int = 0
    arrival_s: float = 0.0
    input_bytes: int = 0


def workload_of(name: str, jobs: Iterable[Job]) -> Workload:
    """Return a workload of `jobs`, each of which follows its parents.

    Raises `ValueError` for a parent that is not an earlier job, so that there are no cycles.
    """
    steps: dict[Step, int] = {}
    step_of, runtime_s, arrival_s = array("L"), array("d"), array("d")
    offsets, ids = array("L", [0]), array("L")
    input_bytes = array("L")
    for number, job in enumerate(jobs):
        if job.parents and not 0 <= min(job.parents) <= max(job.parents) < number:
            raise ValueError(f"workload {name}: job {number} follows one that is not before it")
        step_of.append(steps.setdefault(Step(job.rule, job.shape, job.hint_s), len(steps)))
        runtime_s.append(job.runtime_s)
        arrival_s.append(job.arrival_s)
        input_bytes.append(job.input_bytes)
        ids.extend(job.parents)
        offsets.append(len(ids))
    arrivals = arrival_s if any(arrival_s) else None
    sizes = input_bytes if any(input_bytes) else None
    return Workload(name, tuple(steps), step_of, runtime_s, CSR(offsets, ids), arrivals, sizes)


class Ended(NamedTuple):
    """A job of a run that is over. Times in seconds since the epoch; `needs` are keys of others.

    `queued_s` is when it was handed over, where that is all there is to tell when it may run.
    """

    key: str
    rule: str
    shape: Shape
    started_s: float
    ended_s: float
    needs: tuple[str, ...] = ()
    hint_s: int = 0
    queued_s: float | None = None
    input_bytes: int = 0


def recorded(name: str, ended: Iterable[Ended]) -> Workload:
    """Return the workload of a run that is over.

    Keys that no job has are taken for jobs that had been done before. A job with `queued_s` comes
    as late after the first as it did, any other is ready when what it needs has ended.
    """
    rows = sorted(ended, key=lambda row: (row.ended_s, row.key))
    first_s = min((row.queued_s for row in rows if row.queued_s is not None), default=0.0)
    numbers = {row.key: number for number, row in enumerate(rows)}
    return workload_of(
        name,
        (
            Job(
                row.rule,
                row.shape,
                max(0.0, row.ended_s - row.started_s),
                tuple(sorted(numbers[key] for key in row.needs if numbers.get(key, at) < at)),
                row.hint_s,
                0.0 if row.queued_s is None else row.queued_s - first_s,
                row.input_bytes,
            )
            for at, row in enumerate(rows)
        ),
    )


def _spread(rng: random.Random, median_s: float, sigma: float = 0.25) -> float:
    """Draw a runtime; of all distributions with few parameters, lognormal ones suit batch jobs best
    (Lublin and Feitelson, Journal of Parallel and Distributed Computing 63, 2003, section 4.2).
    """
    return median_s * rng.lognormvariate(0.0, sigma)


def bag(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Independent jobs of one core and about eight minutes."""
    return (Job("map", ONE_CORE, _spread(rng, 480.0), hint_s=1800) for _ in range(jobs))


_MIXED = (
    (50, "filter", Shape(1, 2000), 480.0, 1800),
    (24, "align", Shape(4, 8000), 900.0, 3600),
    (10, "assemble", Shape(8, 16_000), 1200.0, 3600),
    (16, "index", Shape(1, 24_000), 600.0, 1800),
)
"""Share in per cent, rule, shape, median of the runtime, what the rule claims."""


def mixed(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Independent jobs of four shapes; one rule needs much memory for one core."""
    for _ in range(jobs):
        (kind,) = rng.choices(_MIXED, weights=[kind[0] for kind in _MIXED])
        _, rule, shape, median_s, hint_s = kind
        yield Job(rule, shape, _spread(rng, median_s), hint_s=hint_s)


def dag(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Return samples through three steps, one merge, then plots: a pipeline as in genomics."""
    samples = max(1, jobs // 4)
    calls = []
    for sample in range(samples):
        first = 3 * sample
        yield Job("map", Shape(4, 8000), _spread(rng, 1200.0), hint_s=3600)
        yield Job("sort", ONE_CORE, _spread(rng, 300.0), (first,), hint_s=1200)
        yield Job("call", Shape(2, 4000), _spread(rng, 900.0), (first + 1,), hint_s=3600)
        calls.append(first + 2)
    yield Job("merge", Shape(8, 16_000), _spread(rng, 600.0), tuple(calls), hint_s=1800)
    for _ in range(samples):
        yield Job("plot", ONE_CORE, _spread(rng, 120.0), (3 * samples,), hint_s=600)


def rounds(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Five times: many jobs side by side, then one that needs them all."""
    wide = max(1, jobs // 5)
    gathered: tuple[int, ...] = ()
    for turn in range(5):
        first = turn * (wide + 1)
        for _ in range(wide):
            yield Job("scatter", ONE_CORE, _spread(rng, 300.0), gathered, hint_s=1200)
        gathered = (first + wide,)
        everyone = tuple(range(first, first + wide))
        yield Job("gather", Shape(4, 8000), _spread(rng, 300.0), everyone, hint_s=1200)


def tail(jobs: int, rng: random.Random) -> Iterator[Job]:
    """One rule that says nothing of its runtime: five minutes mostly, but 7 % take ninety."""
    for _ in range(jobs):
        median_s = 90 * MINUTE_S if rng.random() < 0.07 else 5 * MINUTE_S
        yield Job("fit", ONE_CORE, _spread(rng, median_s, 0.15))


def tiny(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Many jobs of a minute."""
    return (Job("check", ONE_CORE, _spread(rng, 60.0), hint_s=300) for _ in range(jobs))


def bursts(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Five bursts of jobs, forty minutes apart, as checkpoints bring them."""
    for number in range(jobs):
        at_s = 40 * MINUTE_S * (5 * number // jobs)
        yield Job("map", ONE_CORE, _spread(rng, 480.0), hint_s=1800, arrival_s=at_s)


def heavy(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Runtimes over three orders of magnitude: lognormal, of no more than three hours."""
    for _ in range(jobs):
        runtime_s = min(_spread(rng, 300.0, 1.5), 3 * 3600.0)
        yield Job("solve", ONE_CORE, runtime_s, hint_s=4 * 3600)


def sized(jobs: int, rng: random.Random) -> Iterator[Job]:
    """Runtimes over three orders of magnitude, of which the size of the inputs shows much (their
    logarithms correlate with 0.8): samples of different depth, as in sequencing.
    """
    for _ in range(jobs):
        input_bytes = round(1e9 * rng.lognormvariate(0.0, 1.0))
        runtime_s = min(300.0 * (input_bytes / 1e9) * rng.lognormvariate(0.0, 0.7), 10_800.0)
        yield Job("map", ONE_CORE, runtime_s, hint_s=4 * 3600, input_bytes=input_bytes)


Family = Callable[[int, random.Random], Iterator[Job]]
FAMILIES: Mapping[str, tuple[Family, int]] = {
    "bag": (bag, 3000),
    "mixed": (mixed, 1500),
    "dag": (dag, 800),
    "rounds": (rounds, 1500),
    "tail": (tail, 1000),
    "tiny": (tiny, 10_000),
    "bursts": (bursts, 2000),
    "heavy": (heavy, 2000),
    "sized": (sized, 2000),
}
"""The families, each with the number of jobs of the standard comparison."""


def made(family: str, seed: int, jobs: int | None = None) -> Workload:
    """Return a workload of a family, about `jobs` long; the same for the same seed."""
    make, usual = FAMILIES[family]
    return workload_of(family, make(jobs or usual, random.Random(f"{family} {seed}")))
