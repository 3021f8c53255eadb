"""The control loop, tick by tick, without waiting."""

import json
import threading
import time
from dataclasses import replace

import pytest
from doubles import SEAT, FakeAccessPoint, FakeSlurm, HandClock, site

from snakemake_executor_plugin_osgpilot.common.log_output import current_label, labelled
from snakemake_executor_plugin_osgpilot.common.system_clock import SystemClock
from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.errors import (
    AbandonedError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
)
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.journal.run_folder import RECORD, RunFolder
from snakemake_executor_plugin_osgpilot.model.identity import PilotSharing
from snakemake_executor_plugin_osgpilot.model.intervals import LOOK_EVERY_S, LOOK_SOONEST_S
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    Policy,
    Request,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.upcoming import UpcomingWork
from snakemake_executor_plugin_osgpilot.pilots.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.pilots.requests import SiteRequests
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.run.controller import RunController
from snakemake_executor_plugin_osgpilot.run.lease import HELD_BACK, LEASE, LeaseKeeper
from snakemake_executor_plugin_osgpilot.scaling.autoscaler import Autoscaler
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

SMALL = JobClass(Shape(1, 500))


class Shown:
    """Remembers what the user was shown, and called for."""

    def __init__(self):
        self.progress, self.calls = [], []

    def show(self, progress):
        self.progress.append(progress)

    def call_person(self, why):
        self.calls.append(why)


class World:
    """A controller between two stand-ins; `tick` moves time first."""

    def __init__(self, folder, seat=SEAT):
        self.slurm, self.ap, self.clock = FakeSlurm(), FakeAccessPoint(), HandClock()
        self.folder = RunFolder.create(folder / ".snakemake", "r1")
        self.queue = JobManager(self.ap, Shape(4, 3800))
        requests = SiteRequests(site(folder), seat, self.folder)
        self.manager = PilotManager(self.slurm, self.clock, requests)
        self.fleet = Fleet({"Home-Slurm": self.manager}, self.clock)
        offers = tuple(kind.offer for kind in kinds(site(folder)))
        policy = Policy(offers, pilots_max=3, cost_weight=0)
        self.shown = Shown()
        self.scaling = Autoscaler(self.fleet, self.ap, self.clock, policy, plan)
        lease = LeaseKeeper(self.folder, SEAT, self.queue, self.fleet, self.clock)
        self.controller = RunController(
            self.queue, self.fleet, self.scaling, lease, self.clock, display=self.shown
        )

    def add(self, *keys, job_class=SMALL):
        self.queue.add([Job(key, "map", Request(job_class)) for key in keys])

    def tick(self, after_s=LOOK_EVERY_S):
        self.clock.at_s += after_s
        self.controller.tick()


@pytest.fixture
def shared_world(tmp_path):
    return World(tmp_path, replace(SEAT, pilot_sharing=PilotSharing.OWNER))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.run.controller.REMOVAL_PAUSE_S", 0)
    return World(tmp_path)


def test_internal_error_is_logged_once_per_place_and_loop_continues(world, monkeypatch, logged):
    looks = iter(range(1000))

    def bug(*_):
        raise ValueError(f"look {next(looks)}")

    monkeypatch.setattr(world.queue, "follow", bug)
    for _ in range(3):
        world.controller._safely(world.controller.reconcile_jobs)
    (said,) = logged.warnings
    assert said.startswith("internal error, continuing: ValueError: look 0 (test_controller.py:")
    monkeypatch.setattr(world.scaling, "step", lambda view: 1 / 0)
    world.controller._safely(world.controller.reconcile_pilots)
    assert len(logged.warnings) == 2
    assert "ZeroDivisionError" in logged.warnings[1]


def test_jobs_of_pilot_that_ended_in_previous_session_are_resubmitted(world):
    """It was killed before it did that."""
    since_s = world.clock.now_s()
    world.controller.restore([Pilot("r1-1", Shape(4, 3800), PilotState.FAILED, since_s=since_s)])
    world.add("a")
    world.queue.send()
    world.ap.tell("a", EventKind.EXECUTE, at_s=since_s, pilot="r1-1")
    world.tick()
    assert world.ap.removed == ["1.0"]


def test_pilots_are_submitted_in_the_tick_that_submits_jobs(world):
    world.add(*"abcde")
    world.tick()
    assert len(world.ap.submissions) == 1
    assert len(world.slurm.submitted) == 2


def test_jobs_of_an_ended_pilot_are_resubmitted_even_if_planning_fails(world, monkeypatch):
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.ap.tell("a", EventKind.EXECUTE, pilot="osgpilot-r1-1", allocation_id="1")
    world.tick()
    world.slurm.show(Seen.FAILED, started_s=world.clock.at_s)
    monkeypatch.setattr(world.scaling, "_snapshot", lambda view: 1 / 0)
    world.controller._safely(world.controller.reconcile_pilots)
    world.clock.at_s += LOOK_EVERY_S
    world.controller.reconcile_jobs()
    assert world.ap.removed == ["1.0"]


def test_nothing_to_do_asks_nobody(world):
    world.tick()
    world.tick()
    assert (world.slurm.looks, world.slurm.submitted) == (0, [])


def test_slurm_is_polled_rarely(world):
    world.add("a")
    world.tick()
    for _ in range(10):
        world.tick(after_s=0.5)
    assert world.slurm.looks == 0
    world.tick()
    assert world.slurm.looks == 1


def test_new_jobs_are_served_sooner_but_not_at_once(world):
    world.add("a")
    world.tick()
    world.add(*"bcdefg")
    world.tick(after_s=LOOK_SOONEST_S / 2)
    assert len(world.slurm.submitted) == 1
    world.tick(after_s=LOOK_SOONEST_S)
    assert len(world.slurm.submitted) == 2


def test_first_jobs_get_pilots_at_once(world):
    world.tick()
    world.add("a")
    world.tick(after_s=LOOK_SOONEST_S / 2)
    assert len(world.slurm.submitted) == 1


def test_failed_query_makes_no_decision(world, logged):
    world.add("a")
    world.tick()
    world.ap.tell("a", EventKind.TERMINATED, exit_status=0)
    world.slurm.fails = OutcomeUnknownError("slurmctld is down")
    world.tick()
    assert world.slurm.cancelled == []
    assert any("slurmctld is down" in text for text in logged.warnings)
    world.tick()
    assert world.slurm.cancelled == ["1"]


def test_job_handed_over_during_a_look_keeps_its_pilot(world):
    world.add("a")
    world.tick()
    world.queue.expect(UpcomingWork(gathered={SMALL: 1}))
    world.ap.tell("a", EventKind.TERMINATED, exit_status=0)
    step = world.scaling.step

    def handed_over_meanwhile(view):
        world.add("b")
        world.queue.expect(UpcomingWork())
        return step(view)

    world.scaling.step = handed_over_meanwhile
    world.tick()
    assert world.slurm.cancelled == []


def test_all_upcoming_jobs_are_counted(world):
    world.add("a")
    world.queue.expect(UpcomingWork({"a": {SMALL: 2}}, {SMALL: 1}, later=3, since={SMALL: 1}))
    world.tick()
    assert world.shown.progress[-1].line.startswith(
        "jobs: 1 waiting, 0 running, 0 done, 5 not yet ready;"
    )


def test_failure_and_recovery_are_logged_once_each(world, logged):
    world.add("a")
    world.tick()
    for _ in range(3):
        world.slurm.fails = OutcomeUnknownError("slurmctld is down")
        world.tick()
    world.tick()
    assert len(logged.warnings) == 1
    assert any("again" in text for text in logged.info)


def test_job_that_fits_no_pilot_fails_with_both_shapes(world):
    world.add("a", job_class=JobClass(Shape(16, 500)))
    world.tick()
    world.tick(after_s=0.5)
    (job,) = world.queue.over().values()
    assert "it needs 16 cores" in job.text
    assert "lacks 12 cores" in job.text
    assert world.slurm.submitted == []


def test_jobs_fail_if_no_pilot_can_be_started(world):
    world.slurm.fails = RejectedError("sbatch: Invalid account")
    world.add("a")
    world.tick()
    world.tick(after_s=0.5)
    (job,) = world.queue.over().values()
    assert "Invalid account" in job.text
    assert world.controller.news.is_set()


def written(world):
    """Return the record of the run."""
    return json.loads((world.folder.path / RECORD).read_text())


def test_close_removes_jobs_and_pilots_and_writes_record(world, tmp_path):
    world.add("a", "b")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.tick()
    world.controller.close()
    assert world.ap.removed_all == 1
    assert world.fleet.live == ()
    record = written(world)
    assert record["project"] == "MyProject"
    assert record["rules"]["map"]["jobs"] == 2
    assert record["pilots"][0]["state"] == "cancelled"


def test_pilot_hidden_by_slurm_is_alive_while_htcondor_shows_it(world):
    """As in a hidden partition, when a query does not show these."""
    world.add("a")
    world.tick()
    world.ap.known = {"osgpilot-r1-1": {}}
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.tick()
    (pilot,) = world.fleet.live
    shown, world.slurm.rows = world.slurm.rows, {}
    for _ in range(20):
        world.tick()
        assert world.fleet.live[0].state is PilotState.READY
    assert len(world.slurm.submitted) == 1, "nothing replaces it"
    world.slurm.rows = shown
    world.tick()
    world.ap.known, world.slurm.rows = {}, {}
    for _ in range(10):
        world.tick()
    assert pilot.name not in [each.name for each in world.fleet.live]


def test_jobs_that_cannot_confirm_their_removal_are_forgotten(world, logged):
    world.add("a")
    world.tick()
    world.ap.removed_linger = True
    world.controller.close()
    assert world.ap.forgotten
    assert logged.warnings == []


def test_queued_jobs_avoid_pilot_on_which_jobs_fail(world):
    """A pilot takes jobs until it looks at its stop file, minutes later on the OSPool."""
    world.add("a")
    world.tick()
    world.fleet.block("osgpilot-r1-1", "3 of 3 jobs failed there at once")
    world.tick()
    world.tick()
    assert world.ap.avoided == [("osgpilot-r1-1",)]


def test_jobs_restarted_by_killed_schedd_are_removed(world):
    world.add("a")
    world.tick()
    world.ap.tell("a", EventKind.EXECUTE)
    world.ap.tell("a", EventKind.TERMINATED, exit_status=0)
    world.tick()
    assert world.queue.over()["a"].succeeded
    world.controller.close()
    assert world.ap.queued == {}


def test_jobs_that_stay_in_the_queue_are_named(world, logged):
    world.add("a")
    world.tick()
    world.ap.removed_linger = True
    world.ap.force_remove = lambda job_ids: None
    world.controller.close()
    assert any("condor_rm -constraint 'OSGPilotWorkflow" in text for text in logged.warnings)


def test_close_continues_without_access_point(world, logged):
    world.add("a")
    world.tick()

    def away(*_):
        raise OutcomeUnknownError("schedd is away")

    world.ap.remove = away
    world.controller.close()
    assert world.fleet.live == ()
    assert any("schedd is away" in text for text in logged.warnings)


def test_pool_is_polled_rarely_for_booting_pilots(world, logged):
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    for _ in range(3):
        world.tick()
    assert world.ap.pool_asked == 1
    world.ap.known = {"osgpilot-r1-1": {}}
    for _ in range(4):
        world.tick()
    assert world.ap.pool_asked == 2, "it is ready now: nothing is requested"
    assert any("ready" in text for text in logged.info)


def test_pilots_are_managed_while_pool_does_not_answer(world, logged):
    def nonsense():
        raise RejectedError("access point, `pilots`: TypeError: not a number")

    world.ap.pilots = nonsense
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    for _ in range(3):
        world.tick()
    assert world.fleet.live[0].state is PilotState.BOOTING
    assert not any("TypeError" in text for text in logged.warnings)


def test_unsupported_url_schemes_are_logged_once(world, logged):
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.ap.unsupported_schemes = frozenset({"osdf"})
    for _ in range(3):
        world.tick()
    reported = [
        text for text in logged.warnings if "no pilot can fetch osdf:// inputs or images" in text
    ]
    assert len(reported) == 1
    assert "--osgpilot-url-schemes" in reported[0]


def test_jobs_of_others_on_our_pilots_are_planned_with(shared_world):
    world = shared_world
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.ap.tell("a", EventKind.EXECUTE, pilot="osgpilot-r1-1", allocation_id="1")
    ours, theirs = world.ap.queued["a"], "77.0"
    world.ap.known = {"osgpilot-r1-1": {ours: SMALL.shape, theirs: Shape(3, 3000)}}
    world.tick()
    world.tick()
    assert (world.ap.pool_asked, len(world.slurm.submitted)) == (1, 1)
    world.add("b", "c")
    for _ in range(3):
        world.tick()
    assert world.ap.pool_asked == 2, "no more than once a minute"
    assert len(world.slurm.submitted) == 2, "others use three of four cores"


def test_idle_pilot_is_released_soon_after_its_last_job(world):
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=world.clock.at_s)
    world.ap.tell("a", EventKind.EXECUTE, pilot="osgpilot-r1-1", allocation_id="1")
    world.tick()
    world.ap.tell("a", EventKind.TERMINATED, exit_status=0)
    world.tick(after_s=LOOK_SOONEST_S)
    assert world.slurm.drained == ["1"]
    world.tick()
    assert world.ap.avoided == [("osgpilot-r1-1",)], "no job may start there from now on"


def test_black_hole_pilot_is_drained_and_its_node_avoided(world, logged):
    world.add(*(f"{n}" for n in range(10)))
    world.tick()
    for name, node in (("osgpilot-r1-1", "n1"), ("osgpilot-r1-2", "n2")):
        row = world.slurm.rows[name]
        world.slurm.rows[name] = Row(row.allocation_id, name, Seen.RUNNING, node=node)
    for number in range(10):
        name = f"osgpilot-r1-{1 + number % 2}"
        world.ap.tell(str(number), EventKind.EXECUTE, at_s=1000.0, pilot=name)
    world.tick()
    for number in range(10):
        world.ap.tell(str(number), EventKind.TERMINATED, at_s=1001.0, exit_status=1 - number % 2)
    world.add("more")
    world.tick()
    assert world.slurm.drained == ["1"]
    assert any("5 of 5 jobs failed there at once, elsewhere 0 of 5" in t for t in logged.info)
    assert world.manager.health.excluded(world.clock.at_s) == ("n1",)


def test_many_pilots_are_started_a_few_at_a_time(world):
    world.add(*(f"{n}" for n in range(100)))
    world.scaling.policy = replace(world.scaling.policy, pilots_max=25, pending_max=25)
    launched = []
    for _ in range(3):
        world.tick(after_s=LOOK_SOONEST_S)
        launched.append(len(world.slurm.submitted))
    assert launched == [10, 20, 25]


def test_the_time_of_a_run_counts_from_its_first_job_for_a_pilot(world):
    seen = []
    planned = world.scaling._planner
    world.scaling._planner = lambda snapshot, *more: (
        seen.append(snapshot.elapsed_s) or planned(snapshot, *more)
    )
    world.tick()
    world.tick(after_s=5000.0)
    world.add("a")
    world.tick()
    world.tick(after_s=100.0)
    assert seen[-1] == 100.0
    assert max(seen) == 100.0


def test_held_back_pilot_types_are_published(world, logged):
    world.add("a")
    world.tick()
    assert (world.folder.path / LEASE).exists()
    assert (world.folder.path / HELD_BACK).read_text() == ""
    for _ in range(4):
        world.slurm.show(Seen.RUNNING)
        world.tick()
        world.slurm.show(Seen.FAILED)
        world.tick()
    assert (world.folder.path / HELD_BACK).read_text() == "default/4c\n"
    assert any("ran no job" in text for text in logged.warnings)


def test_internal_error_does_not_end_the_thread(world, logged):
    def broken():
        raise ZeroDivisionError

    world.ap.events = broken
    world.controller.start()
    world.controller.wake()
    while not logged.warnings:
        world.controller.wake()
    assert all(thread.is_alive() for thread in world.controller._threads)
    world.controller.close()


def test_both_threads_log_with_the_label_of_their_run(tmp_path, monkeypatch, logged):
    labels = {}
    logged.addFilter(lambda record: labels.setdefault(record.threadName, current_label()) or True)
    with labelled("Theirs"):
        world = World(tmp_path)
    # each fails at a place of its own: a place is reported once
    monkeypatch.setattr(world.controller, "reconcile_jobs", lambda: 1 / 0)
    monkeypatch.setattr(world.controller, "reconcile_pilots", lambda: [][0])
    world.controller.start()
    for _ in range(1000):
        if len(labels) == 2:
            break
        time.sleep(0.02)
    world.controller.stop()
    assert labels == {"osgpilot-jobs": "Theirs", "osgpilot-pilots": "Theirs"}


def test_finished_jobs_are_reported_while_slurm_hangs(world):
    hangs, healed = threading.Event(), threading.Event()

    def hanging(allocation):
        hangs.set()
        assert healed.wait(60)
        raise NotSentError("the connection is gone")

    world.slurm.submit = hanging
    world.add("a")
    world.controller.start()
    assert hangs.wait(60)
    world.ap.tell("a", EventKind.TERMINATED, exit_status=0)
    assert world.controller.news.wait(60)
    assert world.queue.over()["a"].succeeded
    assert not healed.is_set()
    healed.set()
    world.controller.close()


def test_hanging_slurm_command_does_not_delay_hurried_close(world, monkeypatch, logged):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.run.controller.PATIENCE_S", 0.1)
    hangs, interrupted = threading.Event(), threading.Event()

    def hanging(allocation):
        hangs.set()
        assert interrupted.wait(60)
        raise AbandonedError("`sbatch` was interrupted")

    world.slurm.submit, world.slurm.interrupt = hanging, interrupted.set
    monkeypatch.setattr(world.fleet, "_clock", SystemClock())
    world.add("a")
    world.controller.start()
    assert hangs.wait(60)
    assert not world.controller.close(hurry=True)
    assert "could not end the pilots: `sbatch` was interrupted" in logged.warnings[-1]
    assert not any("trying again" in text for text in logged.warnings)
    assert world.ap.removed_all == 1


def test_core_hours_used_and_charged(world, tmp_path):
    world.add("a")
    world.tick()
    world.slurm.show(Seen.RUNNING, started_s=1990.0, node="n1")
    world.ap.tell("a", EventKind.EXECUTE, pilot="osgpilot-r1-1", allocation_id="1")
    world.tick()
    world.ap.tell("a", EventKind.TERMINATED, at_s=2036.0, exit_status=0)
    world.slurm.show(Seen.COMPLETED, started_s=1990.0, ends_s=2090.0)
    world.clock.at_s = 3000.0
    world.tick()
    record = written(world)
    assert record["charged_core_h"] == pytest.approx(100 * 4 / 3600)
    assert record["used_core_h"] == pytest.approx(36 / 3600)
    assert record["rules"]["map"]["allocations"] == ["1"]


def test_a_person_is_called_once_when_no_pilot_is_there_and_none_may_start(world):
    world.scaling.policy = replace(world.scaling.policy, core_s_max=1.0)
    world.add("a")
    for _ in range(3):
        world.tick()
    assert world.slurm.submitted == []
    (why,) = world.shown.calls
    assert why.startswith("no pilot is there and none is started: the budget")


def test_nobody_is_called_while_a_pilot_works_at_the_limit(world):
    world.add("a")
    world.tick()
    assert world.fleet.live
    world.scaling.policy = replace(world.scaling.policy, core_s_max=1.0)
    world.add(*(f"b{number}" for number in range(40)))
    world.tick()
    assert world.shown.calls == []
