"""Find runs in a working folder and read their histories; everything is opened read-only."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..journal.holder import LEASE_S, RunOwner, is_alive
from ..journal.lease import lease_age_s
from ..journal.process import started, this_process
from ..journal.run_folder import RunFolder
from ..monitoring.history_file import HISTORY, read
from ..monitoring.line_check import is_whole
from .replay import ReplayedRun

STATE = Path(".snakemake", "osgpilot")
"""The folder of runs in a working folder."""

IDLE_MAX = 64 * 1024
"""Size in bytes above which a history is certainly of a run that had jobs."""

WORK = ("waiting", "running", "to_come")
"""Numbers of jobs in a plan."""


def find(workdir: Path, run: str = "") -> Path:
    """Return the folder of a run in `workdir` by the beginning of its id; if none is named, of the
    one written last, except those that had nothing to do while there are others.

    Raises `InputError` if there is none, or several begin like this.
    """
    folders = newest_first(workdir)
    if not folders:
        raise no_run_in(workdir)
    if not run:
        return next((folder for folder in folders if not had_nothing_to_do(folder)), folders[0])
    found = [f for f in folders if f.name == run] or [f for f in folders if f.name.startswith(run)]
    if not found:
        raise InputError(
            f"run {run} is not in {workdir.absolute()}; `osgpilot runs` lists those that are"
        )
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise InputError(f"several runs begin with {run}: {names}")
    return found[0]


def had_nothing_to_do(folder: Path) -> bool:
    """Return True if the run ended normally without any job: all outputs were up to date."""
    history = folder / HISTORY
    try:
        if history.stat().st_size > IDLE_MAX:
            return False
        lines = [line for line in read(history)[0] if is_whole(line)]
    except OSError:
        return False
    # a plan of nothing: the run was over before or after its first decision
    told = [line for line in lines if line["kind"] != "plan" or any(map(line.get, WORK))]
    if not told or {line["kind"] for line in told} != {"life", "end"}:
        return False
    end = told[-1]
    return end["kind"] == "end" and not any(map(end.get, ("error", "interrupted", "to_come")))


def newest_first(workdir: Path) -> list[Path]:
    """Return the folders of runs that have a history."""
    histories = (workdir / STATE).glob(f"*/{HISTORY}")
    ordered = sorted(histories, key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.parent for path in ordered]


def no_run_in(workdir: Path) -> InputError:
    """Return the error of a folder without runs, or with runs that only another user can read."""
    where = workdir.absolute()
    runs = where / STATE
    if runs.is_dir() and not os.access(runs, os.R_OK | os.X_OK):
        return InputError(f"the runs in {where} are of another user: {runs} cannot be read")
    return InputError(f"there is no run of osgpilot in {where}; name its folder with --dir")


@dataclass
class Watched:
    """A run that is polled; each poll reads what is new."""

    folder: Path
    replayed: ReplayedRun = field(default_factory=ReplayedRun)
    _offset: int = 0

    def look(self) -> ReplayedRun:
        """Return what is known by now. Raises `InputError` if the history cannot be read."""
        try:
            lines, self._offset = read(self.folder / HISTORY, self._offset)
        except OSError as error:
            raise InputError(f"{self.folder / HISTORY} cannot be read: {error.strerror}") from error
        self.replayed.take(lines)
        self.replayed.name = self.folder.name
        if self.replayed.life.get("version", 1) != 1:
            raise InputError(f"{self.folder / HISTORY} was written by another version of osgpilot")
        return self.replayed

    def is_alive(self) -> bool:
        """Return True while a Snakemake process drives the run."""
        holder = self.replayed.life.get("holder")
        if self.replayed.is_over:
            return False
        if not self.replayed.life:
            # that line is damaged
            age_s = lease_age_s(RunFolder(self.folder))
            return age_s is None or age_s < LEASE_S
        if not holder:
            return False
        own, pid = RunOwner(**holder), int(holder["pid"])
        return is_alive(own, this_process(), started(pid), lease_age_s(RunFolder(self.folder)))
