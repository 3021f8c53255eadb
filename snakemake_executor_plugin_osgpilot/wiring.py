"""The one place that picks implementations for the ports and checks what they need."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import plain_path
from snakemake_executor_plugin_osgpilot.access_point.local import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.book import RunBook
from snakemake_executor_plugin_osgpilot.controller import Controller
from snakemake_executor_plugin_osgpilot.core.feeding import QUEUED_MAX
from snakemake_executor_plugin_osgpilot.core.model import Pilot, Policy, Shape
from snakemake_executor_plugin_osgpilot.errors import BadInput, OsgpilotError, Unavailable
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilot.parameters import parameters
from snakemake_executor_plugin_osgpilot.pilot.token import check_token
from snakemake_executor_plugin_osgpilot.ports import Scope, Seat
from snakemake_executor_plugin_osgpilot.project import choose
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.scaling import Scaling
from snakemake_executor_plugin_osgpilot.site.kinds import kinds
from snakemake_executor_plugin_osgpilot.site.load import OSPOOL, Site, load
from snakemake_executor_plugin_osgpilot.slurm.cluster import Cluster, reach

OSPOOL_COLLECTOR = "cm-1.ospool.osg-htc.org"
"""One of the OSPool's central managers; anybody may ask it (osg-flock,
95_security_osgflockgit.config)."""


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
    access_point: LocalAccessPoint
    cluster: Cluster
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
        try:
            if self.controller.pilots_gone:
                self.cluster.leave(self.folder)
        except OsgpilotError as error:
            there = self.cluster.folder(self.folder).path
            self.warn(f"could not remove {there} from the cluster: {error}")
        finally:
            self.cluster.host.close()


@dataclass(frozen=True)
class Limits:
    """What the user allows; see the settings of the executor."""

    pilots_max: int
    pending_max: int
    cores_max: int | None
    core_h_max: float | None
    economy: float
    queued_max: int = QUEUED_MAX

    def check(self) -> None:
        """Raise `BadInput` naming the first setting that makes no sense."""
        whole = {
            "max-pilots": self.pilots_max,
            "max-pending": self.pending_max,
            "max-queued": self.queued_max,
        }
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

    `scope` says whose jobs they take, see `ports.Scope`.
    """

    project: str | None
    site_file: Path
    limits: Limits
    shared_folders: tuple[str, ...] = ()
    scope: str | None = None


def start(
    wishes: Wishes, state_folder: Path, say: Callable[[str], None], warn: Callable[[str], None]
) -> Run:
    """Check everything a run needs, then start its controller.

    Raises an `OsgpilotError` that names what is wrong; nothing was submitted then.
    """
    site = replace(load(wishes.site_file), shared_folders=wishes.shared_folders)
    run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    project = choose(wishes.project, os.environ, site.project)
    seat = Seat(getpass.getuser(), project, run_id, _scope(wishes.scope))
    wishes.limits.check()
    clock, policy = SystemClock(), _policy(site, wishes.limits)
    _check(site, seat, state_folder)
    with ExitStack() as undo:
        cluster = reach(site)
        undo.callback(cluster.host.close)
        life_s = max(offer.walltime_max_s for offer in policy.offers)
        check_token(cluster.claims, str(cluster.site.token), clock.now_s(), life_s, say, warn)
        folder = RunFolder.create(state_folder.absolute(), run_id)
        access_point = _access_point(seat, folder, site)
        undo.callback(access_point.close)
        slurm = cluster.client(folder)
        undo.pop_all()
    fleet = Fleet(slurm, clock, cluster.site, seat, cluster.folder(folder))
    queue = Queue(access_point, _largest(policy), wishes.limits.queued_max)
    scaling = Scaling(fleet, access_point, clock, policy)
    book = RunBook(folder, seat, queue, fleet, scaling, clock)
    controller = Controller(queue, fleet, scaling, book, clock, say, warn)
    controller.start()
    return Run(
        seat, folder, Path.cwd(), queue, controller, scaling, book, access_point, cluster, clock,
        say, warn,
    )  # fmt: skip


def _access_point(seat: Seat, folder: RunFolder, site: Site) -> LocalAccessPoint:
    manager = OSPOOL_COLLECTOR if site.central_manager == OSPOOL else site.central_manager
    access_point = LocalAccessPoint(seat, folder.path, manager)
    try:
        access_point.ping()
    except OsgpilotError as error:
        access_point.close()
        raise Unavailable(
            f"{error}; is this an access point? `condor_q` has to work here"
        ) from error
    return access_point


def _scope(said: str | None) -> Scope:
    try:
        return Scope(said or Scope.WORKFLOW)
    except ValueError as error:
        raise BadInput(f"--osgpilot-scope is {said!r}; it can be {', '.join(Scope)}") from error


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
    plain_path(state_folder.absolute())
    parameters(site, seat, Pilot("check", Shape(1, 1)), state_folder)
