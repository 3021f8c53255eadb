"""`osgpilot logs`: the output of a job or a pilot."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import click

from ..common.console_output import echo, echo_json
from ..errors import InputError
from .status import rule_and_pilot_names, with_run

SHOWN_MAX = 5
"""Maximum number of logs shown of a rule."""

LINE_BYTES = 1000


@click.command(short_help="Show the output of a job, a rule's jobs or a pilot.")
@with_run
@click.option("--lines", type=click.IntRange(min=1), default=50, show_default=True,
              help="Number of lines to show, from the end.")  # fmt: skip
@click.option("--paths", is_flag=True, help="Print only the names of the files.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: whose log, and its file.")
@click.argument(
    "what", metavar="JOB|RULE|PILOT",
    shell_complete=lambda context, option, typed: rule_and_pilot_names(context, typed),
)  # fmt: skip
def logs(workdir: Path, run: str, lines: int, paths: bool, as_json: bool, what: str) -> None:
    """Show the output and errors of a job or of a rule's jobs, or the log of a pilot.

    Name a job by HTCondor's id (12.3), by Snakemake's number or by an output file; name a pilot by
    its Slurm job id (SITE:ID, if two clusters use the same id). The output of a job comes back when
    it ends, and is kept if it failed, as are the files of its rule's `log:`. For a rule, the jobs
    that failed last come last.
    """
    from ..report.locate import Watched, find
    from ..report.logs import logs_of

    folder = find(workdir, run)
    known = logs_of(what, Watched(folder).look())
    if not known:
        raise InputError(f"run {folder.name} has no rule, job or pilot {what!r} so far")
    found = ((log.title, os.path.join(folder, log.path)) for log in known)  # noqa: PTH118
    kept = [(title, Path(os.path.relpath(path))) for title, path in found if _has_text(path)]
    if as_json:
        echo_json([{"of": title, "file": str(path.absolute())} for title, path in kept])
        return
    if not kept:
        raise InputError(
            f"{known[-1].title}: there is no output here; the output of a job comes back when it "
            "ends and is kept only if it failed; pilots on another cluster keep their logs there"
        )
    for title, path in kept if paths else kept[-SHOWN_MAX:]:
        if paths:
            echo(path)
            continue
        echo(f"==> {title}: {path}")
        echo(_tail(path, lines))


def _has_text(path: str) -> bool:
    # a rule may have a hundred thousand logs: no `Path` for each
    try:
        state = os.lstat(path)
    except OSError:
        return False
    # what came back from a job is never a link to another file
    return stat.S_ISREG(state.st_mode) and state.st_size > 0


def _tail(path: Path, lines: int) -> str:
    """Return the last lines of a file without secrets."""
    from ..common.redact import Redactor

    redact = Redactor()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            size = file.seek(0, os.SEEK_END)
            cut = max(0, size - lines * LINE_BYTES)
            file.seek(cut)
            text = file.read().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    text = redact.tail(text) if cut else redact(text)
    return "\n".join(text.splitlines()[-lines:])
