"""`osgpilot simulate`: rules of scaling side by side, in virtual time."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

    from snakemake_executor_plugin_osgpilot.simulate.compare import Measured
    from snakemake_executor_plugin_osgpilot.simulate.study import Study
    from snakemake_executor_plugin_osgpilot.simulate.table import Row

WIDE = 150
"""Columns of a terminal that has room for the whole table."""


@click.command(short_help="Run workflows on a simulated cluster.")
@click.option("--standard", is_flag=True, help="The published table: all workloads and policies.")
@click.option("--workload", "workloads", multiple=True, help="May be repeated.  [default: bag]")
@click.option(
    "--policy", "policies", multiple=True, help="May be repeated; `all` for all.  [default: ours]"
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
    osgpilot simulate --standard --out comparison        the published comparison
    """
    from snakemake_executor_plugin_osgpilot.simulate.study import Study, report, study

    everything = standard or "all" in policies
    plan = Study.of(
        workloads or (() if standard else ("bag",)),
        () if everything else policies or ("osgpilot",),
        seeds or (10 if standard else 5),
        tuning_seeds,
        jobs,
    )
    with _progress(plan, quiet=as_json) as tell:
        runs, rows = study(plan, workers, tell)
    if out is not None:
        report(runs, rows, out, f"osgpilot {plan.command()}")
    if as_json:
        from snakemake_executor_plugin_osgpilot.simulate.table import as_record

        click.echo(json.dumps([as_record(row) for row in rows], indent=1))
        return
    from rich.console import Console

    # a file or a pipe is as wide as it has to be
    console = Console(width=None if sys.stdout.isatty() else 200)
    console.print(_table(rows, wide=console.width >= WIDE))
    console.print(
        "T*, CH*: makespan and core-hours that nobody beats; medians over seeds, [95 % interval]; "
        "* after the policy: on the Pareto front",
        style="dim",
        highlight=False,
        markup=False,
    )
    if out is not None:
        click.echo(f"written to {out}")


@contextmanager
def _progress(plan: Study, *, quiet: bool) -> Iterator[Callable[[Measured], None]]:
    """Show how many runs are done, on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, quiet=quiet)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        shown = bar.add_task("simulating", total=plan.runs_max)

        def tell(run: Measured) -> None:
            bar.update(shown, advance=1, description=run.task.scenario)

        yield tell


def _table(rows: list[Row], *, wide: bool) -> Table:
    """Return a row for each workload and policy; all columns only where there is room."""
    from rich import box
    from rich.table import Table

    from snakemake_executor_plugin_osgpilot.simulate.page import percent, text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns: list[tuple[str, Callable[[Row], str]]] = [
        ("workload", lambda row: row.scenario),
        ("policy", lambda row: row.rule + (" *" if row.on_front else "")),
        ("makespan/T*", lambda row: text(row.makespan)),
        ("charged/CH*", lambda row: text(row.charged)),
        ("done", lambda row: percent(row.jobs_done)),
        ("pilots", lambda row: f"{row.launched:.0f}"),
        ("never used", lambda row: percent(row.never_used)),
    ]
    if wide:
        columns += [
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
