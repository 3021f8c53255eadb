"""Where the jobs and pilots of a run are."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


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


_PILOT = re.compile(r"osgpilot-(.+)-\d+")


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its name in Slurm, empty if it is none of ours."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""
