"""`osgpilot status`: the state of a run, from its history."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..common.console_output import echo, echo_json, terminal

if TYPE_CHECKING:
    import rich.console

    from ..report.locate import Watched
    from ..report.summary import View

Folder = click.Path(exists=True, file_okay=False, path_type=Path)
NewFile = click.Path(dir_okay=False, path_type=Path)

FAILED, CUT_SHORT = 3, 4
"""Exit statuses of the command, besides 0, and 1 and 2 for errors and wrong usage."""

run_options = (
    click.option(
        "--dir", "workdir", type=Folder, default=".", help="Working folder of the workflow."
    ),
    click.option(
        "--run",
        default="",
        help="Id of the run, or the beginning of it.  [default: the last that had jobs]",
        shell_complete=lambda context, option, typed: _run_ids(context, typed),
    ),
)


def _run_ids(context: click.Context, typed: str) -> list[str]:
    """Return the runs whose id begins with what was typed."""
    from ..report.locate import newest_first

    folders = newest_first(Path(context.params.get("workdir") or "."))
    return [folder.name for folder in folders if folder.name.startswith(typed)]


def rule_and_pilot_names(context: click.Context, typed: str) -> list[str]:
    """Return the rules and pilots of the chosen run whose name begins with what was typed."""
    from ..errors import OsgpilotError
    from ..report.locate import Watched, find

    given = context.params
    try:
        replayed = Watched(find(Path(given.get("workdir") or "."), given.get("run") or "")).look()
    except OsgpilotError:
        return []
    rules = dict.fromkeys(job.rule for job in replayed.jobs.values())
    pilots = (pilot.allocation for pilot in replayed.pilots.values() if pilot.allocation)
    return [name for name in (*rules, *pilots) if name.startswith(typed)]


def with_run(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that select a run to a command."""
    for option in reversed(run_options):
        command = option(command)
    return command


@click.command(short_help="Show the state of a run, live or ended.")
@with_run
@click.option("--watch", is_flag=True, 
              help="Update until the run is over, on the whole terminal.")  # fmt: skip
@click.option("--every", "every_s", type=click.FloatRange(min=0.2), default=2.0,
              show_default=True, help="Seconds between updates with --watch.")  # fmt: skip
@click.option(
    "--json", "as_json", is_flag=True, help="Print JSON; with --watch, one line per update."
)
@click.option(
    "--prometheus",
    type=NewFile,
    metavar="FILE",
    help="Write metrics to FILE, for the node exporter's textfile collector.",
)
def status(
    workdir: Path, run: str, watch: bool, every_s: float, as_json: bool, prometheus: Path | None
) -> None:
    """Show jobs, pilots, cores and decisions of a run, live or ended.

    Reads the files of the run; queries neither Slurm nor HTCondor. Steps are all jobs of the
    workflow as Snakemake counts them; jobs are those at the access point.

    \b
    Exit status: 0  the run is live or detached, or all of its jobs succeeded
                 1  there is no run
                 2  wrong usage
                 3  jobs failed, or the run was interrupted
                 4  Snakemake died without ending the run

    \b
    osgpilot status                    once
    osgpilot status --watch            until the run is over
    osgpilot status --json | jq .rules
    """
    from ..report.locate import Watched, find

    watched = Watched(find(workdir, run))
    if prometheus:
        seen = _follow(watched, lambda view: _write(prometheus, view), watch, every_s)
    elif as_json:
        seen = _follow(watched, lambda view: _print(view, indent=not watch), watch, every_s)
    else:
        seen = _show(watched, watch, every_s)
    sys.exit(_exit_status(seen))


def _look(watched: Watched) -> View:
    from ..report.summary import view

    replayed = watched.look()
    return view(replayed, time.time(), alive=watched.is_alive())


def _follow(watched: Watched, show: Callable[[View], None], watch: bool, every_s: float) -> View:
    """Show a run once, or with `--watch` until it is over or the user stops."""
    from ..report.summary import RunState

    seen = _look(watched)
    show(seen)
    with suppress(KeyboardInterrupt):
        while watch and seen.state is RunState.RUNNING:
            time.sleep(every_s)
            seen = _look(watched)
            show(seen)
    return seen


def _show(watched: Watched, watch: bool, every_s: float) -> View:
    console = terminal()
    if not (watch and console.is_terminal):
        return _follow(watched, lambda view: _print_screen(view, console), watch, every_s)
    from .watch import watch as full_screen

    seen = _look(watched)
    with suppress(KeyboardInterrupt):
        seen = full_screen(lambda: _look(watched), console, every_s)
    _print_screen(seen, console)
    return seen


def _print_screen(view: View, console: rich.console.Console) -> None:
    """Print a run; elsewhere than on a terminal, lines have no trailing blanks."""
    from ..report.terminal import screen

    if console.is_terminal:
        console.print(screen(view))
        return
    with console.capture() as captured:
        console.print(screen(view))
    echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print(view: View, *, indent: bool) -> None:
    echo_json(view.plain(), indent=1 if indent else None)


def _write(path: Path, view: View) -> None:
    """Replace the file."""
    from ..common.atomic_write import READABLE_MODE, write_atomically
    from ..errors import InputError
    from ..report.prometheus import text

    try:
        write_atomically(path, text(view), READABLE_MODE)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error


def _exit_status(view: View) -> int:
    from ..report.summary import RunState

    if view.state is RunState.LOST:
        return CUT_SHORT
    return FAILED if view.state in (RunState.FAILED, RunState.INTERRUPTED) else 0
