"""What runs have left behind, and what of it may be removed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

_RUN = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class RunStatus(Enum):
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
class Leftovers:
    """One run: jobs by access point, ids of pilots by Slurm's host, bytes in job folders.

    `cluster_folders` are where, by Slurm's host, its pilots' files are on a cluster behind SSH;
    `why` says what is wrong with its journal.
    """

    run: str
    folder: str
    fate: RunStatus
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
        return self.fate in (RunStatus.FINISHED, RunStatus.GONE) and not (self.jobs or self.pilots)

    def may_go(self, *, named: bool) -> bool:
        """Whether it may be removed; `named` says that the user named the run's working folder.

        Without that, a run that was sent on its way without Snakemake, or of which it cannot be
        told from here whether it lives, is left alone. So is, in any case, one of which not all
        can be seen, as its end would be written down, and one whose journal cannot be read.
        """
        if self.fate in (RunStatus.DETACHED, RunStatus.UNSEEN):
            return named
        return self.fate not in (RunStatus.ALIVE, RunStatus.OUT_OF_REACH, RunStatus.UNREADABLE)


def is_run(name: str) -> bool:
    """Whether a folder of this name is one of a run."""
    return bool(_RUN.fullmatch(name))


def is_folder_of(run: str, path: str) -> bool:
    """Whether `path` can be the folder of a run's files on a cluster, and nothing else."""
    names = path.split("/")
    plain = path.startswith("/") and not {"", ".", ".."} & set(names[1:])
    return plain and len(names) > 2 and names[-1] == run and bool(_RUN.fullmatch(run))
