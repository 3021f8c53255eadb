"""The estimated time remaining of a run: a range, or no figure at all.

Runtimes are learned from finished jobs of the same rule, in this run or in earlier ones of the same
folder. A rule's `runtime` is a limit, not an expectation: a rule that was never seen has no
estimate. Critical path and area bound of list scheduling (Graham 1969).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...common.durations import duration, rough
from ...jobs.state.rule_sums import RuleSums
from .critical_path import longest_path

if TYPE_CHECKING:
    from ...model.upcoming import UpcomingWork

EARLIER_WEIGHT = 3
"""Number of jobs of this run that count as much as all earlier runs: inputs may have changed."""

ALIKE = 1.3
"""Ends of a range that differ by less than this factor are shown as one figure."""

SHORT_S = 10.0
"""Times below this are not shown as a figure."""


@dataclass(frozen=True)
class Rest:
    """The remaining work of a rule.

    `jobs` wait or are upcoming, `running` have run for `elapsed_s` on average. A job uses `cores`
    and takes `takes_s` on average, None if no job of the rule has ever ended. `after` are the rules
    that upcoming jobs depend on.
    """

    jobs: int = 0
    running: int = 0
    elapsed_s: float = 0.0
    cores: float = 1.0
    takes_s: float | None = None
    after: frozenset[str] = frozenset()

    @property
    def unknown(self) -> bool:
        return self.takes_s is None and bool(self.jobs or self.running)

    @property
    def running_rest_s(self) -> float:
        """The remaining time of running jobs; if overdue, as long as they are overdue."""
        return abs((self.takes_s or 0.0) - self.elapsed_s) if self.running else 0.0

    @property
    def work_core_s(self) -> float:
        """The remaining core-seconds."""
        waiting_s = self.jobs * (self.takes_s or 0.0)
        return self.cores * (waiting_s + self.running * self.running_rest_s)

    @property
    def longest_s(self) -> float:
        """The time of the last job, once it can start."""
        return (self.takes_s or 0.0) if self.jobs else self.running_rest_s


@dataclass(frozen=True)
class Eta:
    """The expected seconds to the end of a run, counted from when pilots serve.

    `low_s` assumes all wanted pilots, `high_s` those that serve now. `serving` is True if any does;
    `unknown` are rules of which no job has ended yet, which add an unknown time.
    """

    low_s: float
    high_s: float
    serving: bool = True
    unknown: tuple[str, ...] = ()

    def after(self, passed_s: float) -> Eta:
        """Return the estimate `passed_s` later without new data; time only counts while serving."""
        passed_s = passed_s if self.serving else 0.0
        low_s, high_s = max(0.0, self.low_s - passed_s), max(0.0, self.high_s - passed_s)
        return Eta(low_s, high_s, self.serving, self.unknown)

    @property
    def text(self) -> str:
        """The text for the user."""
        low_s, high_s = rough(self.low_s), rough(self.high_s)
        if self.unknown:
            if low_s < SHORT_S:
                return "time left unknown"
            text = f"{duration(low_s)} or more to go"
        elif high_s < SHORT_S:
            text = f"less than {SHORT_S:.0f} s to go"
        elif high_s <= ALIKE * low_s:
            text = f"about {duration(rough((self.low_s + self.high_s) / 2))} to go"
        elif low_s < SHORT_S:
            text = f"about {duration(high_s)} to go"
        else:
            text = f"{duration(low_s)} to {duration(high_s)} to go"
        return text if self.serving else f"{text} once a pilot is ready"


def mean_s(ended: int, took_s: float, earlier_s: float | None) -> float | None:
    """Return the mean runtime of a rule's jobs, None if none has ended.

    `ended` jobs of this run took `took_s` together; one took `earlier_s` in earlier runs.
    """
    weight = 0 if earlier_s is None else EARLIER_WEIGHT
    if not ended + weight:
        return None
    return (took_s + weight * (earlier_s or 0.0)) / (ended + weight)


def rests_of(
    rules: Mapping[str, RuleSums],
    ahead: UpcomingWork,
    earlier_core_s: Mapping[str, float],
    now_s: float,
) -> dict[str, Rest]:
    """Return the remaining work by rule, from submitted and upcoming jobs.

    `earlier_core_s` has the core-seconds of a job in earlier runs, by rule.
    """
    return {
        name: _rest(name, rules.get(name, RuleSums()), ahead, earlier_core_s.get(name), now_s)
        for name in {**rules, **ahead.rules}
    }


def _rest(
    name: str, sums: RuleSums, ahead: UpcomingWork, earlier_core_s: float | None, now_s: float
) -> Rest:
    come = ahead.rules.get(name)
    cores = sums.cores / sums.jobs if sums.jobs else come.cores if come else 1.0
    ended = sums.done + sums.failed
    running = round(sums.running_cores / cores)
    elapsed_core_s = sums.running_cores * now_s - sums.running_since_core_s
    to_come = max(0, come.jobs - ahead.gone.get(name, 0)) if come else 0
    return Rest(
        jobs=max(0, sums.jobs - ended - running) + to_come,
        running=running,
        elapsed_s=elapsed_core_s / sums.running_cores if sums.running_cores else 0.0,
        cores=cores,
        takes_s=mean_s(
            ended if sums.done else 0,
            sums.past_core_s / cores if sums.done else 0.0,
            None if earlier_core_s is None else earlier_core_s / cores,
        ),
        after=come.after if come else frozenset(),
    )


def eta(rests: Mapping[str, Rest], cores: float, wanted_cores: float) -> Eta | None:
    """Return the time remaining of a run given the remaining work by rule; None if there is none.

    `cores` is the number of cores that serve now, `wanted_cores` the target.
    """
    left = {name: rest for name, rest in rests.items() if rest.jobs or rest.running}
    if not left:
        return None
    path = longest_path(rests, lambda name: rests[name].after, lambda name: rests[name].longest_s)
    path_s = sum(rests[name].longest_s for name in path)
    path_core_s = sum(rests[name].longest_s * rests[name].cores for name in path)
    work_core_s = sum(rest.work_core_s for rest in left.values())
    most = max(cores, wanted_cores, 1.0)
    fewest = cores or most
    low_s = max(path_s, work_core_s / most)
    high_s = max(low_s, path_s + max(0.0, work_core_s - path_core_s) / fewest)
    unknown = tuple(sorted(name for name, rest in left.items() if rest.unknown))
    return Eta(low_s, high_s, bool(cores), unknown)
