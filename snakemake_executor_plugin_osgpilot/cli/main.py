"""Entry point of `osgpilot`: collects the subcommands and prints errors as one line."""

import atexit
import errno
import gc
import os
import sys
from collections import UserDict
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ..common.console_output import take_any_text
from ..errors import OsgpilotError

NOWHERE = "the current folder no longer exists; change to the working folder of the workflow"

FULL = (errno.ENOSPC, errno.EDQUOT)

GARBAGE_EVERY = 500_000
"""Number of new objects after which Python looks for garbage."""

_OWN = (
    "site", "doctor", "plan", "runs", "status", "explain", "logs", "report", "cancel", "cleanup",
)  # fmt: skip
_MODULES = {
    **{name: f".{name}" for name in _OWN},
    "simulate": "..scaling_study.cli", "software": ".software", "runtime": ".runtime",
    "pool": "..local_pool.cli",
}  # fmt: skip
"""The module of each command, in the order in which they are used."""


class CommandsOnDemand(UserDict[str, Any]):
    """Commands by name, made from their modules: each is imported when it is first asked for."""

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command = getattr(import_module(self.data[name], __package__), name)
        return command


class OneLineErrors(click.Group):
    """Shows an `OsgpilotError` as one line on standard error and exits with status 1.

    Commands are listed in the order in which they are used.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> object:
        take_any_text()
        # a large history becomes a hundred thousand objects, in which there is no garbage
        gc.set_threshold(GARBAGE_EVERY)
        # nor is it worth freeing them one by one at the exit
        atexit.register(gc.freeze)
        try:
            return super().invoke(ctx)
        except OsgpilotError as error:
            raise click.ClickException(str(error)) from error
        except BrokenPipeError:
            raise
        except OSError as error:
            raise click.ClickException(_text_of(error)) from error


def _text_of(error: OSError) -> str:
    """Return in one line what cannot be read or written, and why."""
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    if error.errno in FULL:
        _discard_output()
        return f"the output cannot be written: {error.strerror}"
    return str(error) if _is_somewhere() else NOWHERE


def _discard_output() -> None:
    """Discard what has not been written to standard output: Python would try again at its exit."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _is_somewhere() -> bool:
    """Return True if the current folder exists."""
    try:
        Path.cwd()
    except FileNotFoundError:
        return False
    return True


@click.group(
    cls=OneLineErrors,
    commands=CommandsOnDemand(_MODULES),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="snakemake-executor-plugin-osgpilot")
def main() -> None:
    """Bring a Slurm allocation into the Open Science Pool for a Snakemake workflow.

    \b
    osgpilot site init      write a site file from what Slurm reports
    osgpilot doctor         check all prerequisites of a run
    osgpilot plan           show what `snakemake` would do
    snakemake               run the workflow, with `executor: osgpilot` in a profile
    osgpilot status         show the state of the run
    osgpilot explain        show why something waits or failed
    osgpilot logs           show the output of a job or pilot
    osgpilot report         show where the core-hours went, as a page

    \b
    Exit status: 0  success
                 1  an error, explained in one line
                 2  wrong usage
    `doctor` and `status` have further ones: see their --help.
    """
