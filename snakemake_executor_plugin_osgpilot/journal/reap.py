"""Find what runs left behind, by their tags and in their folders, and remove it."""

from __future__ import annotations

import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.local import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.core.ownership import LEASE_S
from snakemake_executor_plugin_osgpilot.core.remains import Fate, Remains, run_of
from snakemake_executor_plugin_osgpilot.errors import BadInput, Refused, Unanswered
from snakemake_executor_plugin_osgpilot.journal.ending import finish
from snakemake_executor_plugin_osgpilot.journal.history import HISTORY, History
from snakemake_executor_plugin_osgpilot.journal.process import this_process
from snakemake_executor_plugin_osgpilot.journal.resume import is_alive_in, lease_age_s, starting
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.run import JOURNAL, RunFolder
from snakemake_executor_plugin_osgpilot.site.load import SlurmOptions
from snakemake_executor_plugin_osgpilot.slurm.client import SlurmClient
from snakemake_executor_plugin_osgpilot.slurm.host import Here, Host

STATE = Path(".snakemake") / "osgpilot"
GENTLY_S, FORCE_S, PAUSE_S = 10.0, 30.0, 0.5
"""How long pilots, and then jobs, may take to leave before they are removed by force."""


@dataclass(frozen=True)
class Reaper:
    """Looks after the runs of `owner`: those in `workdir`, or all if that is None."""

    owner: str
    workdir: Path | None

    def find(self) -> list[Remains]:
        """Return all runs that left something. Raises `Unanswered`."""
        jobs: Counter[str] = Counter()
        pilots: defaultdict[str, list[str]] = defaultdict(list)
        places: dict[str, Path] = {}
        has_jobs_here = set()
        access_point = self._access_point("none")
        try:
            for run, folder in access_point.folders_of_jobs():
                jobs[run] += 1
                has_jobs_here.add(run)
                # RUN/jobs/KEY
                places[run] = folder.parent.parent
        finally:
            access_point.close()
        for allocation_id, name, folder in self._slurm().folders():
            if run := run_of(name):
                pilots[run].append(allocation_id)
                # RUN/pilots/NAME
                places.setdefault(run, folder.parent.parent)
        for folder in (self.workdir or Path.cwd()).absolute().glob(f"{STATE}/*/"):
            places.setdefault(folder.name, folder)
        found = [
            Remains(
                run,
                str(folder),
                _fate(RunFolder(folder), is_here=run in has_jobs_here),
                jobs[run],
                tuple(pilots[run]),
                _size_bytes(folder / "jobs"),
            )
            for run, folder in sorted(places.items())
            if self._is_meant(folder)
        ]
        return [each for each in found if not each.is_empty]

    def remove(self, what: Remains, say: Callable[[str], None]) -> None:
        """Remove what a run left. Raises an `OsgpilotError` if something of it is still there."""
        folder = RunFolder(Path(what.folder))
        path = folder.path / JOURNAL
        journal = _claimed(folder) if path.exists() else None
        if what.jobs:
            self._remove_jobs(what.run, say)
        if what.pilots:
            self._end_pilots(what, say)
        if journal is not None:
            finish(folder, journal)
            journal.close()
            _tell_end(folder)
        elif path.exists():
            # it is damaged; nothing is left that it could tell of
            path.rename(path.with_suffix(".damaged"))
        shutil.rmtree(folder.path / "jobs", ignore_errors=True)

    def _is_meant(self, folder: Path) -> bool:
        return self.workdir is None or folder.is_relative_to(self.workdir.absolute())

    def _access_point(self, run: str) -> LocalAccessPoint:
        return LocalAccessPoint(Seat(self.owner, "none", run), Path())

    def _slurm(self) -> SlurmClient:
        return SlurmClient(Host(Here()), self.owner, SlurmOptions(), Path())

    def _remove_jobs(self, run: str, say: Callable[[str], None]) -> None:
        access_point = self._access_point(run)
        try:
            access_point.remove(None, "osgpilot reap")
            if not _until(lambda: not access_point.find(), GENTLY_S):
                access_point.forget(None)
            if not _until(lambda: not access_point.find(), FORCE_S):
                raise Unanswered(f"jobs are still there; try: {access_point.removal_hint}")
        finally:
            access_point.close()
        say(f"run {run}: its jobs are out of the queue")

    def _end_pilots(self, what: Remains, say: Callable[[str], None]) -> None:
        slurm, ids = self._slurm(), list(what.pilots)

        def are_gone() -> bool:
            return not {each for each, _, _ in slurm.folders()} & set(ids)

        for act in (slurm.cancel_pending, slurm.end_running):
            # a refusal means that some are gone
            with suppress(Refused):
                act(ids)
        if not _until(are_gone, GENTLY_S):
            with suppress(Refused):
                slurm.kill(ids)
        if not _until(are_gone, FORCE_S):
            raise Unanswered(f"pilots are still there; try: scancel {' '.join(ids)}")
        say(f"run {what.run}: its pilots are gone")


def _claimed(folder: RunFolder) -> Journal | None:
    """Return the journal of a run, held so that no Snakemake takes the run up meanwhile.

    None if it is damaged. Raises `Unanswered` if somebody was quicker.
    """
    with starting(folder.path.parent):
        try:
            journal = Journal(folder.path / JOURNAL)
            journal.check()
            holder = journal.holder
        except BadInput:
            return None
        if holder and is_alive_in(folder, holder):
            journal.close()
            raise Unanswered(f"run {folder.path.name} has just been taken up; it is left alone")
        journal.hold(this_process())
    return journal


def _tell_end(folder: RunFolder) -> None:
    """Have who looks at the run see that it is over."""
    path = folder.path / HISTORY
    if path.exists():
        history = History(path)
        history.put([{"kind": "end", "at_s": time.time(), "detached": False, "live": 0}])
        with suppress(OSError):
            history.close()


def _fate(folder: RunFolder, *, is_here: bool) -> Fate:
    """Return how a run stands; `is_here` says that this machine's queue has jobs of it."""
    if not folder.path.is_dir():
        return Fate.GONE if is_here else Fate.UNSEEN
    is_fresh = lease_age_s(folder) < LEASE_S
    if not (folder.path / JOURNAL).exists():
        return Fate.ALIVE if is_fresh else Fate.GONE
    try:
        with closing(Journal(folder.path / JOURNAL)) as journal:
            holder = journal.holder
            if journal.is_finished:
                return Fate.FINISHED
    except BadInput:
        return Fate.ALIVE if is_fresh else Fate.DEAD
    if holder is None:
        return Fate.DETACHED if lease_age_s(folder) < 0 else Fate.DEAD
    return Fate.ALIVE if is_alive_in(folder, holder) else Fate.DEAD


def _size_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in _files(folder))


def _files(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if not path.is_dir() and not path.is_symlink())


def _until(condition: Callable[[], bool], patience_s: float) -> bool:
    deadline_s = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(PAUSE_S)
    return True
