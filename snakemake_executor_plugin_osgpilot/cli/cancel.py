"""`osgpilot cancel`: end a live run from another terminal."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from ..common.console_output import echo
from ..errors import InputError
from .status import with_run


@click.command(short_help="End a live run from another terminal.")
@with_run
@click.option("--yes", is_flag=True, help="Cancel without asking.")
@click.option("--wait", "wait_s", type=click.IntRange(min=1), default=120, show_default=True,
              help="Seconds to wait for the end of the run.")  # fmt: skip
def cancel(workdir: Path, run: str, yes: bool, wait_s: int) -> None:
    """End a live run like Ctrl-C: its Snakemake removes jobs and pilots, and exits.

    Works on the host where Snakemake runs. With `--osgpilot-on-exit detach`, jobs and pilots keep
    running; remove them with `osgpilot cleanup --dir .`, which also removes what dead runs left
    behind.
    """
    from ..journal.holder import RunOwner
    from ..report.locate import Watched, find
    from ..report.summary import RunState, view
    from ..run.cancel import interrupt, wait_for_end

    watched = Watched(find(workdir, run))
    name, holder = watched.folder.name, watched.look().life.get("holder")
    if not watched.is_alive() or not holder:
        raise InputError(f"run {name} is not live; see: osgpilot status, osgpilot cleanup")
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nothing was cancelled; use --yes to cancel without a question")
        click.confirm(f"Cancel run {name}?", abort=True)
    if not interrupt(name, RunOwner(**holder)):
        echo(
            f"run {name} was started in the background and ignores Ctrl-C: no more jobs start, and "
            "it ends when the running ones have"
        )

    def is_over() -> bool:
        watched.look()
        return not watched.is_alive()

    wait_for_end(name, is_over, wait_s)
    state = view(watched.look(), time.time(), alive=False).state
    after = "; osgpilot cleanup --dir . ends its jobs and pilots" * (state is RunState.DETACHED)
    echo(f"run {name}: {state.value}{after}")
