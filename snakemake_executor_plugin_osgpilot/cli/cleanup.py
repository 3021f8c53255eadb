"""`osgpilot cleanup`: show and remove what runs left behind whose Snakemake is dead."""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.console_output import EchoHandler, echo, echo_json, terminal
from ..common.counting import count_of
from ..common.log_output import attached
from ..errors import InputError, OsgpilotError, OutcomeUnknownError
from .text_layout import columns

if TYPE_CHECKING:
    from rich.table import Table

    from ..journal.location import Place
    from ..run.cleanup import Cleaner
    from ..run.leftovers import Leftovers


@click.command(short_help="Remove what dead runs left behind.")
@click.option(
    "--dir",
    "workdir",
    type=click.Path(path_type=Path),
    help="Only runs in this working folder, including detached ones.  [default: all your runs]",
)
@click.option(
    "--site",
    "site_list",
    metavar="FILE",
    help="Look where runs with this site file (or several, separated by commas) have their jobs "
    "and pilots, too.",
)
@click.option("--yes", is_flag=True, help="Remove without asking.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; removes only with --yes.")
def cleanup(workdir: Path | None, site_list: str | None, yes: bool, as_json: bool) -> None:
    """Remove what dead runs (without a Snakemake) left behind: jobs, pilots, job folders.

    Checks the access point and Slurm of this host, and those that the journals in the working
    folder and the site file name. Never touches live runs, or anything that belongs to others.

    \b
    osgpilot cleanup                  show what is left, and ask before removing it
    osgpilot cleanup --yes --dir .    remove what runs in this folder left, including detached ones
    """
    from ..run.cleanup import Cleaner
    from ..run.endpoints import Endpoints

    given = (_place(site_list),) if site_list else ()
    with attached(EchoHandler(err=as_json)), closing(Endpoints(getpass.getuser())) as grounds:
        cleaner = Cleaner(grounds, workdir, given)
        if as_json:
            _cleanup_as_json(cleaner, yes=yes)
        else:
            _cleanup(cleaner, yes=yes)


def _cleanup_as_json(cleaner: Cleaner, *, yes: bool) -> None:
    rows, failed = [], []
    for each in cleaner.find():
        may_go = each.may_go(named=cleaner.workdir is not None)
        goes = yes and may_go
        if goes and (why := _removed(cleaner, each)):
            failed.append(why)
            goes = False
        rows.append(
            {
                "run": each.run,
                "fate": each.status.value,
                "jobs": each.job_count,
                "pilots": each.pilot_count,
                "bytes": each.size_bytes,
                "folder": each.folder,
                "may_go": may_go,
                "removed": goes,
                "why": each.why,
            }
        )
    echo_json(rows)
    _end(failed)


def _cleanup(cleaner: Cleaner, *, yes: bool) -> None:
    found = cleaner.find()
    removable = [each for each in found if each.may_go(named=cleaner.workdir is not None)]
    if not found:
        everywhere = cleaner.endpoints.reached_all
        where = "" if everywhere else " where osgpilot could look; the lines above say where not"
        echo(f"nothing is left of any run{where}")
        return
    echo("what runs have left, and what would be removed")
    if sys.stdout.isatty():
        terminal().print(_table(found, removable))
    else:
        # in a file or a pipe, rows must not be broken
        for line in columns([HEAD, *_rows(found, removable)], right=RIGHT):
            echo(line)
    for each in found:
        if each.why:
            echo(f"run {each.run}: {each.why}")
    if not removable:
        return
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was removed; use --yes to remove what is marked")
        click.confirm("Remove what is marked?", abort=True)
    failed = [why for each in removable if (why := _removed(cleaner, each))]
    echo(f"removed what {count_of(len(removable) - len(failed), 'run')} left behind")
    _end(failed)


def _removed(cleaner: Cleaner, what: Leftovers) -> str:
    """Remove what a run left; return why that failed, so that the other runs are removed all the
    same.
    """
    try:
        cleaner.remove(what)
    except (OsgpilotError, OSError) as error:
        return f"run {what.run}: {error}"
    return ""


def _end(failed: list[str]) -> None:
    if failed:
        raise OutcomeUnknownError("; ".join(failed))


def _place(site_list: str) -> Place:
    """Return where runs with these site files have their jobs and pilots."""
    from ..config.sites import load_all, site_files
    from ..htcondor.factory import place_of

    sites = load_all(site_files(site_list))
    return place_of(sites, sites[0].access_point)


def _table(found: list[Leftovers], removable: list[Leftovers]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(HEAD):
        table.add_column(
            name,
            justify="right" if number in RIGHT else "left",
            no_wrap=name == "run",
            overflow="fold",
        )
    for row in _rows(found, removable):
        table.add_row(*row)
    return table


HEAD = ("run", "state", "jobs", "pilots", "MB", "remove", "where", "folder")
RIGHT = (2, 3, 4)


def _rows(found: list[Leftovers], removable: list[Leftovers]) -> Iterator[tuple[str, ...]]:
    for each in found:
        numbers = (str(each.job_count), str(each.pilot_count), f"{each.size_bytes / 1e6:.1f}")
        mark = "yes" if each in removable else "no"
        hosts = dict.fromkeys([*(schedd for schedd, _ in each.jobs), *map(str, each.pilots)])
        where = ", ".join(host or "here" for host in hosts)
        yield each.run, each.status.value, *numbers, mark, where, _short(each.folder)


def _short(folder: str) -> str:
    """Return the working folder of a run, from its own folder below it."""
    path = folder.partition("/.snakemake/")[0]
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if path.startswith(f"{home}/") else path
