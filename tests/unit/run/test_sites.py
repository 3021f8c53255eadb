"""The control loop with two sites, one of which goes away."""

from dataclasses import replace

import pytest
from doubles import SEAT, FakeAccessPoint, FakeSlurm, HandClock, site

from snakemake_executor_plugin_osgpilot.config.pilot_types import kinds
from snakemake_executor_plugin_osgpilot.errors import NotSentError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.intervals import LOOK_EVERY_S
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    PilotState,
    Policy,
    Request,
    Shape,
)
from snakemake_executor_plugin_osgpilot.pilots.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager, PilotNumbers
from snakemake_executor_plugin_osgpilot.pilots.requests import SiteRequests
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from snakemake_executor_plugin_osgpilot.run.controller import RunController
from snakemake_executor_plugin_osgpilot.run.lease import LEASE, LeaseKeeper
from snakemake_executor_plugin_osgpilot.scaling.autoscaler import Autoscaler
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

SMALL = JobClass(Shape(1, 500))


class DownSlurm(FakeSlurm):
    down = False

    def _maybe_fail(self):
        if self.down:
            raise NotSentError("no answer")


class World:
    def __init__(self, folder):
        self.ap, self.clock, numbers = FakeAccessPoint(), HandClock(), PilotNumbers()
        self.slurm = {"A": DownSlurm(), "B": DownSlurm()}
        self.folder = RunFolder.create(folder / ".snakemake", "r1")
        self.queue = JobManager(self.ap, Shape(4, 3800))
        managers, offers = {}, []
        for name, slurm in self.slurm.items():
            there = replace(site(folder), resource=name, offer_prefix=f"{name}:")
            requests = SiteRequests(there, SEAT, self.folder)
            managers[name] = PilotManager(slurm, self.clock, requests, numbers=numbers)
            offers += [kind.offer for kind in kinds(there)]
        self.fleet = Fleet(managers, self.clock, lambda: 1.0)
        policy = Policy(tuple(offers), pilots_max=4, cost_weight=0)
        scaling = Autoscaler(self.fleet, self.ap, self.clock, policy, plan)
        lease = LeaseKeeper(self.folder, SEAT, self.queue, self.fleet, self.clock)
        self.controller = RunController(self.queue, self.fleet, scaling, lease, self.clock)
        self.queue.add([Job(f"j{n}", "map", Request(SMALL)) for n in range(8)])

    def tick(self, times=1):
        for _ in range(times):
            self.clock.at_s += LOOK_EVERY_S
            self.controller.tick()

    def live(self):
        return {name: len(self.at(name)) for name in self.slurm}

    def at(self, name):
        return [pilot for pilot in self.fleet.live if pilot.site == name]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.run.controller.REMOVAL_PAUSE_S", 0)
    return World(tmp_path)


def test_pilots_that_wait_at_a_site_that_went_away_are_started_at_the_other(world, logged):
    world.tick()
    assert world.live() == {"A": 2, "B": 0}
    world.slurm["A"].down = True
    world.tick(2)
    assert world.live() == {"A": 2, "B": 0}, "it may answer the next time"
    world.tick(3)
    assert world.live() == {"A": 2, "B": 2}
    world.tick(50)
    assert world.live() == {"A": 2, "B": 2}, "never more than the total limit"
    assert all(pilot.state is PilotState.PENDING for pilot in world.at("A"))
    assert any(" pilot" in text and text.endswith("; at B") for text in logged.info)


def test_pilots_of_a_site_that_went_away_serve_while_the_pool_shows_them(world):
    world.tick()
    world.slurm["A"].show(Seen.RUNNING, started_s=world.clock.at_s)
    world.ap.known = {pilot.name: {} for pilot in world.fleet.live}
    world.tick(4)
    world.slurm["A"].down = True
    world.tick(30)
    assert world.live() == {"A": 2, "B": 0}
    world.ap.known = {}
    world.tick(10)
    assert world.live()["B"] == 2


def test_the_lease_is_renewed_while_one_site_is_away(world):
    world.tick()
    world.slurm["A"].down = True
    before = (world.folder.path / LEASE).read_text()
    world.tick(5)
    assert (world.folder.path / LEASE).read_text() != before


def test_a_site_that_is_back_is_used_and_the_surplus_is_cancelled(world):
    world.tick()
    world.slurm["A"].down = True
    world.tick(10)
    world.slurm["A"].down = False
    world.tick(60)
    assert sum(world.live().values()) == 2
