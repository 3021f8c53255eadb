"""Find a run that was cut short in a working folder, and take it up; or begin a new one."""

from __future__ import annotations

import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    MissingPrerequisiteError,
    NeverBegunError,
    OsgpilotError,
)
from snakemake_executor_plugin_osgpilot.jobs.access_point import AccessPoint
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Leftover, leftover, unreported
from snakemake_executor_plugin_osgpilot.journal.holder import RunOwner
from snakemake_executor_plugin_osgpilot.journal.lease import heard_of, is_alive_in
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.journal.process import this_process
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, LEASE, RunFolder, runs_in
from snakemake_executor_plugin_osgpilot.journal.start_lock import starting, writing
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity


@dataclass(frozen=True)
class AcquiredRun:
    """A run that is ours now; `resumed` says whether it has an earlier life."""

    folder: RunFolder
    seat: RunIdentity
    journal: Journal
    resumed: bool

    def settle_at(self, place: Place) -> None:
        """Write down where the run has its jobs and pilots from now on.

        Raises `InputError` where an earlier life has some elsewhere: they would be run twice.
        """
        before = self.journal.place
        with suppress(OSError):
            # it may have another name now, or be reached by a link
            if before.home and Path(before.home).samefile(place.home):
                before = replace(before, home=place.home)
        if before != Place() and (elsewhere := place.differs(before)):
            live = any(not pilot.state.over for pilot in self.journal.pilots())
            if live or self.journal.entries():
                raise InputError(
                    f"run {self.seat.run} was cut short, and {elsewhere}; go on with it there, or "
                    "remove what it left with `osgpilot cleanup`"
                )
        self.journal.works_at(place)

    def give_back(self) -> None:
        """Undo the taking, after a start that failed; a new run has nothing that could be left."""
        with suppress(OsgpilotError):
            if self.resumed:
                self.journal.hold(None)
            else:
                self.journal.finish()
        self.journal.close()


def take(state_folder: Path, wanted: RunIdentity, say: Callable[[str], None]) -> AcquiredRun:
    """Take up the latest run for the same owner, project and pilot sharing as `wanted` that was
    cut short, or begin a new one; runs that were never begun are passed over.

    Raises `MissingPrerequisiteError` if a process that is alive, or may be, has a run in this
    folder, or nothing can be written there, `InputError` if a journal is damaged,
    `OutcomeUnknownError` if one is not written.
    """
    me = this_process()
    with starting(state_folder / "osgpilot", say):
        taken = None
        for folder, journal in reversed(_cut_short(state_folder, me)):
            seat = journal.seat
            if taken is None and replace(seat, run=wanted.run) == wanted:
                taken = AcquiredRun(folder, seat, journal, resumed=True)
                continue
            journal.close()
            say(
                f"run {seat.run} of project {seat.project} was cut short; "
                "`osgpilot cleanup` removes what it left"
            )
        with writing(state_folder):
            taken = taken or _begin(state_folder, wanted)
            # before there is a holder: other hosts take one without a lease for dead
            (taken.folder.path / LEASE).touch()
        try:
            taken.journal.hold(me)
        except OsgpilotError:
            taken.journal.close()
            raise
    return taken


def _cut_short(state_folder: Path, me: RunOwner) -> list[tuple[RunFolder, Journal]]:
    """Return the runs that nobody works on and that did not come to their end, oldest first."""
    found = []
    for folder in runs_in(state_folder):
        try:
            journal = Journal(folder.path / JOURNAL)
        except NeverBegunError:
            continue
        holder = journal.holder
        if journal.is_finished or (holder and _is_same(holder, me)):
            journal.close()
        elif holder and is_alive_in(folder, holder):
            journal.close()
            raise MissingPrerequisiteError(_in_use(folder, holder, me))
        else:
            journal.check()
            found.append((folder, journal))
    return found


def _begin(state_folder: Path, wanted: RunIdentity) -> AcquiredRun:
    number = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    seat = replace(wanted, run=number)
    folder = RunFolder.create(state_folder, seat.run)
    try:
        taken = AcquiredRun(folder, seat, Journal(folder.path / JOURNAL, seat), resumed=False)
        # only now: a folder with nothing but half a journal is that of a run that was never begun
        folder.make_files()
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return taken


def recall(taken: AcquiredRun, access_point: AccessPoint, queue: JobManager) -> Leftover:
    """Ask what became of the jobs of a run that was cut short, and have `queue` go on with them.

    Raises `OutcomeUnknownError` if the access point does not say: nothing may be submitted then.
    """
    found = access_point.find()
    entries = taken.journal.entries()
    # only now: what left the queue before is in the log
    told = access_point.events()
    if silent := unreported(entries, found, told):
        # what its history does not tell either is submitted anew
        with suppress(OsgpilotError):
            told = [*told, *access_point.ended(silent).items()]
    what = replace(leftover(entries, found, told), past=tuple(taken.journal.past()))
    queue.restore(what, told)
    return what


def _is_same(holder: RunOwner, me: RunOwner) -> bool:
    return me.sees(holder) and (holder.pid, holder.started) == (me.pid, me.started)


def _in_use(folder: RunFolder, holder: RunOwner, me: RunOwner) -> str:
    age_min = max(0.0, me.since_s - holder.since_s) / 60
    return (
        f"another Snakemake works in this folder: run {folder.path.name}, process {holder.pid} on "
        f"{holder.host}, for {age_min:.0f} min, {heard_of(folder)}; end it first, or "
        "use another working folder"
    )
