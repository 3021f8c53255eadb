"""Resume an interrupted run in a working folder, or create a new one."""

from __future__ import annotations

import logging
import secrets
import shutil
import time
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ..common.durations import duration
from ..errors import InputError, MissingPrerequisiteError, NeverBegunError, OsgpilotError
from ..jobs.access_point import AccessPoint
from ..jobs.manager import JobManager
from ..jobs.state.recovery import Leftover, leftover, settled, unreported
from ..journal.holder import RunOwner
from ..journal.lease import is_alive_in, lease_age_text
from ..journal.location import Place
from ..journal.process import this_process
from ..journal.run_folder import JOURNAL, LEASE, RunFolder, runs_in
from ..journal.start_lock import starting, writing
from ..journal.store import Journal
from ..model.identity import RunIdentity

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class AcquiredRun:
    """A run that this process holds; `resumed` is True if it had a previous session."""

    folder: RunFolder
    seat: RunIdentity
    journal: Journal
    resumed: bool

    def settle_at(self, place: Place) -> None:
        """Record where the run has its jobs and pilots from now on; folders at sites that have not
        answered yet stay those of the previous session.

        Raises `InputError` if a previous session has some elsewhere: they would run twice.
        """
        before = self.journal.place
        with suppress(OSError):
            # it may have been renamed, or be a link
            if before.home and Path(before.home).samefile(place.home):
                before = replace(before, home=place.home)
        if before != Place() and (elsewhere := place.differs(before)):
            live = any(not pilot.state.over for pilot in self.journal.pilots())
            if live or self.journal.entries():
                raise InputError(
                    f"run {self.seat.run} was interrupted, and {elsewhere}; resume it there, or "
                    "remove what it left with `osgpilot cleanup`"
                )
        unknown = {(each.site, each.slurm) for each in place.sites if not each.folder}
        known = {s.site: s.folder for s in before.sites if (s.site, s.slurm) in unknown}
        self.journal.set_place(place.with_folders(known))

    def release(self) -> None:
        """Release the run after a failed start; a new run is finished, as it left nothing."""
        with suppress(OsgpilotError):
            if self.resumed:
                self.journal.hold(None)
            else:
                self.journal.finish()
        self.journal.close()


def take(state_folder: Path, wanted: RunIdentity) -> AcquiredRun:
    """Resume the latest interrupted run with the owner, project and pilot sharing of `wanted`.

    Create a run if there is none; runs that were never begun are skipped. Raises
    `MissingPrerequisiteError` if a process that is or may be alive holds a run in this folder, or
    the folder is not writable; `InputError` if a journal is damaged; `OutcomeUnknownError` if one
    cannot be written.
    """
    me = this_process()
    with starting(state_folder / "osgpilot"):
        taken = None
        for folder, journal in reversed(_interrupted(state_folder, me)):
            seat = journal.seat
            if taken is None and replace(seat, run=wanted.run) == wanted:
                taken = AcquiredRun(folder, seat, journal, resumed=True)
                continue
            journal.close()
            logger.info(
                f"run {seat.run} of project {seat.project} was interrupted; `osgpilot cleanup` "
                "removes what it left"
            )
        with writing(state_folder):
            taken = taken or _begin(state_folder, wanted)
            # before there is a holder: to other hosts, a holder without a lease is dead
            (taken.folder.path / LEASE).touch()
        try:
            taken.journal.hold(me)
        except OsgpilotError:
            taken.journal.close()
            raise
    return taken


def _interrupted(state_folder: Path, me: RunOwner) -> list[tuple[RunFolder, Journal]]:
    """Return the unfinished runs that no process holds, oldest first."""
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


def in_use(state_folder: Path) -> str:
    """Return why no run can begin in a folder now: a process that is or may be alive holds one.

    Empty if none does. Locks nothing; journals that cannot be read are skipped.
    """
    me = this_process()
    for folder in reversed(runs_in(state_folder)):
        with (
            suppress(OsgpilotError, OSError),
            closing(Journal(folder.path / JOURNAL)) as journal,
        ):
            holder = None if journal.is_finished else journal.holder
            if holder and is_alive_in(folder, holder):
                return _in_use(folder, holder, me)
    return ""


def _begin(state_folder: Path, wanted: RunIdentity) -> AcquiredRun:
    number = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    seat = replace(wanted, run=number)
    folder = RunFolder.create(state_folder, seat.run)
    try:
        taken = AcquiredRun(folder, seat, Journal(folder.path / JOURNAL, seat), resumed=False)
        # only now: a folder that has nothing but a partial journal marks a run that was never begun
        folder.make_files()
    except BaseException:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return taken


def restore_jobs(taken: AcquiredRun, access_point: AccessPoint, queue: JobManager) -> Leftover:
    """Query the state of the jobs of an interrupted run, and have `queue` follow them.

    Raises `OutcomeUnknownError` if the access point does not answer: nothing may be submitted then.
    """
    found = access_point.find()
    entries = taken.journal.entries()
    if useless := settled(entries, found):
        # before their outputs are fetched once more; what is not removed now is an orphan
        with suppress(OsgpilotError):
            access_point.remove(useless, "osgpilot: its end was recorded")
            found = {key: job_id for key, job_id in found.items() if job_id not in useless}
    # in this order: a job that has left the queue by now is in the log
    events = access_point.events()
    if silent := unreported(entries, found, events):
        # jobs that are not in its history either are resubmitted
        with suppress(OsgpilotError):
            events = [*events, *access_point.past_events(silent)]
    what = replace(leftover(entries, found, events), past=tuple(taken.journal.past()))
    queue.restore(what, events)
    return what


def _is_same(holder: RunOwner, me: RunOwner) -> bool:
    return me.sees(holder) and (holder.pid, holder.started) == (me.pid, me.started)


def _in_use(folder: RunFolder, holder: RunOwner, me: RunOwner) -> str:
    age = duration(max(0.0, me.since_s - holder.since_s))
    return (
        f"another Snakemake is running in this folder: run {folder.path.name}, process "
        f"{holder.pid} on {holder.host}, for {age}, {lease_age_text(folder)}; end it "
        "first, or use another working folder"
    )
