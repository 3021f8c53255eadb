"""The comparison as rows: medians over seeds with confidence intervals, and who is on the front."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple, TextIO

from .compare import Ratio
from .paired import Paired, paired
from .policies.registry import OURS, Choice
from .tuning import Tuned

CONFIDENCE = 0.95


class Interval(NamedTuple):
    """A median and its confidence interval."""

    median: float
    low: float
    high: float


class Row(NamedTuple):
    """A rule on a workload, over its seeds. `taste` says what a peer was tuned for.

    `done` is the share of runs that came to their end; ratios are of those, and infinite if there
    are none, as are `minutes`, `core_h` and `flow_min`, the mean time from when a job could run
    to its end. `ct` is the geometric mean of makespan times charge, `by_ours` its ratio to that of
    ours with the same seeds. `never_used` is a share of the pilots launched,
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
    flow_min: Interval
    ct: float
    by_ours: Paired
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
    ours = {scenario: found for (scenario, choice), found in grouped.items() if choice.rule == OURS}
    return _marked(
        [
            _row(scenario, choice, taste, listed, ours.get(scenario, listed))
            for (scenario, choice), listed in grouped.items()
            for taste in tastes.get((scenario, choice), [""])
        ]
    )


def _row(scenario: str, choice: Choice, taste: str, listed: list[Ratio], ours: list[Ratio]) -> Row:
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
        over(lambda ratio: ratio.run.flow_s / 60, ended),
        math.exp(sum(map(_log_ct, listed)) / len(listed)),
        paired(list(map(_log_ct, listed)), list(map(_log_ct, ours))),
    )


def _log_ct(ratio: Ratio) -> float:
    return math.log(ratio.makespan) + math.log(ratio.charged)


class Headline(NamedTuple):
    """The geometric mean of CT over all workloads of each rule, ours first, and the workloads for
    which a peer has a smaller CT, with the best one.
    """

    ct: dict[str, float]
    lost: dict[str, Row]


def headline(listed: Iterable[Row]) -> Headline:
    """Return the summary of a comparison: ours against each peer, tuned for each workload."""
    by_scenario: dict[str, list[Row]] = {}
    for row in listed:
        if row.taste in ("", "balanced"):
            by_scenario.setdefault(row.scenario, []).append(row)
    logs: dict[str, list[float]] = {}
    lost = {}
    for scenario, found in by_scenario.items():
        for row in found:
            logs.setdefault(row.rule, []).append(math.log(row.ct))
        best = min(found, key=lambda row: row.ct)
        if best.rule != OURS:
            lost[scenario] = best
    return Headline({rule: math.exp(sum(each) / len(each)) for rule, each in logs.items()}, lost)


def interval(values: Sequence[float]) -> Interval:
    """Return the median and an interval that covers the true one with 95 %, or all values of fewer
    than six.

    Between two of the values in order: half of all draws are below the median, whatever their
    distribution (W. J. Conover, Practical Nonparametric Statistics, 1999, section 3.2).
    """
    if not values:
        return Interval(math.inf, math.inf, math.inf)
    ordered, draws = sorted(values), len(values)
    outside, below = 0.0, 0
    while (outside := outside + 2 * math.comb(draws, below) / 2**draws) <= 1 - CONFIDENCE:
        below += 1
    edge = max(0, below - 1)
    return Interval(median(values), ordered[edge], ordered[draws - 1 - edge])


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


def as_record(row: Row) -> dict[str, object]:
    """Return a row as plain data; what is infinite (a run that did not end) becomes None."""
    record: dict[str, object] = {}
    for name, value in row._asdict().items():
        if isinstance(value, (Interval, Paired)):
            record[name] = _finite(value[0])
            record[f"{name}_low"], record[f"{name}_high"] = map(_finite, value[1:])
        else:
            record[name] = _finite(value) if isinstance(value, float) else value
    return record


def _finite(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None


def write_csv(listed: Sequence[Mapping[str, object]], out: TextIO) -> None:
    """Write records as CSV, with a header line."""
    writer = csv.DictWriter(out, list(listed[0]) if listed else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(listed)


def as_run_record(ratio: Ratio) -> dict[str, object]:
    """Return a single run as plain data."""
    run = ratio.run
    record: dict[str, object] = {
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
