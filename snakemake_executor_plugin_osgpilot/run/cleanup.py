"""Find what dead runs left behind, by tags and in folders, and remove it."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISREG

from ..errors import JournalDamagedError, OutcomeUnknownError, RejectedError
from ..htcondor.neutral_path import unlink
from ..journal.lease import is_alive_in
from ..journal.location import Place, SlurmHost, run_of
from ..journal.process import this_process
from ..journal.run_folder import JOURNAL, RunFolder
from ..journal.start_lock import starting
from ..journal.store import Journal
from ..monitoring.history_file import HISTORY, History
from ..staging.commit_outputs import discard
from .endpoints import Endpoints
from .leftovers import Leftovers, RunStatus, is_folder_of, place_of, status_of
from .shutdown import finish

logger = logging.getLogger(__name__)

STATE = Path(".snakemake") / "osgpilot"
HERE = Place().queue
ROUNDS = 2
GENTLY_S, FORCE_S, PAUSE_S = 10.0, 30.0, 0.5
"""Time that pilots and jobs have to leave before, and after, removal by force."""


@dataclass
class _Found:
    """Findings of one run: its folder, jobs by access point, pilots by Slurm host."""

    folder: Path | None = None
    place: Place | None = None
    jobs: Counter[tuple[str, str]] = field(default_factory=Counter)
    pilots: defaultdict[SlurmHost, list[str]] = field(default_factory=lambda: defaultdict(list))
    cluster_folders: set[tuple[SlurmHost, str]] = field(default_factory=set)


@dataclass(frozen=True)
class Cleaner:
    """Finds and removes leftovers of the user's runs in `workdir`, or of all if that is None.

    It searches this host, the places `given`, and those named by journals in the working folder.
    """

    endpoints: Endpoints
    workdir: Path | None
    given: tuple[Place, ...] = ()

    def find(self) -> list[Leftovers]:
        """Return all runs with leftovers. Raises `OutcomeUnknownError`."""
        runs: defaultdict[str, _Found] = defaultdict(_Found)
        for path in (self.workdir or Path.cwd()).absolute().glob(f"{STATE}/*/"):
            runs[path.name].folder = path
        for place in (Place(), *self.given):
            self.endpoints.reach(place)
        # a run found in one place may have a journal that names another place
        seen: set[tuple[str, str] | SlurmHost] = set()
        for _ in range(ROUNDS):
            for found in runs.values():
                if found.place is None and found.folder:
                    found.place = place_of(RunFolder(found.folder))
                if found.place:
                    self.endpoints.reach(found.place)
            self._look_at_queues(runs, seen)
            self._look_at_slurms(runs, seen)
        left = (self._leftovers(run, found) for run, found in sorted(runs.items()))
        return [each for each in left if each is not None and not each.is_empty]

    def _look_at_queues(
        self, runs: defaultdict[str, _Found], seen: set[tuple[str, str] | SlurmHost]
    ) -> None:
        for queue in self.endpoints.users.keys() - seen:
            seen.add(queue)
            with closing(self.endpoints.access_point(queue, "none")) as access_point:
                for run, folder in access_point.folders_of_jobs():
                    found = runs[run]
                    found.jobs[queue] += 1
                    # RUN/jobs/KEY
                    found.folder = found.folder or folder.parent.parent

    def _look_at_slurms(
        self, runs: defaultdict[str, _Found], seen: set[tuple[str, str] | SlurmHost]
    ) -> None:
        for where in self.endpoints.slurms.keys() - seen:
            seen.add(where)
            for allocation_id, name, folder in self.endpoints.slurms[where].folders():
                if run := run_of(name):
                    found = runs[run]
                    found.pilots[where].append(allocation_id)
                    # RUN/pilots/NAME
                    found.folder = found.folder or folder.parent.parent
                    if where.ssh:
                        found.cluster_folders.add((where, str(folder.parent.parent)))

    def _leftovers(self, run: str, found: _Found) -> Leftovers | None:
        if found.folder is None or not self._is_meant(found.folder):
            return None
        folder = RunFolder(found.folder)
        place = found.place
        for site in place.sites if place else ():
            if site.folder:
                found.cluster_folders.add((site.slurm, site.folder))
        pilots = {where: tuple(ids) for where, ids in found.pilots.items()}
        status, why = status_of(folder, is_here=bool(found.jobs[HERE]))
        return Leftovers(
            run,
            str(folder.path),
            self._seen(status, place),
            dict(+found.jobs),
            pilots,
            _size_bytes(folder.path / "jobs"),
            frozenset(found.cluster_folders),
            why,
        )

    def remove(self, what: Leftovers) -> None:
        """Remove the leftovers of a run. Raises an `OsgpilotError` if some could not be removed."""
        folder = RunFolder(Path(what.folder))
        path = folder.path / JOURNAL
        with ExitStack() as undo:
            journal = None
            if what.status is RunStatus.NEVER_BEGUN:
                _check_not_begun(folder)
            elif path.exists() and (journal := _claimed(folder)):
                undo.callback(journal.close)
            self._remove_from_hosts(what)
            if journal:
                finish(folder, journal)
                _record_end(folder)
            elif what.status is RunStatus.NEVER_BEGUN:
                shutil.rmtree(folder.path, ignore_errors=True)
            elif path.exists():
                # it is damaged, and all that it could name is removed
                path.rename(path.with_suffix(".damaged"))
        discard(folder.path / "jobs")
        unlink(folder.path)

    def _remove_from_hosts(self, what: Leftovers) -> None:
        for queue in what.jobs:
            self._remove_jobs(queue, what.run)
        for where in what.pilots:
            self._end_pilots(where, what)
        for where, there in sorted(what.cluster_folders):
            if where in self.endpoints.hosts and is_folder_of(what.run, there):
                self.endpoints.hosts[where].run(["rm", "-rf", there])

    def _is_meant(self, folder: Path) -> bool:
        return self.workdir is None or folder.is_relative_to(self.workdir.absolute())

    def _seen(self, status: RunStatus, place: Place | None) -> RunStatus:
        if place is None or status not in (RunStatus.DEAD, RunStatus.DETACHED):
            return status
        queues, slurms = self.endpoints.users, self.endpoints.slurms
        is_seen = place.is_visible_from(os.uname().nodename, queues, slurms)
        return status if is_seen else RunStatus.OUT_OF_REACH

    def _remove_jobs(self, queue: tuple[str, str], run: str) -> None:
        with closing(self.endpoints.access_point(queue, run)) as access_point:
            access_point.remove(None, "osgpilot cleanup")
            if not _until(lambda: not access_point.find(), GENTLY_S):
                access_point.force_remove(None)
            if not _until(lambda: not access_point.find(), FORCE_S):
                raise OutcomeUnknownError(
                    f"jobs are still in the queue; try: {access_point.removal_hint}"
                )
        logger.info(
            f"run {run}: its jobs are out of the queue{f' of {queue[0]}' if queue[0] else ''}"
        )

    def _end_pilots(self, where: SlurmHost, what: Leftovers) -> None:
        slurm = self.endpoints.slurms[where]
        there = f" on {where}" if str(where) else ""

        def left() -> dict[str, str]:
            return {i: name for i, name, _ in slurm.folders() if run_of(name) == what.run}

        def are_gone() -> bool:
            return not left()

        pilots = left()
        for act in (slurm.cancel_pending, slurm.end_running):
            # Slurm rejects the command if some are gone already
            with suppress(RejectedError):
                act(pilots)
        if not _until(are_gone, GENTLY_S):
            with suppress(RejectedError):
                slurm.kill(left())
        if not _until(are_gone, FORCE_S):
            raise OutcomeUnknownError(
                f"pilots are still in Slurm; try{there}: scancel {' '.join(left())}"
            )
        logger.info(f"run {what.run}: its pilots are gone{f' from {where}' if there else ''}")


def _check_not_begun(folder: RunFolder) -> None:
    """Raise `OutcomeUnknownError` for a run that has just started."""
    with starting(folder.path.parent):
        status, _ = status_of(folder, is_here=False)
        if folder.path.exists() and status is not RunStatus.NEVER_BEGUN:
            raise OutcomeUnknownError(f"run {folder.path.name} has just started; it is left alone")


def _claimed(folder: RunFolder) -> Journal | None:
    """Return the journal of a run, held so that no Snakemake resumes the run meanwhile.

    None if it is damaged. Raises `OutcomeUnknownError` if the run was resumed first, or another
    error if the journal cannot be read.
    """
    with starting(folder.path.parent), ExitStack() as undo:
        try:
            journal = Journal(folder.path / JOURNAL)
            undo.callback(journal.close)
            journal.check()
            holder = journal.holder
        except JournalDamagedError:
            return None
        if holder and is_alive_in(folder, holder):
            raise OutcomeUnknownError(
                f"run {folder.path.name} has just been resumed; it is left alone"
            )
        journal.hold(this_process())
        undo.pop_all()
    return journal


def _record_end(folder: RunFolder) -> None:
    """Record the end of the run in its history."""
    path = folder.path / HISTORY
    if path.exists():
        history = History(path)
        history.put([{"kind": "end", "at_s": time.time(), "detached": False, "live": 0}])
        with suppress(OSError):
            history.close()


def _size_bytes(folder: Path) -> int:
    """Return the size of the files in `folder`; unreadable and vanished ones count as 0."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                status = Path(place, name).lstat()
                size += status.st_size if S_ISREG(status.st_mode) else 0
    return size


def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(PAUSE_S)
    return True
