"""A whole comparison: tune the peers, run everybody on the same seeds, write what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from .compare import Bench, Ratio, Task
from .html import html, markdown
from .pareto_plot import svg
from .policies.registry import OURS, RULES, Choice
from .scenarios import SCENARIOS, scenario
from .table import Row, as_record, as_run_record, rows, write_csv
from .tuning import FINALISTS, TASTES, Tuned, candidates, tune


class Study(NamedTuple):
    """The options of a study. `tuning_seeds` 0 leaves peers at their own defaults."""

    scenarios: tuple[str, ...]
    rules: tuple[str, ...]
    seeds: int
    tuning_seeds: int
    jobs: int | None = None
    more: tuple[str, ...] = ()
    """Options that hold for all workloads, for the command line that makes it again."""

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        policies: tuple[str, ...],
        seeds: int,
        tuning_seeds: int,
        jobs: int | None,
        more: tuple[str, ...] = (),
    ) -> Study:
        """Return a study of these, of all where none is named. Raises `InputError`."""
        for name in names:
            scenario(name)
        # `ours` is what the documents and older versions say
        policies = tuple(OURS if rule == "ours" else rule for rule in policies)
        for rule in policies:
            if rule not in (OURS, *RULES):
                raise InputError(
                    f"there is no policy {rule!r}; known are {', '.join((OURS, *RULES))}"
                )
        return cls(
            tuple(dict.fromkeys(names)) or tuple(SCENARIOS),
            tuple(dict.fromkeys(policies)) or (OURS, *RULES),
            seeds,
            tuning_seeds,
            jobs,
            more,
        )

    @property
    def peers(self) -> tuple[str, ...]:
        return tuple(rule for rule in self.rules if rule != OURS)

    @property
    def runs_max(self) -> int:
        """The maximum number of runs."""
        final = len(self.scenarios) * (OURS in self.rules) * self.seeds
        if not self.tuning_seeds:
            return final + len(self.scenarios) * len(self.peers) * self.seeds
        for name in self.scenarios:
            for rule in self.peers:
                grid = sum(1 for _ in candidates(name, rule))
                finalists = min(grid, FINALISTS * len(TASTES))
                final += grid + finalists * (self.tuning_seeds - 1)
                final += min(grid, len(TASTES)) * self.seeds
        return final

    def command(self) -> str:
        """Return the command line that makes it again."""
        if set(self.scenarios) == set(SCENARIOS) and set(self.rules) == {OURS, *RULES}:
            words = ["simulate --standard"]
        else:
            named = (scenario(name).option or f"--workload {name}" for name in self.scenarios)
            words = ["simulate", *named]
            words += [f"--policy {rule}" for rule in self.rules]
        words += list(self.more)
        words += [f"--seeds {self.seeds} --tuning-seeds {self.tuning_seeds}"]
        return " ".join(words + ([f"--jobs {self.jobs}"] if self.jobs else []))


def study(plan: Study, bench: Bench) -> tuple[list[Ratio], list[Row]]:
    """Tune, run and compare."""
    tuned: list[Tuned] = []
    if plan.tuning_seeds:
        tuned = tune(plan.scenarios, plan.peers, plan.tuning_seeds, bench, plan.jobs)
    tasks = [
        Task(name, choice, seed, plan.jobs)
        for name in plan.scenarios
        for seed in range(plan.seeds)
        for choice in _choices(name, plan, tuned)
    ]
    ratios = bench.ratios(bench.measured(tasks))
    return ratios, rows(ratios, tuned)


def _choices(name: str, plan: Study, tuned: list[Tuned]) -> list[Choice]:
    ours = [Choice(OURS)] if OURS in plan.rules else []
    if not plan.tuning_seeds:
        return [*ours, *(Choice(rule) for rule in plan.peers)]
    return [*ours, *dict.fromkeys(each.choice for each in tuned if each.scenario == name)]


def report(ratios: list[Ratio], listed: list[Row], folder: Path, command: str) -> None:
    """Write runs, table, picture and page. Raises `MissingPrerequisiteError` without matplotlib."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "runs.csv").open("w", encoding="utf-8", newline="") as out:
        write_csv([as_run_record(ratio) for ratio in ratios], out)
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as out:
        write_csv([as_record(row) for row in listed], out)
    (folder / "table.md").write_text(markdown(listed), encoding="utf-8")
    picture = svg(listed)
    (folder / "pareto.svg").write_text(picture, encoding="utf-8")
    (folder / "index.html").write_text(html(listed, picture, command), encoding="utf-8")
