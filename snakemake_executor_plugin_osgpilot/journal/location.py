"""The access point and the Slurm cluster of a run."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """Location of the jobs and pilots of a run, as seen from `host` (empty: unknown).

    An access point is identified by its `schedd` and the `collector` of that (no schedd: the one of
    `host`), the Slurm host by `ssh` (empty: `host`); the files of the pilots are there in `folder`.
    The access point of `host` writes outputs to `home`, the working folder (empty: unknown, or
    outputs are fetched).
    """

    host: str = ""
    schedd: str = ""
    collector: str = ""
    ssh: str = ""
    folder: str = ""
    home: str = ""

    def differs(self, other: Place) -> str:
        """Return what of `other` cannot be reached from here, empty if all can."""
        is_own = "" in (self.host, other.host) or self.host == other.host
        if self.queue != other.queue or not (is_own or other.schedd):
            return f"its jobs are at the access point {other.schedd or f'of {other.host}'}"
        if self.ssh != other.ssh or not (is_own or other.ssh):
            return f"its pilots are in the Slurm of {other.ssh or other.host}"
        if other.home and self.home != other.home:
            return f"its jobs write their outputs to {other.home}"
        return ""

    @property
    def queue(self) -> tuple[str, str]:
        """Schedd and collector, which identify the access point."""
        return self.schedd, self.collector

    def is_visible_from(
        self, host: str, queues: Collection[tuple[str, str]], slurms: Collection[str]
    ) -> bool:
        """Return True if these access points and Slurm hosts, seen from `host`, show all of it."""
        is_own = self.host in ("", host)
        return (
            self.queue in queues
            and self.ssh in slurms
            and (is_own or bool(self.schedd and self.ssh))
        )


_PILOT = re.compile(r"osgpilot-(.+)-\d+")


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its job name in Slurm, empty if it is not an osgpilot job."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""
