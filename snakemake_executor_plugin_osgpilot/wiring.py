"""The one place that picks implementations for the ports and checks what they need."""

from __future__ import annotations

import getpass
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import plain_path
from snakemake_executor_plugin_osgpilot.access_point.local import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.access_point.remote import Address, RemoteAccessPoint
from snakemake_executor_plugin_osgpilot.book import RunBook
from snakemake_executor_plugin_osgpilot.controller import Controller
from snakemake_executor_plugin_osgpilot.core.model import Pilot, Policy, Shape
from snakemake_executor_plugin_osgpilot.errors import BadInput, OsgpilotError, Unavailable
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilot.parameters import (
    check_token,
    install_script,
    parameters,
    safe_name,
)
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.scaling import Scaling
from snakemake_executor_plugin_osgpilot.site.kinds import kinds
from snakemake_executor_plugin_osgpilot.site.load import OSPOOL, RemoteSchedd, Site, load
from snakemake_executor_plugin_osgpilot.slurm.local import LocalSlurm

OSPOOL_COLLECTOR = "cm-1.ospool.osg-htc.org"
"""One of the OSPool's central managers; anybody may ask it (osg-flock,
95_security_osgflockgit.config)."""

LOCAL = "local"
"""The value of --osgpilot-access-point for the schedd of this machine."""

_SLURM_COMMANDS = ("sbatch", "squeue", "scancel")


class SystemClock:
    """Implements `ports.Clock`."""

    def now_s(self) -> float:
        return time.time()


@dataclass(frozen=True)
class Run:
    """Everything that serves one run of a workflow.

    `say` and `warn` reach the user.
    """

    seat: Seat
    folder: RunFolder
    workdir: Path
    queue: Queue
    controller: Controller
    scaling: Scaling
    book: RunBook
    access_point: LocalAccessPoint | RemoteAccessPoint
    clock: SystemClock
    say: Callable[[str], None]
    warn: Callable[[str], None]

    @property
    def pilot_life_s(self) -> int:
        """How long jobs can count on a new pilot, in seconds."""
        policy = self.scaling.policy
        return max(offer.walltime_max_s for offer in policy.offers) - policy.life_taken_s

    def close(self) -> None:
        """End jobs, pilots and helper processes of this run."""
        self.controller.close()
        self.access_point.close()


@dataclass(frozen=True)
class Limits:
    """What the user allows; see the settings of the executor."""

    pilots_max: int
    pending_max: int
    cores_max: int | None
    core_h_max: float | None
    economy: float

    def check(self) -> None:
        """Raise `BadInput` naming the first setting that makes no sense."""
        whole = {"max-pilots": self.pilots_max, "max-pending": self.pending_max}
        if self.cores_max is not None:
            whole["max-cores"] = self.cores_max
        for name, value in whole.items():
            if value < 1:
                raise BadInput(f"--osgpilot-{name} is {value}; it has to be 1 or more")
        if self.core_h_max is not None and not self.core_h_max > 0:
            raise BadInput(f"--osgpilot-max-core-hours is {self.core_h_max}; it has to be above 0")
        if not 0 <= self.economy <= 1:
            raise BadInput(f"--osgpilot-economy is {self.economy}; it goes from 0 to 1")


@dataclass(frozen=True)
class Wishes:
    """What the user said about a run. Pilots let jobs see `shared_folders` of their node.

    `access_point` replaces what the site file says: the name of a schedd, or `LOCAL`.
    """

    project: str
    site_file: Path
    limits: Limits
    shared_folders: tuple[str, ...] = ()
    access_point: str | None = None


def start(
    wishes: Wishes, state_folder: Path, say: Callable[[str], None], warn: Callable[[str], None]
) -> Run:
    """Check everything a run needs, then start its controller.

    Raises an `OsgpilotError` that names what is wrong; nothing was submitted then.
    """
    site = replace(load(wishes.site_file), shared_folders=wishes.shared_folders)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    user = getpass.getuser()
    seat = Seat(user, safe_name(wishes.project, "--osgpilot-project"), run_id)
    wishes.limits.check()
    _check(site, seat, state_folder)
    there = chosen_schedd(wishes.access_point, site)
    folder = RunFolder.create(state_folder.absolute(), run_id)
    clock, policy = SystemClock(), _policy(site, wishes.limits)
    access_point = _access_point(seat, folder, _manager(site), there, clock)
    # pilots take the jobs of this user, who may have another name there than here
    seat = replace(seat, owner=_greeted(access_point))
    slurm = LocalSlurm(user, site.slurm, install_script(folder.path))
    fleet = Fleet(slurm, clock, site, seat, folder)
    queue = Queue(access_point, _largest(policy))
    scaling = Scaling(fleet, access_point, clock, policy)
    book = RunBook(folder, seat, queue, fleet, scaling, clock)
    controller = Controller(queue, fleet, scaling, book, clock, say, warn)
    controller.start()
    return Run(
        seat, folder, Path.cwd(), queue, controller, scaling, book, access_point, clock, say, warn
    )


def _manager(site: Site) -> str:
    return OSPOOL_COLLECTOR if site.central_manager == OSPOOL else site.central_manager


def chosen_schedd(wish: str | None, site: Site) -> RemoteSchedd | None:
    """Return the access point on another host that is meant, None if it is the one here."""
    if not wish:
        return site.access_point
    if wish == LOCAL:
        return None
    known = site.access_point or RemoteSchedd(wish)
    return replace(known, schedd=safe_name(wish, "--osgpilot-access-point"))


def _access_point(
    seat: Seat, folder: RunFolder, manager: str, there: RemoteSchedd | None, clock: SystemClock
) -> LocalAccessPoint | RemoteAccessPoint:
    if there is None:
        return LocalAccessPoint(seat, folder.path, manager)
    address = Address(there.schedd, there.collector or manager)
    return RemoteAccessPoint(seat, folder.path, manager, address, clock, there.poll_s)


def _greeted(access_point: LocalAccessPoint | RemoteAccessPoint) -> str:
    try:
        return safe_name(access_point.ping(), "user name")
    except OsgpilotError:
        access_point.close()
        raise


def _policy(site: Site, limits: Limits) -> Policy:
    return Policy(
        offers=tuple(kind.offer for kind in kinds(site)),
        pilots_max=limits.pilots_max,
        pending_max=limits.pending_max,
        cores_max=limits.cores_max,
        core_s_max=None if limits.core_h_max is None else 3600 * limits.core_h_max,
        economy=limits.economy,
    )


def _largest(policy: Policy) -> Shape:
    return Shape(*map(max, zip(*(offer.shape for offer in policy.offers), strict=True)))


def _check(site: Site, seat: Seat, state_folder: Path) -> None:
    check_token(site.token)
    for command in _SLURM_COMMANDS:
        if shutil.which(command) is None:
            raise Unavailable(
                f"`{command}` was not found; run Snakemake where Slurm's commands work"
            )
    if "://" not in site.image and not Path(site.image).exists():
        raise BadInput(f"pilot image {site.image} does not exist; see `image` in the site file")
    plain_path(state_folder.absolute())
    parameters(site, seat, Pilot("check", Shape(1, 1)), state_folder)
