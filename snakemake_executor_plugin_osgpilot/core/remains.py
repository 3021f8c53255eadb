"""What runs have left behind, and what of it may be removed."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

_PILOT = re.compile(r"osgpilot-(.+)-\d+")
_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True)
class Place:
    """Where a run has its jobs and its pilots, as seen from `host` (empty: not known).

    An access point is named by its `schedd` and the `collector` that knows it (no schedd: the one
    of `host`), Slurm's host by `ssh` (empty: `host`); there, the run has the files of its pilots
    in `folder`. The access point of `host` brings outputs to `home`, the working folder (empty:
    not known, or they are fetched).
    """

    host: str = ""
    schedd: str = ""
    collector: str = ""
    ssh: str = ""
    folder: str = ""
    home: str = ""

    def differs(self, other: Place) -> str:
        """Return what of `other` cannot be followed from here, empty if all can."""
        is_own = "" in (self.host, other.host) or self.host == other.host
        if self.queue != other.queue or not (is_own or other.schedd):
            return f"its jobs are at the access point {other.schedd or f'of {other.host}'}"
        if self.ssh != other.ssh or not (is_own or other.ssh):
            return f"its pilots are in the Slurm of {other.ssh or other.host}"
        if other.home and self.home != other.home:
            return f"its jobs bring their outputs to {other.home}"
        return ""

    @property
    def queue(self) -> tuple[str, str]:
        """What names the access point."""
        return self.schedd, self.collector

    def is_looked_at(
        self, host: str, queues: Collection[tuple[str, str]], slurms: Collection[str]
    ) -> bool:
        """Whether a look from `host` at these access points and hosts of Slurm shows all of it."""
        is_own = self.host in ("", host)
        return (
            self.queue in queues
            and self.ssh in slurms
            and (is_own or bool(self.schedd and self.ssh))
        )


class Fate(Enum):
    """How a run stands."""

    ALIVE = "goes on"
    DETACHED = "detached"
    DEAD = "was cut short"
    GONE = "its journal is gone"
    UNSEEN = "not seen from here"
    OUT_OF_REACH = "out of reach from here"
    FINISHED = "ended"
    NEVER_BEGUN = "was never begun"
    UNREADABLE = "cannot be told"


@dataclass(frozen=True)
class Remains:
    """One run: jobs by access point, ids of pilots by Slurm's host, bytes in job folders.

    `cluster_folders` are where, by Slurm's host, its pilots' files are on a cluster behind SSH;
    `why` says what is wrong with its journal.
    """

    run: str
    folder: str
    fate: Fate
    jobs: Mapping[tuple[str, str], int] = field(default_factory=dict)
    pilots: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    size_bytes: int = 0
    cluster_folders: Mapping[str, str] = field(default_factory=dict)
    why: str = ""

    @property
    def job_count(self) -> int:
        return sum(self.jobs.values())

    @property
    def pilot_count(self) -> int:
        return sum(map(len, self.pilots.values()))

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remove."""
        return self.fate in (Fate.FINISHED, Fate.GONE) and not (self.jobs or self.pilots)

    def may_go(self, *, named: bool) -> bool:
        """Whether it may be removed; `named` says that the user named the run's working folder.

        Without that, a run that was sent on its way without Snakemake, or of which it cannot be
        told from here whether it lives, is left alone. So is, in any case, one of which not all
        can be seen, as its end would be written down, and one whose journal cannot be read.
        """
        if self.fate in (Fate.DETACHED, Fate.UNSEEN):
            return named
        return self.fate not in (Fate.ALIVE, Fate.OUT_OF_REACH, Fate.UNREADABLE)


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its name in Slurm, empty if it is none of ours."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""


def is_run(name: str) -> bool:
    """Whether a folder of this name is one of a run."""
    return bool(_RUN.fullmatch(name))


def is_folder_of(run: str, path: str) -> bool:
    """Whether `path` can be the folder of a run's files on a cluster, and nothing else."""
    names = path.split("/")
    plain = path.startswith("/") and not {"", ".", ".."} & set(names[1:])
    return plain and len(names) > 2 and names[-1] == run and bool(_RUN.fullmatch(run))
