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

LINE_EVERY = 100
"""Where there is no terminal, a line is printed after so many runs."""


@click.command()
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
    from snakemake_executor_plugin_osgpilot.simulate.compare import Bench
    from snakemake_executor_plugin_osgpilot.simulate.kept import Kept
    from snakemake_executor_plugin_osgpilot.simulate.study import Study, report, study

    everything = standard or "all" in policies
    plan = Study.of(
        workloads or (() if standard else ("bag",)),
        () if everything else policies or ("osgpilot",),
        seeds or (10 if standard else 5),
        tuning_seeds,
        jobs,
    )
    kept = Kept(out / "kept.jsonl") if out is not None else None
    with _progress(plan, quiet=as_json) as tell:
        ratios, rows = study(plan, Bench(workers, tell, kept))
    if out is not None:
        report(ratios, rows, out, f"osgpilot {plan.command()}")
    if as_json:
        from snakemake_executor_plugin_osgpilot.simulate.table import as_record

        click.echo(json.dumps([as_record(row) for row in rows], indent=1))
        return
    from rich.console import Console

    # a file or a pipe is as wide as it has to be
    Console(width=None if sys.stdout.isatty() else 200).print(_table(rows))
    if out is not None:
        click.echo(f"written to {out}")


@contextmanager
def _progress(plan: Study, *, quiet: bool) -> Iterator[Callable[[Measured], None]]:
    """Show how many runs are done, on standard error: as a bar, or as a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, quiet=quiet)
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


def _table(rows: list[Row]) -> Table:
    from rich.table import Table

    from snakemake_executor_plugin_osgpilot.simulate.page import percent, text

    table = Table(title="medians over seeds, 95 % intervals; * on the Pareto front")
    for name in ("workload", "policy", "tuned", "makespan/T*", "charged/CH*", "done", "never used"):
        table.add_column(name, justify="right" if "/" in name else "left")
    for name in ("launched", "/needed", "first job s", "failed"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row.scenario,
            row.rule + (" *" if row.on_front else ""),
            row.taste,
            text(row.makespan),
            text(row.charged),
            percent(row.jobs_done),
            percent(row.never_used),
            f"{row.launched:.0f}",
            f"{row.overlaunched:.2f}",
            text(row.first_job_s, 0),
            f"{row.failed_starts.median:.0f}",
        )
    return table
