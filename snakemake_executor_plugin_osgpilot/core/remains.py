"""What runs have left behind, and what of it may be removed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_PILOT = re.compile(r"osgpilot-(.+)-\d+")


class Fate(Enum):
    """How a run stands."""

    ALIVE = "goes on"
    DETACHED = "detached"
    DEAD = "was cut short"
    GONE = "its journal is gone"
    UNSEEN = "not seen from here"
    FINISHED = "ended"


@dataclass(frozen=True)
class Remains:
    """One run: jobs in the queue, ids of pilots in Slurm, bytes in job folders."""

    run: str
    folder: str
    fate: Fate
    jobs: int = 0
    pilots: tuple[str, ...] = ()
    size_bytes: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to remove."""
        return self.fate in (Fate.FINISHED, Fate.GONE) and not (self.jobs or self.pilots)

    def may_go(self, *, named: bool) -> bool:
        """Whether it may be removed; `named` says that the user named the run's working folder.

        Without that, a run that was sent on its way without Snakemake, or of which it cannot be
        told from here whether it lives, is left alone.
        """
        if self.fate in (Fate.DETACHED, Fate.UNSEEN):
            return named
        return self.fate is not Fate.ALIVE


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its name in Slurm, empty if it is none of ours."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""
