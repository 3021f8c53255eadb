"""`osgpilot explain`: why something waits, is held, runs slowly, or was refused."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from ..common.console_output import echo, echo_json
from ..errors import InputError, OsgpilotError, OutcomeUnknownError
from .status import rule_and_pilot_names, with_run
from .text_layout import fitted

if TYPE_CHECKING:
    from ..explain.facts import Explanation
    from ..explain.gather import Answers
    from ..jobs.state.events import Event
    from ..journal.location import Place, SlurmHost
    from ..pilots.state.lifecycle import Row
    from ..report.replay import ReplayedRun
    from ..slurm.ssh import Logins

_Answer = TypeVar("_Answer")


@click.command(short_help="Explain why something waits, is held, slow or refused.")
@with_run
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.argument(
    "what", required=False, default="", metavar="[JOB|RULE|PILOT]",
    shell_complete=lambda context, option, typed: rule_and_pilot_names(context, typed),
)  # fmt: skip
def explain(workdir: Path, run: str, as_json: bool, what: str) -> None:
    """Explain why a job, the jobs of a rule, or a pilot waits, is held, slow or refused.

    Without a name, explain everything that waits or failed. Name a job by HTCondor's id (12.3), by
    Snakemake's number or by an output file; name a pilot by its Slurm job id (SITE:ID, if two
    clusters use the same id) or its name in HTCondor. Works while Snakemake runs and afterwards.
    Reads the files of the run, and queries its Slurm and access point at most once each.

    \b
    osgpilot explain                  everything that waits or failed
    osgpilot explain map              the jobs of a rule
    osgpilot explain results/a.bam    the job that makes a file
    osgpilot explain 12.3             a job by HTCondor's id
    osgpilot explain 4711             a pilot by its Slurm job
    """
    from ..explain.explain import explain as explained
    from ..explain.gather import facts
    from ..report.locate import Watched, find

    watched = Watched(find(workdir, run))
    replayed = watched.look()
    known = facts(replayed, _ask(replayed), time.time(), alive=watched.is_alive())
    found = explained(what, known)
    if what and not found:
        raise InputError(
            f"run {watched.folder.name} has no rule, job or pilot {what!r}, ready or to come; "
            "`osgpilot status` lists them"
        )
    if as_json:
        listed = [asdict(each) for each in found]
        echo_json({"explanations": listed, "unanswered": known.unanswered})
        return
    _show(found, known.unanswered)


def _ask(replayed: ReplayedRun) -> Answers:
    """Query Slurm about pilots and the access point about holds, where there are any."""
    from ..explain.gather import Answers, place_of
    from ..slurm.ssh import Logins

    place, silent = place_of(replayed.life.get("place")), list[str]()
    rows = holds = None
    if any(not pilot.over for pilot in replayed.pilots.values()):
        with ExitStack() as undo:
            ask = partial(_rows, logins=Logins(), undo=undo)
            answers = [_answer(partial(ask, slurm), silent) for slurm in sorted(place.slurms)]
        if any(answer is not None for answer in answers):
            rows = {name: row for answer in answers for name, row in (answer or {}).items()}
    if any(job.state == "held" for job in replayed.jobs.values()):
        holds = _answer(lambda: _holds(place, replayed), silent)
    return Answers(rows, holds, tuple(silent))


def _rows(where: SlurmHost, *, logins: Logins, undo: ExitStack) -> dict[str, Row]:
    """Return the user's pilots in the queue of a Slurm; `undo` closes the connection."""
    from ..run.endpoints import slurm_of

    host, slurm = slurm_of(where, logins)
    undo.callback(host.close)
    return slurm.look()


def _holds(place: Place, replayed: ReplayedRun) -> dict[str, Event]:
    """Return why jobs of the run are held, from its access point."""
    from ..run.endpoints import access_point_of

    if not place.schedd and place.host not in ("", os.uname().nodename):
        raise OutcomeUnknownError(
            f"holds can be queried only on {place.host}, the run's access point"
        )
    owner, run = replayed.life.get("owner", ""), replayed.life.get("run", "")
    access_point = access_point_of(place.queue, owner, run)
    try:
        return access_point.held()
    finally:
        access_point.close()


def _answer(ask: Callable[[], _Answer], silent: list[str]) -> _Answer | None:
    try:
        return ask()
    except OsgpilotError as error:
        silent.append(f"{error}; what follows is as the run last saw it")
        return None


def _show(found: tuple[Explanation, ...], unanswered: tuple[str, ...]) -> None:
    for text in unanswered:
        echo(f"note: {text}", err=True)
    if not found:
        echo("nothing waits and nothing failed: no job, and no pilot")
    for number, each in enumerate(found):
        if number:
            echo()
        head, *rest = each.lines
        echo(fitted(head, then="    "))
        for line in rest:
            echo(fitted(line, "  ", "    "))
        if each.next_step:
            echo(fitted(each.next_step, "  next: ", "        "))
