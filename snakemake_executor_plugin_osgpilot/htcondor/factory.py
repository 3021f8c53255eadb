"""Choose the access point of a run: the one of this machine, or one on another host."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from ..common.names import safe_name
from ..config.site import OSPOOL, RemoteSchedd, Site
from ..journal.location import Place, SiteLocation
from ..journal.run_folder import RunFolder
from ..model.clock import Clock
from ..model.identity import RunIdentity
from .local_schedd import LocalAccessPoint
from .neutral_path import neutral
from .remote_schedd import Address, RemoteAccessPoint

OSPOOL_COLLECTOR = "cm-1.ospool.osg-htc.org"
"""One of the OSPool's central managers; anybody may query it (osg-flock,
95_security_osgflockgit.config)."""

LOCAL = "local"
"""The value of --osgpilot-access-point for the schedd of this machine."""

AnyAccessPoint = LocalAccessPoint | RemoteAccessPoint


def chosen_schedd(wish: str | None, site: Site) -> RemoteSchedd | None:
    """Return the access point on another host to use, None for the one of this machine.

    `wish` overrides the site file. Raises `InputError`.
    """
    if not wish:
        return site.access_point
    if wish == LOCAL:
        return None
    known = site.access_point or RemoteSchedd(wish)
    return replace(known, schedd=safe_name(wish, "--osgpilot-access-point"))


def access_point_of(
    identity: RunIdentity, folder: RunFolder, site: Site, there: RemoteSchedd | None, clock: Clock
) -> AnyAccessPoint:
    """Return the access point; no request is made. Raises `InputError`, see `neutral_path`."""
    manager = _manager(site)
    path = neutral(folder.path)
    if there is None:
        return LocalAccessPoint(identity, path, manager)
    address = Address(there.schedd, there.collector or manager)
    return RemoteAccessPoint(identity, path, manager, address, clock, there.poll_s)


def place_of(sites: Sequence[Site], there: RemoteSchedd | None) -> Place:
    """Return the place of a run's jobs and pilots; nothing is known of its folders there."""
    queue = ("", "") if there is None else (there.schedd, there.collector or _manager(sites[0]))
    first, *others = (
        SiteLocation(site.resource, site.slurm.ssh, site.slurm.cluster) for site in sites
    )
    return Place(
        os.uname().nodename, *queue, first.ssh,
        cluster=first.cluster, site=first.site, others=tuple(others),
    )  # fmt: skip


def _manager(site: Site) -> str:
    return OSPOOL_COLLECTOR if site.central_manager == OSPOOL else site.central_manager
