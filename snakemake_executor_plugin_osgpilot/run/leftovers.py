"""Leftovers of runs, the status of each run, and what may be removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import Enum

from ..errors import (
    InputError,
    JournalDamagedError,
    MissingPrerequisiteError,
    NeverBegunError,
    OsgpilotError,
)
from ..journal.holder import LEASE_S
from ..journal.lease import is_alive_in, lease_age_s
from ..journal.location import Place, SlurmHost
from ..journal.open_files import is_open_here
from ..journal.run_folder import JOURNAL, RunFolder
from ..journal.store import Journal

_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class RunStatus(Enum):
    """Status of a run; the values are shown to users."""

    ALIVE = "running"
    DETACHED = "detached"
    DEAD = "interrupted"
    GONE = "its journal is gone"
    UNSEEN = "not seen from here"
    OUT_OF_REACH = "out of reach from here"
    FINISHED = "ended"
    NEVER_BEGUN = "was never begun"
    UNREADABLE = "unknown"


@dataclass(frozen=True)
class Leftovers:
    """One run: jobs by access point, ids of pilots by Slurm host, bytes in job folders.

    `cluster_folders` are those of its pilots' files on clusters behind SSH, with the Slurm host;
    `why` describes the problem with its journal.
    """

    run: str
    folder: str
    status: RunStatus
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pilots: Mapping[SlurmHost, tuple[str, ...]] = field(default_factory=dict)
    size_bytes: int = 0
    cluster_folders: frozenset[tuple[SlurmHost, str]] = frozenset()
    why: str = ""

    @property
    def job_count(self) -> int:
        return sum(self.jobs.values())

    @property
    def pilot_count(self) -> int:
        return sum(map(len, self.pilots.values()))

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to remove."""
        return self.status in (RunStatus.FINISHED, RunStatus.GONE) and not (
            self.jobs or self.pilots
        )

    def may_go(self, *, named: bool) -> bool:
        """Return True if it may be removed; `named`: the user named the run's working folder.

        Without that, a detached run and one whose status cannot be seen from here are kept. A run
        that is partly out of reach is always kept, as it would be recorded as ended, and so is one
        whose journal cannot be read.
        """
        if self.status in (RunStatus.DETACHED, RunStatus.UNSEEN):
            return named
        return self.status not in (RunStatus.ALIVE, RunStatus.OUT_OF_REACH, RunStatus.UNREADABLE)


def is_run(name: str) -> bool:
    """Return True if a folder of this name belongs to a run."""
    return bool(_RUN.fullmatch(name))


def is_folder_of(run: str, path: str) -> bool:
    """Return True if `path` can only be the folder of a run's files on a cluster."""
    names = path.split("/")
    plain = path.startswith("/") and not {"", ".", ".."} & set(names[1:])
    return plain and len(names) > 2 and names[-1] == run and bool(_RUN.fullmatch(run))


def place_of(folder: RunFolder) -> Place | None:
    """Return the location of an unfinished run; None if there is no readable journal."""
    with suppress(OsgpilotError, OSError):
        if (folder.path / JOURNAL).exists():
            with closing(Journal(folder.path / JOURNAL)) as journal:
                return None if journal.is_finished else journal.place
    return None


def status_of(folder: RunFolder, *, is_here: bool) -> tuple[RunStatus, str]:
    """Return the status of a run, and the problem with its journal, empty if none.

    What cannot be read proves nothing. `is_here`: the queue of this host has jobs of it.
    """
    try:
        return _status(folder, is_here=is_here), ""
    except NeverBegunError:
        return RunStatus.NEVER_BEGUN, ""
    except JournalDamagedError as error:
        unknown = lease_age_s(folder) is None
        return (RunStatus.UNREADABLE if unknown else _without_journal(folder, RunStatus.DEAD)), str(
            error
        )
    except (InputError, MissingPrerequisiteError) as error:
        return RunStatus.UNREADABLE, str(error)
    except OSError as error:
        return RunStatus.UNREADABLE, f"{error.filename or folder.path}: {error.strerror}"


def _status(folder: RunFolder, *, is_here: bool) -> RunStatus:
    if not folder.path.is_dir():
        if is_open_here(f"{folder.path.name}/{JOURNAL}"):
            return RunStatus.ALIVE  # its folder was moved while it runs
        return RunStatus.GONE if is_here else RunStatus.UNSEEN
    if not (folder.path / JOURNAL).exists():
        # the name shows that the folder belongs to a run
        bare = is_run(folder.path.name) and folder.is_bare()
        return RunStatus.NEVER_BEGUN if bare else _without_journal(folder, RunStatus.GONE)
    with closing(Journal(folder.path / JOURNAL)) as journal:
        journal.check()
        holder = journal.holder
        if journal.is_finished:
            return RunStatus.FINISHED
    age_s = lease_age_s(folder)
    if holder is None:
        return RunStatus.DETACHED if age_s is not None and age_s < 0 else RunStatus.DEAD
    return RunStatus.ALIVE if is_alive_in(folder, holder) else RunStatus.DEAD


def _without_journal(folder: RunFolder, otherwise: RunStatus) -> RunStatus:
    """Return the status of a run by its lease alone."""
    age_s = lease_age_s(folder)
    return RunStatus.ALIVE if age_s is not None and age_s < LEASE_S else otherwise
