"""Invariants of whole runs: the real planner in a small simulated world."""

from copy import deepcopy
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Drain, Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    END_MARGIN_S,
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import commitment
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

TICK_S = 20.0
TICKS_MAX = 5000
OFFERS = (
    PilotType("small", Shape(4, 8000), (3600, 14400)),
    PilotType("large", Shape(16, 64000), (14400,)),
)
SHAPES = {offer.name: offer.shape for offer in OFFERS}
CLASSES = (JobClass(Shape(1, 1000), 600), JobClass(Shape(4, 3000), 1800), JobClass(Shape(8, 9000)))


@dataclass
class Job:
    job_class: JobClass
    runtime_s: float
    pilot: str = ""
    started_s: float = 0.0
    done: bool = False


@dataclass
class World:
    """Stages of jobs, one after the other; pilots wait, boot, serve and end at their walltime."""

    stages: list[list[Job]]
    policy: Policy
    wait_s: float
    boot_s: float
    now_s: float = 0.0
    pilots: dict[str, Pilot] = field(default_factory=dict)
    known: Estimates = field(default_factory=Estimates)
    unneeded_since_s: dict[str, float] = field(default_factory=dict)

    def open_jobs(self) -> list[Job]:
        stage = next((s for s in self.stages if not all(j.done for j in s)), [])
        return [job for job in stage if not job.done]

    def tick(self) -> None:
        self.now_s += TICK_S
        self._end_jobs()
        self.pilots = {name: self._moved(pilot) for name, pilot in self.pilots.items()}
        self._match()
        self._plan()

    def _end_jobs(self) -> None:
        for job in self.open_jobs():
            if job.pilot and job.started_s + job.runtime_s <= self.now_s:
                job.done = True
                self.known = self.known.with_runtime(job.job_class, job.runtime_s)

    def running(self, name: str) -> list[Job]:
        return [job for job in self.open_jobs() if job.pilot == name]

    def _moved(self, pilot: Pilot) -> Pilot:
        if pilot.state.waits and self.now_s - pilot.asked_s >= self.wait_s:
            self.known = self.known.with_wait(pilot.offer, self.now_s - pilot.asked_s)
            return replace(
                pilot, state=PilotState.BOOTING, started_s=self.now_s,
                ends_s=self.now_s + pilot.walltime_s,
            )  # fmt: skip
        if pilot.state is PilotState.BOOTING and self.now_s - pilot.started_s >= self.boot_s:
            return replace(pilot, state=PilotState.READY)
        ended = pilot.state is PilotState.DRAINING and not self.running(pilot.name)
        if not pilot.state.over and pilot.ends_s is not None and pilot.ends_s <= self.now_s:
            ended = True
            for job in self.running(pilot.name):
                assert not job.job_class.runtime_s, "a job with a runtime was cut short"
                job.pilot = ""
        return replace(pilot, state=PilotState.DONE, ended_s=self.now_s) if ended else pilot

    def _match(self) -> None:
        """Start waiting jobs where they fit, as the negotiator does."""
        for pilot in self.pilots.values():
            if pilot.state is not PilotState.READY:
                continue
            free = pilot.shape
            for job in self.running(pilot.name):
                free -= job.job_class.shape
            for job in self.open_jobs():
                lives = pilot.ends_s - END_MARGIN_S - self.now_s > job.job_class.runtime_s
                if not job.pilot and lives and free.holds(job.job_class.shape):
                    free -= job.job_class.shape
                    job.pilot, job.started_s = pilot.name, self.now_s

    def _plan(self) -> None:
        waiting: dict[JobClass, int] = {}
        for job in self.open_jobs():
            if not job.pilot:
                waiting[job.job_class] = waiting.get(job.job_class, 0) + 1
        running = {
            name: tuple(Running(j.job_class, 1, j.started_s) for j in jobs)
            for name in self.pilots
            if (jobs := self.running(name))
        }
        later = sum(not j.done for s in self.stages for j in s) - len(self.open_jobs())
        listed = tuple(
            replace(p, unneeded_since_s=self.unneeded_since_s.get(p.name))
            for p in self.pilots.values()
        )
        snapshot = Snapshot(self.now_s, waiting, listed, running, later=later)
        decided = plan(snapshot, self.known, self.policy)
        self.unneeded_since_s = {
            name: self.unneeded_since_s.get(name, self.now_s) for name in decided.unneeded
        }
        for action in decided.actions:
            self._apply(action)

    def _apply(self, action) -> None:
        if isinstance(action, Launch):
            name = f"p{len(self.pilots):04}"
            self.pilots[name] = Pilot(
                name, SHAPES[action.offer], PilotState.PENDING, action.offer, action.walltime_s,
                asked_s=self.now_s, since_s=self.now_s,
            )  # fmt: skip
            return
        pilot = self.pilots[action.pilot]
        assert not self.running(action.pilot)
        state = PilotState.DRAINING if isinstance(action, Drain) else PilotState.CANCELLED
        assert isinstance(action, Drain) or pilot.state.waits, Cancel
        self.pilots[action.pilot] = replace(pilot, state=state, ended_s=self.now_s)


jobs = st.builds(Job, st.sampled_from(CLASSES), st.floats(5, 600))
worlds = st.builds(
    World,
    stages=st.lists(st.lists(jobs, min_size=1, max_size=40), min_size=1, max_size=3),
    policy=st.builds(
        Policy,
        offers=st.just(OFFERS),
        pilots_max=st.integers(1, 12),
        pending_max=st.integers(1, 12),
        core_s_max=st.one_of(st.none(), st.floats(3e6, 1e7)),
        cost_weight=st.floats(0, 1),
    ),
    wait_s=st.floats(0, 2000),
    boot_s=st.floats(0, 300),
)


@settings(max_examples=40)
@given(worlds)
def test_every_job_ends_within_the_limits_and_no_pilot_is_left(world: World):
    ticks = 0
    while world.open_jobs():
        world.tick()
        taken = commitment(Snapshot(world.now_s, {}, tuple(world.pilots.values())))
        assert taken.pilots <= world.policy.pilots_max
        assert world.policy.core_s_max is None or taken.core_s <= world.policy.core_s_max
        ticks += 1
        assert ticks < TICKS_MAX, "a job that fits never ran"
    world.tick()
    world.tick()
    assert all(pilot.state.over for pilot in world.pilots.values())


@settings(max_examples=40)
@given(worlds)
def test_simulated_run_is_deterministic(world: World):
    """No hidden clock, no order of a set: what happened can be played again."""
    twin = deepcopy(world)
    for each in (world, twin):
        for _ in range(60):
            each.tick()
    assert world.pilots == twin.pilots
