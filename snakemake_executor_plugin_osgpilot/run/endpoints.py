"""Connect to the access points and clusters where runs may have left something."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from ..common.names import safe_name
from ..common.system_clock import SystemClock
from ..config.site import POLL_S, SlurmOptions
from ..errors import OsgpilotError
from ..htcondor.factory import AnyAccessPoint
from ..htcondor.local_schedd import LocalAccessPoint
from ..htcondor.remote_schedd import Address, RemoteAccessPoint
from ..journal.location import Place, SlurmHost
from ..model.identity import RunIdentity
from ..slurm.client import SlurmClient
from ..slurm.cluster import connect
from ..slurm.host import Host
from ..slurm.ssh import Logins

logger = logging.getLogger(__name__)


class Endpoints:
    """Connects once to each access point and Slurm host; warns of those it cannot reach.

    `owner` is the local user name; each remote host is asked for the name there.
    """

    def __init__(self, owner: str) -> None:
        self._owner, self._logins = owner, Logins()
        self.users: dict[tuple[str, str], str] = {}
        self.hosts: dict[SlurmHost, Host] = {}
        self.slurms: dict[SlurmHost, SlurmClient] = {}
        self._failed: set[tuple[str, str] | SlurmHost] = set()

    def reach(self, place: Place) -> None:
        """Connect to the access point and the clusters of `place`, where possible."""
        if place.queue not in self.users.keys() | self._failed:
            self._try(place.queue, f"access point {place.schedd or 'of this host'}", self._greet)
        for slurm in sorted(place.slurms - self.slurms.keys() - self._failed):
            self._try(slurm, f"Slurm {f'of {slurm}' if str(slurm) else 'here'}", self._enter)

    @property
    def reached_all(self) -> bool:
        """True if no place was skipped."""
        return not self._failed

    def _try(self, what: tuple[str, str] | SlurmHost, name: str, act: Callable[..., None]) -> None:
        try:
            act(what)
        except OsgpilotError as error:
            self._failed.add(what)
            logger.warning(f"{name} is skipped: {error}")

    def _greet(self, queue: tuple[str, str]) -> None:
        access_point = access_point_of(queue, self._owner, "none")
        try:
            self.users[queue] = safe_name(access_point.ping(), "user name")
        finally:
            access_point.close()

    def _enter(self, where: SlurmHost) -> None:
        host, slurm = slurm_of(where, self._logins)
        try:
            # Slurm's commands may be installed and still not work
            slurm.folders()
        except BaseException:
            host.close()
            raise
        self.hosts[where], self.slurms[where] = host, slurm

    def access_point(self, queue: tuple[str, str], run: str) -> AnyAccessPoint:
        """Return a connected access point for the jobs of one run; the caller closes it."""
        return access_point_of(queue, self.users[queue], run)

    def close(self) -> None:
        """Disconnect from all hosts."""
        for host in self.hosts.values():
            host.close()


def access_point_of(queue: tuple[str, str], owner: str, run: str) -> AnyAccessPoint:
    """Return the access point `queue` for the jobs of one run of `owner`; the caller closes it."""
    seat, (schedd, collector) = RunIdentity(owner, "none", run), queue
    if not schedd:
        return LocalAccessPoint(seat, Path())
    return RemoteAccessPoint(seat, Path(), "", Address(schedd, collector), SystemClock(), POLL_S)


def slurm_of(where: SlurmHost, logins: Logins) -> tuple[Host, SlurmClient]:
    """Return the host of Slurm's commands, and a client for the user there.

    The caller closes the host. Raises `OsgpilotError`.
    """
    host = connect(where.ssh, where.cluster, logins)
    try:
        user = safe_name(host.run(["id", "-un"]).out.strip(), "user name")
    except BaseException:
        host.close()
        raise
    return host, SlurmClient(host, user, SlurmOptions(), Path())
