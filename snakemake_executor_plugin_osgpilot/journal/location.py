"""The access point and the Slurm cluster of a run."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, order=True)
class SlurmHost:
    """The location of Slurm: the host of its commands (empty: this one), and the cluster that they
    name (empty: the one of that host).
    """

    ssh: str = ""
    cluster: str = ""

    def __str__(self) -> str:
        cluster = f"cluster {self.cluster}" if self.cluster else ""
        return ", ".join(filter(None, (self.ssh, cluster)))


@dataclass(frozen=True)
class SiteLocation:
    """Location of the pilots at one site: Slurm's host `ssh` (empty: that of the run) and the
    `cluster` there; the files of the pilots are there in `folder`.
    """

    site: str = ""
    ssh: str = ""
    cluster: str = ""
    folder: str = ""

    @property
    def slurm(self) -> SlurmHost:
        """The location of its Slurm."""
        return SlurmHost(self.ssh, self.cluster)


@dataclass(frozen=True)
class Place:
    """Location of the jobs and pilots of a run, as seen from `host` (empty: unknown).

    An access point is identified by its `schedd` and the `collector` of that (no schedd: the one of
    `host`). `site`, `ssh`, `cluster` and `folder` are those of the first site with pilots, and
    `others` the further ones; see `sites`. The access point of `host` writes outputs to `home`,
    the working folder (empty: unknown, or outputs are fetched).
    """

    host: str = ""
    schedd: str = ""
    collector: str = ""
    ssh: str = ""
    folder: str = ""
    home: str = ""
    cluster: str = ""
    site: str = ""
    others: tuple[SiteLocation, ...] = ()

    @property
    def sites(self) -> tuple[SiteLocation, ...]:
        """The pilots at each site, at least one."""
        return (SiteLocation(self.site, self.ssh, self.cluster, self.folder), *self.others)

    @property
    def slurms(self) -> frozenset[SlurmHost]:
        """The locations of the Slurms of its sites."""
        return frozenset(site.slurm for site in self.sites)

    def with_folders(self, folders: Mapping[str, str]) -> Place:
        """Return it with these folders of its sites on clusters behind SSH, by name."""
        first, *others = (
            replace(each, folder=folders.get(each.site, each.folder)) if each.ssh else each
            for each in self.sites
        )
        return replace(self, folder=first.folder, others=tuple(others))

    def differs(self, other: Place) -> str:
        """Return what of `other` cannot be reached from here, empty if all can."""
        is_own = "" in (self.host, other.host) or self.host == other.host
        if self.queue != other.queue or not (is_own or other.schedd):
            return f"its jobs are at the access point {other.schedd or f'of {other.host}'}"
        for site in other.sites:
            if site.slurm not in self.slurms or not (is_own or site.ssh):
                cluster = f", cluster {site.cluster}" if site.cluster else ""
                return f"its pilots are in the Slurm of {site.ssh or other.host}{cluster}"
        if self.others and not other.others:
            # pilot types of several sites have other names, by which jobs may be pinned to them
            return "its jobs and pilots are of one site alone"
        if other.home and self.home != other.home:
            return f"its jobs write their outputs to {other.home}"
        return ""

    @property
    def queue(self) -> tuple[str, str]:
        """Schedd and collector, which identify the access point."""
        return self.schedd, self.collector

    def is_visible_from(
        self, host: str, queues: Collection[tuple[str, str]], slurms: Collection[SlurmHost]
    ) -> bool:
        """Return True if these access points and Slurm hosts, seen from `host`, show all of it."""
        is_own = self.host in ("", host)
        return (
            self.queue in queues
            and all(slurm in slurms for slurm in self.slurms)
            and (is_own or bool(self.schedd and all(slurm.ssh for slurm in self.slurms)))
        )


_PILOT = re.compile(r"osgpilot-(.+)-\d+")


def run_of(pilot: str) -> str:
    """Return the run of a pilot by its job name in Slurm, empty if it is not an osgpilot job."""
    found = _PILOT.fullmatch(pilot)
    return found[1] if found else ""
