"""`osgpilot report`: a run as one HTML page."""

from __future__ import annotations

import time
from pathlib import Path

import click

from ..common.atomic_write import READABLE_MODE, write_atomically
from ..common.console_output import echo, echo_json
from ..errors import InputError
from .status import NewFile, with_run


@click.command(short_help="Write a page about a run: what ran when, and its cost.")
@with_run
@click.option(
    "--out",
    type=NewFile,
    default="osgpilot-report.html",
    show_default=True,
    help="The page to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the path of the page as JSON.")
def report(workdir: Path, run: str, out: Path, as_json: bool) -> None:
    """Write a page about a run: pilots and jobs over time, idle cores, usage, cost, failures.

    It is one file that needs no network. The run may be live or ended.

    \b
    osgpilot report                             the last run with jobs in this folder
    osgpilot report --dir ~/other --out a.html  another folder's
    """
    from ..report.html import page
    from ..report.locate import Watched, find
    from ..report.summary import view

    watched = Watched(find(workdir, run))
    replayed = watched.look()
    seen = view(replayed, time.time(), alive=watched.is_alive())
    try:
        write_atomically(out, page(replayed, seen), READABLE_MODE)
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror}") from error
    written = {"page": str(out.absolute()), "run": seen.run, "bytes": out.stat().st_size}
    if as_json:
        echo_json(written, indent=None)
    else:
        echo(f"the report of run {seen.run} is in {out}")
