"""The access point and the Slurm cluster of a run."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class SlurmHost:
    """Where Slurm is: the host of its commands (empty: this one), and the cluster that they name
    (empty: the one of that host).
    """

    ssh: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        cluster = f"cluster {self.cluster}" if self.cluster else ""
        return ", ".join(filter(None, (self.ssh, cluster)))


@dataclass(frozen=True)
class Place:
    """Location of the jobs and pilots of a run, as seen from `host` (empty: unknown).

    An access point is identified by its `schedd` and the `collector` of that (no schedd: the one of
    `host`), Slurm by the host `ssh` (empty: `host`) and the `cluster` there; the files of the
    pilots are there in `folder`. The access point of `host` writes outputs to `home`, the working
    folder (empty: unknown, or outputs are fetched).
    """

    host: str = ""
    schedd: str = ""
    collector: str = ""
    ssh: str = ""
    folder: str = ""
    home: str = ""
    cluster: str = ""

    def differs(self, other: Place) -> str:
        """Return what of `other` cannot be reached from here, empty if all can."""
        is_own = "" in (self.host, other.host) or self.host == other.host
        if self.queue != other.queue or not (is_own or other.schedd):
            return f"its jobs are at the access point {other.schedd or f'of {other.host}'}"
        if self.slurm != other.slurm or not (is_own or other.ssh):
            cluster = f", cluster {other.cluster}" if other.cluster else ""
            return f"its pilots are in the Slurm of {other.ssh or other.host}{cluster}"
        if other.home and self.home != other.home:
            return f"its jobs write their outputs to {other.home}"
        return ""

    @property
    def queue(self) -> tuple[str, str]:
        """Schedd and collector, which identify the access point."""
        return self.schedd, self.collector

    @property
    def slurm(self) -> SlurmHost:
        """Where its Slurm is."""
        return SlurmHost(self.ssh, self.cluster)

    def is_visible_from(
        self, host: str, queues: Collection[tuple[str, str]], slurms: Collection[SlurmHost]
    ) -> bool:
        """Return True if these access points and Slurm hosts, seen from `host`, show all of it."""
        is_own = self.host in ("", host)
        return (
            self.queue in queues
            and self.slurm in slurms
            and (is_own or bool(self.schedd and self.ssh))
        )


_PILOT = re.compile(r"osgpilot-(.+)-\d+")


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its job name in Slurm, empty if it is not an osgpilot job."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""
