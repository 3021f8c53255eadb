"""Snakemake's own command line, with another executor behind it."""

from __future__ import annotations

import os
import re
import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from snakemake import cli
from snakemake.settings.enums import Quietness

from ..common.snakemake_compat import executor_replaced, lock_message_hidden, log_file_disabled
from ..errors import InputError
from .ended import Ended
from .executor import Previewer
from .result import Preview

NAME = "osgpilot"

OTHER_DEEDS = (
    "archive", "cleanup_metadata", "cleanup_shadow", "conda_cleanup_envs",
    "conda_create_envs_only", "container_cleanup_images", "containerize", "d3dag", "dag",
    "delete_all_output", "delete_temp_output", "deploy_sources", "detailed_summary",
    "draft_notebook", "edit_notebook", "filegraph", "generate_unit_tests", "lint",
    "list_changes", "list_conda_envs", "list_input_changes", "list_params_changes", "list_rules",
    "list_target_rules", "list_untracked", "print_compilation", "report", "reporter",
    "report_after_run", "rulegraph", "summary", "touch", "unlock",
)  # fmt: skip
"""Options with which Snakemake does not run the workflow (`cli.args_to_api`)."""

_USAGE = re.compile(r"^usage: .*?^\S+: error: ", re.DOTALL | re.MULTILINE)

UNLIMITED_CORES = 1 << 31
"""More than any rule asks for; Snakemake limits the threads of a rule to its cores."""


def preview(argv: Sequence[str]) -> Preview | None:
    """Return what `snakemake ARGV` would do; None if Snakemake refused and printed the reason.

    Snakemake itself parses arguments, profiles and Snakefile, and all checks of a run are made, up
    to the moment when the run would begin. Raises an `OsgpilotError`.
    """
    found: Preview | None = ask(argv, Previewer)
    return found


def ask(argv: Sequence[str], executor: type) -> Any:
    """Return the result (`Ended`) of `executor`, made by `snakemake ARGV` in place of ours.

    None if Snakemake refused and printed the reason. Raises an `OsgpilotError`.
    """
    with executor_replaced(NAME, executor), log_file_disabled(), lock_message_hidden():
        with _errors_without_usage():
            parser, args = cli.parse_args(list(argv))
        _check(args)
        args.dryrun = False
        if args.cores is None:
            # up to 9.26, one core is assumed in a dry run, and no rule has more threads
            args.cores = UNLIMITED_CORES
        args.quiet = {*(args.quiet or ()), *(each for each in Quietness if each != Quietness.ALL)}
        state_folder = Path(args.directory or ".") / ".snakemake"
        _check_writable(state_folder.absolute() / "iocache")
        with _as_it_was(state_folder):
            try:
                cli.args_to_api(args, parser)
            except Ended as ended:
                if ended.error:
                    raise ended.error from None
                return ended.found
    return None


@contextmanager
def _errors_without_usage() -> Iterator[None]:
    """Leave out the usage, some 200 lines, that Snakemake prints before an error."""
    said = StringIO()
    try:
        with redirect_stderr(said):
            yield
    finally:
        print(_USAGE.sub("Error: ", said.getvalue()), end="", file=sys.stderr)


def _check(args: Namespace) -> None:
    if args.executor != NAME:
        raise InputError(
            f"with these arguments and profiles, Snakemake's executor is {args.executor or 'local'}"
            f"; give those of a run with `--executor {NAME}`"
        )
    for name in OTHER_DEEDS:
        if getattr(args, name, None):
            raise InputError(
                f"--{name.replace('_', '-')} runs no workflow: there is nothing to plan"
            )


def _check_writable(folder: Path) -> None:
    """Raise `InputError` if Snakemake could not write its state, for which it has a traceback."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"{there} cannot be written, where Snakemake keeps its state even for a plan; plan in "
            "a copy of the workflow, or with `--directory FOLDER` in one that can be written"
        )


@contextmanager
def _as_it_was(state_folder: Path) -> Iterator[None]:
    """Remove what a dry run of Snakemake adds to a working folder.

    That is a list of the files it has looked for, and in a new folder its own folders as far as
    they stayed empty.
    """
    was_there, state_folder = state_folder.exists(), state_folder.absolute()
    seen = state_folder / "iocache" / "latest.pkl"
    had_seen = seen.exists()
    try:
        yield
    finally:
        if not had_seen:
            seen.unlink(missing_ok=True)
        if not was_there:
            for folder, _, _ in os.walk(state_folder, topdown=False):
                with suppress(OSError):
                    Path(folder).rmdir()
