"""A plan starts all that planning again would start: moments in which that was not so."""

from collections import Counter
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

SMALL = PilotType("small", Shape(4, 8000), (1800, 3600, 7200))
LARGE = PilotType("large", Shape(16, 64000), (3600, 14400))
GPU = PilotType("gpu", Shape(8, 32000, gpus=2), (7200,))
POLICY = Policy(
    (SMALL, LARGE, GPU), pilots_max=50, pending_max=50, cost_weight=0, launches_max=1000
)
UNKNOWN = Estimates()


def pilot(name, offer, state=PilotState.PENDING):
    started_s = None if state.waits else 0.0
    ends_s = None if state.waits else float(offer.walltime_max_s)
    return Pilot(
        name, offer.shape, state, offer.name, offer.walltime_max_s,
        started_s=started_s, ends_s=ends_s,
    )  # fmt: skip


def started(snapshot, known, policy):
    return [a for a in plan(snapshot, known, policy).actions if isinstance(a, Launch)]


def launched_at_once(snapshot, known=UNKNOWN, policy=POLICY):
    """Return how many pilots of each offer the plan starts; the next one must start none."""
    launches, offers = started(snapshot, known, policy), {o.name: o for o in policy.offers}
    new = [
        replace(pilot(f"n{number}", offers[each.offer]), walltime_s=each.walltime_s)
        for number, each in enumerate(launches)
    ]
    after = replace(snapshot, pilots=(*snapshot.pilots, *new))
    assert started(after, known, policy) == []
    return Counter(launch.offer for launch in launches)


def test_what_a_refused_pilot_leaves_of_the_budget_goes_to_smaller_ones_at_once():
    """Ten jobs of four cores on four pilots at most: large ones, and the third is too expensive."""
    policy = replace(POLICY, pilots_max=4, core_s_max=34 * 3600.0)
    waiting = {JobClass(Shape(4, 100), 300): 10}
    assert launched_at_once(Snapshot(0.0, waiting), policy=policy) == {"large": 2, "small": 1}


def test_what_a_refused_pilot_leaves_of_the_cores_goes_to_smaller_ones_at_once():
    policy = replace(POLICY, pilots_max=4, cores_max=36)
    waiting = {JobClass(Shape(4, 100), 300): 10}
    assert launched_at_once(Snapshot(0.0, waiting), policy=policy) == {"large": 2, "small": 1}


def test_late_pilots_do_not_reduce_spare_capacity():
    """The pilot at hand is to have done 24 jobs of a minute when the new ones come."""
    jobs = JobClass(Shape(4, 2000))
    known = Estimates(
        runtimes_s={jobs: (60.0,) * 50},
        waits_s={offer.name: (600.0,) * 50 for offer in POLICY.offers},
        boots_s=(60.0,) * 50,
    )
    moment = Snapshot(0.0, {jobs: 100}, (pilot("p1", LARGE, PilotState.READY),))
    assert launched_at_once(moment, known).total() > 0


def test_a_pilot_that_gets_no_more_jobs_leads_to_no_second_one_later():
    waiting = {JobClass(Shape(1, 100)): 33}
    pilots = (pilot("p1", LARGE, PilotState.BOOTING), pilot("p2", SMALL, PilotState.INTENDED))
    moment = Snapshot(0.0, waiting, pilots, blocked={"p2": "jobs fail there"})
    assert launched_at_once(moment, policy=replace(POLICY, pilots_max=4)) == {"large": 1}


def test_a_job_that_needs_no_gpu_does_not_take_the_room_of_one_that_does():
    """The pilot with GPUs is the smaller one that is left, where both would have room."""
    plain, needs_gpu = JobClass(Shape(8, 100)), JobClass(Shape(3, 2000, gpus=1))
    moment = Snapshot(0.0, {plain: 1, needs_gpu: 1}, gates={"small": Gate(0, "it fails")})
    assert launched_at_once(moment) == {"large": 1, "gpu": 1}


def test_one_plan_starts_no_more_than_it_may_and_than_a_breaker_lets_through():
    waiting = {JobClass(Shape(4, 100), 300): 10}
    gated = Snapshot(0.0, waiting, gates={"large": Gate(1, "one is tried")})
    policy = replace(POLICY, pilots_max=4, core_s_max=34 * 3600.0)
    assert Counter(a.offer for a in started(gated, UNKNOWN, policy))["large"] == 1
    policy = replace(policy, launches_max=2)
    assert len(started(Snapshot(0.0, waiting), UNKNOWN, policy)) == 2
