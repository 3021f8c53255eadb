"""The comparison as rows: medians over seeds with confidence intervals, and who is on the front."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TextIO

from .compare import Ratio
from .policies.registry import OURS, Choice
from .tuning import Tuned

RESAMPLES = 1000
CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A median and its confidence interval."""

    median: float
    low: float
    high: float


class Row(NamedTuple):
    """A rule on a workload, over its seeds. `taste` says what a peer was tuned for.

    `done` is the share of runs that came to their end; ratios are of those, and infinite if there
    are none, as are `minutes` and `core_h`. `never_used` is a share of the pilots launched,
    `overlaunched` launched by needed.
    """

    scenario: str
    rule: str
    taste: str
    knobs: str
    seeds: int
    done: float
    jobs_done: float
    makespan: Interval
    makespan_any_order: Interval
    charged: Interval
    never_used: float
    launched: float
    overlaunched: float
    first_job_s: Interval
    failed_starts: Interval
    plan_ms: float
    minutes: Interval
    core_h: Interval
    on_front: bool = False


def rows(ratios: Iterable[Ratio], tuned: Iterable[Tuned] = ()) -> list[Row]:
    """Return one row for each scenario, rule and taste, those on the Pareto front marked.

    A choice that is best for two tastes gives two rows.
    """
    tastes: dict[tuple[str, Choice], list[str]] = {}
    for each in tuned:
        tastes.setdefault((each.scenario, each.choice), []).append(each.taste)
    grouped: dict[tuple[str, Choice], list[Ratio]] = {}
    for ratio in ratios:
        task = ratio.run.task
        grouped.setdefault((task.scenario, task.choice), []).append(ratio)
    return _marked(
        [
            _row(scenario, choice, taste, listed)
            for (scenario, choice), listed in grouped.items()
            for taste in tastes.get((scenario, choice), [""])
        ]
    )


def _row(scenario: str, choice: Choice, taste: str, listed: list[Ratio]) -> Row:
    runs = [ratio.run for ratio in listed]
    ended = [ratio for ratio in listed if ratio.run.finished]
    launched = sum(run.launched for run in runs)

    def over(part: Callable[[Ratio], float], among: Sequence[Ratio]) -> Interval:
        return interval([part(ratio) for ratio in among])

    return Row(
        scenario,
        choice.rule,
        taste,
        " ".join(f"{name}={value}" for name, value in choice.knobs),
        len(runs),
        len(ended) / len(runs),
        1 - sum(run.jobs_left for run in runs) / sum(run.jobs for run in runs),
        over(lambda ratio: ratio.makespan, ended),
        over(lambda ratio: ratio.makespan_any_order, ended),
        over(lambda ratio: ratio.charged, ended),
        sum(run.never_used for run in runs) / max(1, launched),
        launched / len(runs),
        median(run.launched / run.needed if run.needed else math.inf for run in runs),
        over(lambda ratio: ratio.run.first_job_s, listed),
        over(lambda ratio: ratio.run.failed_starts, listed),
        sum(run.plan_ms for run in runs) / len(runs),
        over(lambda ratio: ratio.run.makespan_s / 60, ended),
        over(lambda ratio: ratio.run.charged_core_s / 3600, ended),
    )


def interval(values: Sequence[float]) -> Interval:
    """Return the median and its 95 % interval, the same for the same values.

    By the percentile bootstrap: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap,
    1993, chapter 13.
    """
    if not values:
        return Interval(math.inf, math.inf, math.inf)
    rng = random.Random(len(values))
    medians = sorted(median(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    edge = (1 - CONFIDENCE) / 2
    return Interval(
        median(values), medians[int(edge * RESAMPLES)], medians[int((1 - edge) * RESAMPLES) - 1]
    )


def dominated(row: Row, others: Iterable[Row]) -> bool:
    """Return True if one of `others` finished as often, with a smaller makespan or charge, and
    neither larger.
    """
    mine = (row.makespan.median, row.charged.median)
    for other in others:
        theirs = (other.makespan.median, other.charged.median)
        if other.done < row.done:
            continue
        if other.done > row.done or (theirs != mine and all(map(float.__le__, theirs, mine))):
            return True
    return False


def _marked(listed: list[Row]) -> list[Row]:
    by_scenario: dict[str, list[Row]] = {}
    for row in listed:
        by_scenario.setdefault(row.scenario, []).append(row)
    return [
        row._replace(on_front=not dominated(row, by_scenario[row.scenario]))
        for row in sorted(listed, key=_order(list(by_scenario)))
    ]


def _order(scenarios: list[str]) -> Callable[[Row], tuple[int, bool, str, str]]:
    """Return the key of a sensible order: workloads as they came, ours first."""
    places = {name: place for place, name in enumerate(scenarios)}
    return lambda row: (places[row.scenario], row.rule != OURS, row.rule, row.taste)


def as_record(row: Row) -> dict[str, Any]:
    """Return a row as plain data; what is infinite (a run that did not end) becomes None."""
    record: dict[str, Any] = {}
    for name, value in row._asdict().items():
        if isinstance(value, Interval):
            record[name] = _finite(value.median)
            record[f"{name}_low"], record[f"{name}_high"] = map(_finite, value[1:])
        else:
            record[name] = _finite(value) if isinstance(value, float) else value
    return record


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def write_csv(listed: Sequence[Mapping[str, Any]], out: TextIO) -> None:
    """Write records as CSV, with a header line."""
    writer = csv.DictWriter(out, list(listed[0]) if listed else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)


def as_run_record(ratio: Ratio) -> dict[str, Any]:
    """Return a single run as plain data."""
    run = ratio.run
    record: dict[str, Any] = {
        "scenario": run.task.scenario,
        "rule": run.task.choice.rule,
        "knobs": " ".join(f"{name}={value}" for name, value in run.task.choice.knobs),
        "seed": run.task.seed,
        "makespan": ratio.makespan,
        "makespan_any_order": ratio.makespan_any_order,
        "charged": ratio.charged,
    }
    figures = run._asdict()
    del figures["task"]
    record.update({f"limit_{name}": value for name, value in ratio.limits._asdict().items()})
    record.update(figures)
    return {k: _finite(v) if isinstance(v, float) else v for k, v in record.items()}
