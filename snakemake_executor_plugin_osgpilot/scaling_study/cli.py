"""`osgpilot simulate`: rules of scaling side by side, in virtual time."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from ..common.console_output import echo, echo_json, terminal

if TYPE_CHECKING:
    from rich.table import Table

    from .compare import Measured
    from .scenarios import Scenario
    from .study import Study
    from .table import Row

LINE_EVERY = 100
"""Without a terminal, print one line per this many runs."""

WIDE = 150
"""Columns of a terminal that has room for the whole table."""


@click.command(short_help="Run workflows on a simulated cluster.")
@click.option("--standard", is_flag=True, help="The published table: all workloads and policies.")
@click.option("--workload", "workloads", multiple=True, help="May be repeated.  [default: bag]")
@click.option(
    "--policy",
    "policies",
    multiple=True,
    help="May be repeated; `all` for all.  [default: osgpilot]",
)
@click.option(
    "--snakefile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Simulate what this workflow still has to run here, at the standard site.",
)
@click.option(
    "--run",
    "run_folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Simulate a run that is over, with its pilots' waits: its working folder, or its own.",
)
@click.option(
    "--background",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Share a queue with the jobs of this trace (Standard Workload Format).",
)
@click.option(
    "--background-from",
    type=click.FloatRange(0),
    default=0.0,
    help="Hours of the trace to leave out.",
)
@click.option(
    "--nodes",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Nodes of 32 cores that the trace and pilots share.",
)
@click.option("--seeds", type=click.IntRange(1), help="Runs of each.  [default: 5; standard: 10]")
@click.option(
    "--tuning-seeds",
    type=click.IntRange(0),
    default=2,
    show_default=True,
    help="Runs by which peers are tuned; 0: their own defaults, with the largest pilots.",
)
@click.option("--jobs", type=click.IntRange(1), help="Size of each workload, instead of the usual.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default="all cores",
    help="Processes to use.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for runs.csv, table.csv, table.md, pareto.svg and index.html.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def simulate(
    standard: bool,
    workloads: tuple[str, ...],
    policies: tuple[str, ...],
    snakefile: Path | None,
    run_folder: Path | None,
    background: Path | None,
    background_from: float,
    nodes: int,
    seeds: int | None,
    tuning_seeds: int,
    jobs: int | None,
    workers: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Run workflows in a simulated site, and measure scaling against what is possible.

    \b
    osgpilot simulate --workload dag                     the planner alone
    osgpilot simulate --workload dag --policy all        and all peers, tuned
    osgpilot simulate --snakefile Snakefile              a workflow of one's own
    osgpilot simulate --run . --policy all               a run that is over, and how others had done
    osgpilot simulate --background trace.swf             in a queue with other users
    osgpilot simulate --standard --out comparison        the published comparison

    With --out, the same command resumes a comparison that was cut short.
    """
    from .compare import Bench
    from .pareto_plot import check
    from .result_cache import ResultCache
    from .study import Study, report, study

    everything = standard or "all" in policies
    own = _own(snakefile, run_folder)
    trace = Trace(background, nodes, background_from) if background else None
    plan = Study.of(
        _named(workloads, own, trace, standard=standard),
        () if everything else policies or ("osgpilot",),
        seeds or (10 if standard else 5),
        tuning_seeds,
        jobs,
        trace.option() if trace else (),
    )
    if out is not None:
        check()
    kept = ResultCache(out / "kept.jsonl") if out is not None else None
    with _progress(plan, quiet=as_json) as tell:
        ratios, rows = study(plan, Bench(workers, tell, kept))
    if out is not None:
        report(ratios, rows, out, f"osgpilot {plan.command()}")
    if as_json:
        from .table import as_record

        echo_json([as_record(row) for row in rows])
        return

    # a file or a pipe is as wide as it has to be
    console = terminal(width=None if sys.stdout.isatty() else 200)
    console.print(_table(rows, wide=console.width >= WIDE))
    console.print(
        "minutes until the last job has ended, core-hours charged; T*, CH*: makespan and "
        "core-hours that no policy beats; CT: the product of both ratios, by ours with the same "
        "seeds; medians over seeds, [95 % interval]; "
        "* after the policy: on the Pareto front",
        style="dim",
        highlight=False,
        markup=False,
    )
    if len({row.rule for row in rows}) > 1:
        from .html import summary
        from .table import headline

        for line in summary(headline(rows)):
            console.print(line, highlight=False, markup=False)
    if out is not None:
        echo(f"written to {out}")


class Trace(NamedTuple):
    """Load by others that was asked for."""

    path: Path
    nodes: int
    from_h: float

    def option(self) -> tuple[str, ...]:
        """Return how it was asked for."""
        return (f"--background {self.path} --background-from {self.from_h:g} --nodes {self.nodes}",)


def _own(snakefile: Path | None, run_folder: Path | None) -> list[Scenario]:
    """Return the workflows that a user brought."""
    from . import workload_input as given

    found = [given.of_snakefile(snakefile)] if snakefile else []
    return [*found, given.of_run(run_folder)] if run_folder else found


def _named(
    workloads: tuple[str, ...], own: list[Scenario], trace: Trace | None, *, standard: bool
) -> tuple[str, ...]:
    """Make what a user brought known, and return the names of all workloads that are asked for;
    none stands for all of the standard.
    """
    from .scenarios import SCENARIOS, give, scenario
    from .workload_input import beside

    names = (*workloads, *(each.name for each in own))
    if not names:
        names = tuple(SCENARIOS) if standard else ("bag",)
    give(own)
    if trace:
        give([beside(scenario(name), *trace) for name in names])
    return names


@contextmanager
def _progress(plan: Study, *, quiet: bool) -> Iterator[Callable[[Measured], None]]:
    """Show how many runs are done, on standard error: as a bar, or as a line now and then."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = terminal(stderr=True, quiet=quiet)
    most, made = plan.runs_max, 0
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        shown = bar.add_task("simulating", total=most)

        def tell(run: Measured) -> None:
            nonlocal made
            made += 1
            bar.update(shown, advance=1, description=run.task.scenario)
            if not console.is_terminal and not made % LINE_EVERY:
                console.print(f"{made} runs of {most} at most; {run.task.scenario}")

        yield tell


def _plain(value: float) -> str:
    """Return a number with three digits or more, – if no run came to its end."""
    return "–" if value == float("inf") else f"{value:.3g}" if value < 100 else f"{value:,.0f}"


def _table(rows: list[Row], *, wide: bool) -> Table:
    """Return a row for each workload and policy; all columns only where there is room."""
    from rich import box
    from rich.table import Table

    from .html import percent, text
    from .table import Interval

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("workload", lambda row: row.scenario),
        ("policy", lambda row: row.rule + (" *" if row.on_front else "")),
        ("minutes", lambda row: _plain(row.minutes.median)),
        ("core-hours", lambda row: _plain(row.core_h.median)),
        ("makespan/T*", lambda row: text(row.makespan)),
        ("charged/CH*", lambda row: text(row.charged)),
        ("CT", lambda row: _plain(row.ct)),
        ("done", lambda row: percent(row.jobs_done)),
        ("pilots", lambda row: f"{row.launched:.0f}"),
    ]
    if wide:
        columns += [
            ("by ours", lambda row: text(Interval(*row.by_ours))),
            ("flow min", lambda row: text(row.flow_min, 0)),
            ("never used", lambda row: percent(row.never_used)),
            ("/needed", lambda row: f"{row.overlaunched:.2f}"),
            ("first job s", lambda row: text(row.first_job_s, 0)),
            ("failed", lambda row: f"{row.failed_starts.median:.0f}"),
            ("tuned", lambda row: row.taste),
        ]
    for name, _ in columns:
        left = name in ("workload", "policy", "tuned")
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(value(row) for _, value in columns))
    return table
