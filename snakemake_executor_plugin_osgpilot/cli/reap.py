"""`osgpilot reap`: show and remove what runs left behind whose Snakemake is dead."""

from __future__ import annotations

import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from snakemake_executor_plugin_osgpilot.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

    from snakemake_executor_plugin_osgpilot.core.remains import Remains


@click.command()
@click.option(
    "--dir",
    "workdir",
    type=click.Path(path_type=Path),
    help="Only runs in this working folder, detached ones included.  [default: all of yours]",
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
def reap(workdir: Path | None, yes: bool) -> None:
    """Remove what runs have left whose Snakemake is dead: jobs, pilots, job folders.

    Runs that go on, and whatever belongs to others, are not touched.
    """
    from rich.console import Console

    from snakemake_executor_plugin_osgpilot.journal.reap import Reaper

    reaper = Reaper(getpass.getuser(), workdir)
    found = reaper.find()
    doomed = [each for each in found if each.may_go(named=workdir is not None)]
    if not found:
        click.echo("nothing is left of any run")
        return
    Console().print(_table(found, doomed))
    if not doomed:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise BadInput("nothing was removed; say --yes to remove what is marked")
        click.confirm("Remove what is marked?", abort=True)
    for each in doomed:
        reaper.remove(each, click.echo)
    click.echo(f"removed what {len(doomed)} run(s) had left")


def _table(found: list[Remains], doomed: list[Remains]) -> Table:
    from rich.table import Table

    table = Table(title="what is left of runs")
    for name in ("run", "how it stands", "jobs", "pilots", "MB", "remove", "folder"):
        right = name in ("jobs", "pilots", "MB")
        table.add_column(
            name, justify="right" if right else "left", no_wrap=name == "run", overflow="fold"
        )
    for each in found:
        numbers = (str(each.jobs), str(len(each.pilots)), f"{each.size_bytes / 1e6:.1f}")
        mark = "yes" if each in doomed else "no"
        table.add_row(each.run, each.fate.value, *numbers, mark, each.folder)
    return table
