"""The one place that picks implementations for the ports and checks what they need."""

from __future__ import annotations

import getpass
import os
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, cast

from snakemake_executor_plugin_osgpilot.access_point import credentials
from snakemake_executor_plugin_osgpilot.access_point.choose import (
    AnyAccessPoint,
    access_point_of,
    chosen_schedd,
    place_of,
)
from snakemake_executor_plugin_osgpilot.access_point.description import plain_path
from snakemake_executor_plugin_osgpilot.allowance import Share
from snakemake_executor_plugin_osgpilot.book import RunBook
from snakemake_executor_plugin_osgpilot.chronicle import Chronicle
from snakemake_executor_plugin_osgpilot.controller import Controller
from snakemake_executor_plugin_osgpilot.core.ahead import Ahead
from snakemake_executor_plugin_osgpilot.core.fit import largest
from snakemake_executor_plugin_osgpilot.core.model import Pilot, Policy, Shape
from snakemake_executor_plugin_osgpilot.core.progress import Progress
from snakemake_executor_plugin_osgpilot.core.redact import Redactor
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.journal.ending import Ending
from snakemake_executor_plugin_osgpilot.journal.guard import Guarded, Tenure, stop
from snakemake_executor_plugin_osgpilot.journal.history import HISTORY, History
from snakemake_executor_plugin_osgpilot.journal.intake import Intake, clear_returned
from snakemake_executor_plugin_osgpilot.journal.resume import Taken, recall, take
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.pilot.parameters import parameters, safe_name
from snakemake_executor_plugin_osgpilot.pilot.token import check_token
from snakemake_executor_plugin_osgpilot.ports import AccessPoint, Seat, Slurm
from snakemake_executor_plugin_osgpilot.project import choose
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.scaling import Scaling
from snakemake_executor_plugin_osgpilot.site.load import RemoteSchedd, Site, load
from snakemake_executor_plugin_osgpilot.slurm.cluster import Cluster, reach
from snakemake_executor_plugin_osgpilot.wishes import Wishes, policy_of

Say = Callable[[str], None]


class Voice(NamedTuple):
    """How a run reaches the user: news, warnings, and how far it is; and what must not be told."""

    say: Say
    warn: Say
    show: Callable[[Progress], None]
    redact: Redactor = Redactor()


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
    access_point: AnyAccessPoint
    clock: SystemClock
    say: Say
    warn: Say
    journal: Journal
    intake: Intake
    ending: Ending
    chronicle: Chronicle
    tenure: Tenure

    def close(self, *, interrupted: bool) -> None:
        """End jobs, pilots and helper processes of this run; see `Ending.end`."""
        self.ending.end(interrupted=interrupted)
        self.chronicle.end(detached=interrupted and self.ending.detaches)


@dataclass(frozen=True)
class Ground:
    """What a run stands on, checked. `seat` has no run yet, `schedd` is one on another host."""

    seat: Seat
    site: Site
    schedd: RemoteSchedd | None
    cluster: Cluster
    policy: Policy

    @property
    def life_s(self) -> int:
        """Return how long the longest-lived pilot may be in Slurm."""
        return max(offer.walltime_max_s for offer in self.policy.offers)

    def access_point(self, seat: Seat, folder: RunFolder) -> AnyAccessPoint:
        """Return the access point as a run uses it, not asked anything yet."""
        return access_point_of(seat, folder, self.site, self.schedd, SystemClock())


def survey(wishes: Wishes, state_folder: Path, voice: Voice, undo: ExitStack) -> Ground:
    """Check all that can be known of a run before it is begun; `undo` closes what was opened.

    Raises an `OsgpilotError` that names what is wrong. Nothing is left behind.
    """
    site = replace(load(wishes.site_file), shared_folders=wishes.shared_folders)
    project = choose(wishes.project, os.environ, site.project)
    seat = Seat(getpass.getuser(), project, "check", wishes.whose)
    wishes.limits.check()
    there = chosen_schedd(wishes.access_point, site)
    _check(site, seat, state_folder)
    cluster = reach(site)
    undo.callback(cluster.host.close)
    policy = policy_of(site, wishes.limits)
    ground = Ground(seat, site, there, cluster, policy)
    heard = (voice.say, voice.warn)
    check_token(cluster.claims, str(cluster.site.token), time.time(), ground.life_s, *heard)
    return ground


def start(wishes: Wishes, state_folder: Path, share: Share, voice: Voice) -> Run:
    """Check everything a run needs, then start its controller.

    `share` is what the run takes of the workflow's limits.

    Raises an `OsgpilotError` that names what is wrong; nothing was submitted then.
    """
    with ExitStack() as undo:
        ground = survey(wishes, state_folder, voice, undo)
        cluster, policy = ground.cluster, ground.policy
        taken = take(state_folder.absolute(), ground.seat, voice.say)
        undo.callback(taken.give_back)
        seat = taken.seat
        access_point = ground.access_point(seat, taken.folder)
        undo.callback(access_point.close)
        # pilots take the jobs of this user, who may have another name there than here
        seat = replace(seat, owner=safe_name(access_point.ping(), "user name"))
        heard = (voice.say, voice.warn)
        credentials.check_token(access_point.token, time.time(), ground.life_s, *heard)
        taken = replace(taken, seat=seat)
        pilots_at = str(cluster.folder(taken.folder).path) if ground.site.slurm.ssh else ""
        place = place_of(ground.site, ground.schedd, pilots_at)
        # from one elsewhere, outputs are fetched to where we are
        taken.settle_at(replace(place, home="" if place.schedd else str(Path.cwd())))
        run = _assemble(taken, cluster, access_point, policy, wishes, share, voice)
        undo.pop_all()
    run.journal.on_lost = stop
    run.controller.start()
    return run


def _assemble(
    taken: Taken, cluster: Cluster, access_point: AnyAccessPoint, policy: Policy,
    wishes: Wishes, share: Share, voice: Voice,
) -> Run:  # fmt: skip
    seat, folder, journal = taken.seat, taken.folder, taken.journal
    clock, say, warn = SystemClock(), voice.say, voice.warn
    slurm: Slurm = cast("Slurm", Guarded(cluster.client(folder), journal.check_held))
    guarded = cast("AccessPoint", Guarded(access_point, journal.check_held))
    there = cluster.folder(folder)
    fleet = Fleet(slurm, clock, cluster.site, seat, there, journal.pilots_are)
    queue = Queue(
        guarded,
        largest(policy.offers),
        wishes.limits.queued_max,
        journal,
        share,
        partial(clear_returned, folder),
    )
    scaling = Scaling(fleet, guarded, clock, policy, share)
    book = RunBook(folder, seat, queue, fleet, scaling, clock, journal.pilots_are)
    chronicle = Chronicle(
        History(folder.path / HISTORY), queue, fleet, scaling, clock, voice.redact
    )
    chronicle.begin(seat, policy, journal.place)
    controller = Controller(queue, fleet, scaling, book, clock, say, warn, chronicle, voice.show)
    # folders that were never written down, keys whose folders are gone
    count = max(folder.last_number("jobs"), int(journal.last_key() or 0))
    intake = Intake(
        queue, journal, folder, count=count, warn=warn, say=say, note_again=chronicle.again
    )
    if taken.resumed:
        controller.recall(journal.pilots())
        intake.left = recall(taken, access_point, queue)
        # until the first jobs are handed over, pilots are to be kept
        scaling.ahead = Ahead(later=1)
        say(
            f"taking up run {seat.run}: {len(intake.left.entries)} job(s) in the queue or ended "
            f"since, {len(fleet.live)} pilot(s)"
        )
    ending = Ending(controller, access_point, cluster, taken, fleet, wishes.on_exit, voice[:2])
    return Run(
        seat, folder, Path.cwd(), queue, controller, scaling, book, access_point, clock, say, warn,
        journal, intake, ending, chronicle, Tenure(journal.check_held, warn),
    )  # fmt: skip


def _check(site: Site, seat: Seat, state_folder: Path) -> None:
    plain_path(state_folder.absolute())
    parameters(site, seat, Pilot("check", Shape(1, 1)), state_folder)
