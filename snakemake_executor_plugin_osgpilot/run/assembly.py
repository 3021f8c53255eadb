"""Choose the implementation of each port, check its prerequisites, and assemble a run."""

from __future__ import annotations

import getpass
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, cast

from ..common.counting import count_of
from ..common.names import safe_name
from ..common.redact import Redactor
from ..common.system_clock import SystemClock
from ..config.project import choose
from ..config.run_options import RunOptions, policy_of
from ..config.site import RemoteSchedd, Site
from ..config.sites import load_all, project_of
from ..errors import InputError, OsgpilotError
from ..htcondor import credentials
from ..htcondor.factory import AnyAccessPoint, access_point_of, chosen_schedd, place_of
from ..htcondor.neutral_path import link, neutral
from ..jobs.access_point import AccessPoint
from ..jobs.manager import JobManager
from ..jobs.state.recovery import Leftover
from ..journal.fencing import Guarded, Tenure, stop
from ..journal.location import Place
from ..journal.run_folder import RunFolder
from ..journal.store import Journal
from ..model.identity import RunIdentity
from ..model.resources import Pilot, Policy, Shape
from ..model.runtime_by_size import RuntimesBySize, Sample
from ..model.upcoming import UpcomingWork
from ..monitoring import notify
from ..monitoring.history_file import HISTORY, History
from ..monitoring.notify import Notifier
from ..monitoring.progress import Progress, StepCounter
from ..monitoring.recorder import HistoryRecorder
from ..pilots.batch_system import Slurm
from ..pilots.fleet import Fleet
from ..pilots.manager import PilotManager, PilotNumbers
from ..pilots.parameters import parameters
from ..pilots.token import check_token
from ..scaling.autoscaler import Autoscaler
from ..scaling.planner.feasibility import largest
from ..scaling.planner.planner import plan
from ..scaling.shared_limits import QuotaShare
from ..slurm.cluster import Cluster
from ..slurm.ssh import Logins
from .controller import RunController
from .intake import Intake
from .lease import LeaseKeeper
from .resume import AcquiredRun, restore_jobs, take
from .shutdown import Shutdown
from .site_access import RunAtSite, SiteAccess, folders_of
from .unwritten import UnwrittenJobs

logger = logging.getLogger(__name__)


class Output(NamedTuple):
    """Display of progress to the user; `redact` masks secrets in the history, `steps` is
    Snakemake's own count of its jobs, `about` has texts on the workflow by name.
    """

    show: Callable[[Progress], None]
    redact: Redactor = Redactor()
    steps: StepCounter = lambda: None
    about: Mapping[str, str] = {}


@dataclass(frozen=True)
class UserDisplay:
    """Implements `ports.Display` for the run `run`, whose messages name the `folder` it is in."""

    output: Output
    notifier: Notifier
    run: str
    folder: str

    def show(self, progress: Progress) -> None:
        """Display progress with Snakemake's own count."""
        self.output.show(replace(progress, steps=self.output.steps()))

    def call_person(self, why: str) -> None:
        self.notifier.send_soon(notify.needs_person(self.run, self.folder, why))


@dataclass(frozen=True)
class Run:
    """All parts of one run of a workflow."""

    seat: RunIdentity
    folder: RunFolder
    workdir: Path
    queue: JobManager
    controller: RunController
    scaling: Autoscaler
    lease: LeaseKeeper
    access_point: AnyAccessPoint
    clock: SystemClock
    journal: Journal
    intake: Intake
    unwritten: UnwrittenJobs
    shutdown: Shutdown
    recorder: HistoryRecorder
    tenure: Tenure
    notifier: Notifier

    def close(self, *, interrupted: bool, error: str = "") -> None:
        """End jobs, pilots and helper processes of this run; see `Shutdown.end`.

        `error` is the error that stopped Snakemake, if one did.
        """
        self.shutdown.end(interrupted=interrupted)
        detached = interrupted and self.shutdown.detaches
        self.recorder.end(detached=detached, interrupted=interrupted, error=error)
        self.notifier.send(
            notify.ended(
                self.seat.run,
                str(self.workdir),
                replace(self.controller.progress(), steps=self.recorder.steps(), eta=None),
                interrupted=interrupted,
                detached=detached,
                error=error,
            )
        )


@dataclass(frozen=True)
class PreparedRun:
    """Checked prerequisites of a run. `seat` has no run id yet; `schedd` is on another host.

    `accesses` are those to its sites, in the order of the site files; `silent` has the error of
    each site that does not answer, by name.
    """

    seat: RunIdentity
    sites: tuple[Site, ...]
    schedd: RemoteSchedd | None
    accesses: tuple[SiteAccess, ...]
    silent: Mapping[str, OsgpilotError]
    policy: Policy

    @property
    def clusters(self) -> tuple[Cluster, ...]:
        """The clusters of the sites that have answered."""
        return tuple(access.cluster for access in self.accesses if access.cluster)

    @property
    def life_s(self) -> int:
        """Return the longest walltime of any pilot."""
        return max(offer.walltime_max_s for offer in self.policy.offers)

    def access_point(self, seat: RunIdentity, folder: RunFolder) -> AnyAccessPoint:
        """Return the access point of a run; nothing is sent to it yet."""
        return access_point_of(seat, folder, self.sites[0], self.schedd, SystemClock())

    def place(self, run: RunFolder) -> Place:
        """Return where the run in this folder has its jobs and pilots."""
        return place_of(self.sites, self.schedd).with_folders(folders_of(self.clusters, run))

    def check(self, cluster: Cluster) -> None:
        """Check the token on a cluster. Raises an `InputError`."""
        check_token(cluster.claims, str(cluster.site.token), time.time(), self.life_s)


def preflight(options: RunOptions, state_folder: Path, undo: ExitStack) -> PreparedRun:
    """Check the prerequisites of a run; `undo` closes what was opened.

    Raises an `OsgpilotError` that names the problem. Nothing is left behind.
    """
    sites = tuple(
        replace(site, shared_folders=options.shared_folders)
        for site in load_all(options.site_files)
    )
    project = choose(options.project, os.environ, project_of(sites))
    seat = RunIdentity(getpass.getuser(), project, "check", options.whose)
    options.limits.check()
    Notifier(options.notify)
    there = chosen_schedd(options.access_point, sites[0])
    policy = policy_of(sites, options.limits)
    neutral(state_folder.absolute())
    for site in sites:
        parameters(site, seat, Pilot("check", Shape(1, 1)), state_folder)
    accesses, silent = _reached(sites, undo)
    prepared = PreparedRun(seat, sites, there, accesses, silent, policy)
    # sites that have the same token have it checked once
    for cluster in {each.claims: each for each in prepared.clusters}.values():
        prepared.check(cluster)
    return prepared


def _reached(
    sites: tuple[Site, ...], undo: ExitStack
) -> tuple[tuple[SiteAccess, ...], dict[str, OsgpilotError]]:
    """Return the access to each site, and the error of each that does not answer.

    Raises an `OsgpilotError` if none answers, or one answers and lacks a prerequisite.
    """
    accesses, silent, logins = [], dict[str, OsgpilotError](), Logins()
    for site in sites:
        access = SiteAccess(site, logins)
        undo.callback(access.host.close)
        accesses.append(access)
        try:
            if why := access.log_in():
                silent[site.resource] = why
        except OsgpilotError as error:
            if len(sites) == 1:
                raise
            raise type(error)(
                f"site {site.resource}: {error}; to begin a run without it, leave its file out of "
                "--osgpilot-site"
            ) from error
    if len(silent) == len(sites):
        first = next(iter(silent.values()))
        if len(sites) == 1:
            raise first
        listed = "; ".join(f"{name}: {why}" for name, why in silent.items())
        raise type(first)(f"no site answers: {listed}") from first
    return tuple(accesses), silent


def start(
    options: RunOptions, state_folder: Path, share: QuotaShare, output: Output,
    earlier_core_s: Mapping[str, float], samples: Mapping[str, Iterable[Sample]],
) -> Run:  # fmt: skip
    """Check the prerequisites of a run, then start its controller.

    `share` is the run's share of the limits of the workflow, `earlier_core_s` the core-seconds that
    a job of each rule took in earlier runs, `samples` their runtimes by size of inputs.
    Raises an `OsgpilotError` that names the problem; nothing is submitted then.
    """
    with ExitStack() as undo:
        prepared = preflight(options, state_folder, undo)
        taken = take(state_folder.absolute(), prepared.seat)
        undo.callback(taken.release)
        seat = taken.seat
        link(taken.folder.path)
        access_point = prepared.access_point(seat, taken.folder)
        undo.callback(access_point.close)
        # pilots accept the jobs of this user, whose name there may differ from the one here
        seat = replace(seat, owner=safe_name(access_point.ping(), "user name"))
        credentials.check_token(access_point.token, time.time(), prepared.life_s)
        taken = replace(taken, seat=seat)
        place = prepared.place(taken.folder)
        # outputs at a remote access point are fetched to the working folder
        taken.settle_at(replace(place, home="" if place.schedd else str(Path.cwd())))
        earlier = earlier_core_s, RuntimesBySize(samples)
        run = _assemble(taken, prepared, access_point, options, share, output, *earlier)
        undo.pop_all()
    run.journal.on_lost = stop
    run.controller.start()
    return run


def _assemble(
    taken: AcquiredRun, prepared: PreparedRun, access_point: AnyAccessPoint, options: RunOptions,
    share: QuotaShare, output: Output, earlier_core_s: Mapping[str, float],
    runtimes: RuntimesBySize,
) -> Run:  # fmt: skip
    seat, folder, journal = taken.seat, taken.folder, taken.journal
    policy, clock = prepared.policy, SystemClock()
    guarded = cast("AccessPoint", Guarded(access_point, journal.check_held))
    fleet = _fleet(taken, prepared, clock)
    unwritten = UnwrittenJobs(folder, journal)
    queue = JobManager(
        guarded,
        largest(policy.offers),
        options.limits.queued_max,
        journal,
        share,
        unwritten,
        # what waits here would not run without this process
        all_now=options.on_exit == "detach",
        runtimes=runtimes,
    )
    scaling = Autoscaler(fleet, guarded, clock, policy, plan, share, earlier_core_s)
    lease = LeaseKeeper(folder, seat, queue, fleet, clock, journal)
    recorder = HistoryRecorder(
        History(folder.path / HISTORY), queue, fleet, scaling, clock, output.redact, output.steps
    )
    names = dict.fromkeys(site.site for site in prepared.sites)
    about = {**output.about, "site": ", ".join(names)}
    recorder.begin(seat, policy, journal.place, about)
    notifier = Notifier(options.notify)
    display = UserDisplay(output, notifier, seat.run, str(Path.cwd()))
    controller = RunController(queue, fleet, scaling, lease, clock, recorder, display)
    # there may be folders without a journal entry, and keys without a folder
    count = max(folder.last_number("jobs"), journal.last_key())
    left = Leftover()
    if taken.resumed:
        controller.restore(_known_pilots(taken, prepared.sites))
        left = restore_jobs(taken, access_point, queue)
        # keep the pilots until the first jobs are handed over
        queue.expect(UpcomingWork(later=1))
        jobs = count_of(len(left.entries), "job")
        logger.info(
            f"resuming run {seat.run}: {jobs} in the queue or ended since, "
            f"{count_of(len(fleet.live), 'pilot')}"
        )
    intake = Intake(queue, journal, folder, left, count, recorder)
    shutdown = Shutdown(controller, access_point, prepared.accesses, taken, fleet, options.on_exit)
    return Run(
        seat, folder, Path.cwd(), queue, controller, scaling, lease, access_point, clock,
        journal, intake, unwritten, shutdown, recorder, Tenure(journal.check_held),
        notifier,
    )  # fmt: skip


def _fleet(taken: AcquiredRun, prepared: PreparedRun, clock: SystemClock) -> Fleet:
    """Return the pilots of a run at each site; their numbers are one sequence."""
    journal, numbers = taken.journal, PilotNumbers()

    def came_late(cluster: Cluster) -> None:
        prepared.check(cluster)
        # before anything is there
        folders = folders_of([cluster], taken.folder)
        journal.set_place(journal.place.with_folders(folders))

    sites = {}
    for access in prepared.accesses:
        there = RunAtSite(access, taken.seat, taken.folder, came_late)
        if access.cluster:
            there.begin()
        slurm = cast("Slurm", Guarded(there, journal.check_held))
        sites[access.site.resource] = PilotManager(
            slurm, clock, there.requests(), journal, numbers=numbers
        )
    fleet = Fleet(sites, clock)
    for name, error in prepared.silent.items():
        fleet.leave_alone(name, error)
    return fleet


def _known_pilots(taken: AcquiredRun, sites: tuple[Site, ...]) -> list[Pilot]:
    """Return the pilots of the previous session. Raises `InputError` if some live where none of
    several sites is: a site file may have got another `resource`.
    """
    pilots, names = taken.journal.pilots(), {site.resource for site in sites}
    lost = {pilot.site for pilot in pilots if not pilot.state.over} - names
    if lost and len(sites) > 1:
        raise InputError(
            f"run {taken.seat.run} was interrupted, and has pilots at the site "
            f"{min(lost) or 'of an earlier version'}, which is the `resource` of none of the site "
            "files; resume it with that, or remove what it left with `osgpilot cleanup`"
        )
    return pilots
