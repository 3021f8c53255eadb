"""Access of a run to its sites; a site may answer only after the run has begun."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..config.site import Site
from ..errors import NotSentError, OsgpilotError, OutcomeUnknownError, RunTakenOverError
from ..journal.run_folder import RunFolder
from ..model.identity import RunIdentity
from ..model.resources import Pilot
from ..pilots.batch_system import Allocation
from ..pilots.requests import SiteRequests
from ..slurm.client import SlurmClient
from ..slurm.cluster import Cluster, checked, host_of
from ..slurm.ssh import Logins

Check = Callable[[Cluster], None]


class SiteAccess:
    """Access to one site. Its cluster is checked once, and is None until it has answered."""

    def __init__(self, site: Site, logins: Logins) -> None:
        self.site, self.host = site, host_of(site.slurm.ssh, site.slurm.cluster, logins)
        self.cluster: Cluster | None = None

    def log_in(self) -> OsgpilotError | None:
        """Connect, and check the prerequisites; may prompt for a password.

        Return the error if the site does not answer. Raises an `OsgpilotError` if it answers and
        lacks a prerequisite: that does not pass by waiting.
        """
        try:
            self.host.log_in()
        except OsgpilotError as error:
            return error
        try:
            self.reach()
        except OutcomeUnknownError as error:
            return error
        return None

    def reach(self, check: Check = lambda cluster: None) -> Cluster:
        """Return the cluster; unless it is known already, after it passed `check`, too.

        Does not prompt for a password. Raises an `OsgpilotError` with what to do.
        """
        if self.cluster is None:
            found = checked(self.host, self.site)
            check(found)
            self.cluster = found
        return self.cluster


def folders_of(clusters: Iterable[Cluster], run: RunFolder) -> dict[str, str]:
    """Return the folders of a run on clusters behind SSH, by the names of their sites."""
    behind_ssh = (cluster for cluster in clusters if cluster.site.slurm.ssh)
    return {each.site.resource: str(each.folder(run).path) for each in behind_ssh}


class RunAtSite:
    """Implements `batch_system.Slurm`: the client for a run at a site, made when that answers.

    A cluster that was not reached before has to pass `check`. Every method but `interrupt` raises
    `NotSentError` if it does not, as if it did not answer: the user may correct that meanwhile.
    """

    def __init__(
        self, access: SiteAccess, seat: RunIdentity, folder: RunFolder, check: Check
    ) -> None:
        self._access, self._seat, self._folder, self._check = access, seat, folder, check
        self._made: tuple[SlurmClient, SiteRequests] | None = None

    def begin(self) -> tuple[SlurmClient, SiteRequests]:
        """Return the client and the requests of the run. Raises an `OsgpilotError`."""
        if self._made is None:
            cluster = self._access.reach(self._check)
            there = SiteRequests(cluster.site, self._seat, cluster.folder(self._folder))
            self._made = cluster.client(self._folder), there
        return self._made

    def _begun(self) -> tuple[SlurmClient, SiteRequests]:
        try:
            return self.begin()
        except (OutcomeUnknownError, RunTakenOverError):
            raise
        except OsgpilotError as error:
            raise NotSentError(str(error)) from error

    def requests(self) -> PendingRequests:
        """Return the requests of the run, with what is known before the cluster has answered."""
        return PendingRequests(
            self._access.site, self._seat, self._folder, lambda: self._begun()[1]
        )

    def interrupt(self) -> None:
        self._access.host.interrupt()

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments, **named: getattr(self._begun()[0], name)(*arguments, **named)


class PendingRequests(SiteRequests):
    """Requests at a site that may not have answered yet: paths are those of its cluster.

    `there` returns the requests with these, or raises `OutcomeUnknownError`.
    """

    def __init__(
        self, site: Site, seat: RunIdentity, folder: RunFolder, there: Callable[[], SiteRequests]
    ) -> None:
        super().__init__(site, seat, folder)
        self._there = there

    def file(self, name: str) -> Path:
        return self._there().file(name)

    def pilot_folder(self, pilot: str) -> Path:
        return self._there().pilot_folder(pilot)

    def allocation(self, pilot: Pilot) -> Allocation:
        return self._there().allocation(pilot)
