"""Cores that Slurm gives beyond a pilot's request count for limits, budget and choice."""

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
from snakemake_executor_plugin_osgpilot.model.snapshot import Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import (
    allocated_cores,
    commitment,
    expected_charges,
)
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

HOUR_S = 3600
SMALL = PilotType("whole/4c", Shape(4, 8000), (HOUR_S,))
NODE = PilotType("whole/128c", Shape(128, 256_000), (HOUR_S,))
JOB = JobClass(Shape(1, 1024), 600)


def launches(policy, jobs=40, pilots=()):
    decided = plan(Snapshot(0.0, {JOB: jobs}, pilots, looked_s=0.0), Estimates(), policy)
    return [action.offer for action in decided.actions if isinstance(action, Launch)]


def test_where_pilots_get_whole_nodes_those_that_fill_them_are_started():
    policy = Policy((SMALL, NODE))
    assert set(launches(policy)) == {"whole/4c"}
    assert set(launches(policy.with_allocated({"whole/4c": 128}))) == {"whole/128c"}


def test_limits_count_what_slurm_gives():
    policy = Policy((SMALL,), pilots_max=50, pending_max=50, launches_max=50, cores_max=256)
    assert len(launches(policy)) > 2
    assert len(launches(policy.with_allocated({"whole/4c": 128}))) == 2


def test_the_budget_counts_what_slurm_gives():
    policy = Policy((SMALL,), pilots_max=50, pending_max=50, launches_max=50)
    policy = replace(policy, core_s_max=128.0 * HOUR_S)
    assert len(launches(policy)) > 1
    assert len(launches(policy.with_allocated({"whole/4c": 128}))) == 1


def running(**more):
    return Pilot("p1", SMALL.shape, PilotState.READY, offer="whole/4c", walltime_s=HOUR_S, **more)


def test_a_running_pilot_is_charged_by_its_allocation():
    asked, given = (
        commitment(Snapshot(0.0, {}, (running(allocated_cores=cores),))) for cores in (0, 128)
    )
    assert (asked.cores, asked.core_s) == (4, 4 * HOUR_S)
    assert (given.cores, given.core_s) == (128, 128 * HOUR_S)


def test_waiting_pilots_are_expected_to_get_what_others_of_their_type_got():
    seen = running(allocated_cores=128)
    waiting = replace(running(), name="p2", state=PilotState.PENDING)
    policy = Policy((SMALL,)).with_allocated(allocated_cores((seen, waiting)))
    assert [p.charged_cores for p in expected_charges((seen, waiting), policy)] == [128, 128]


def test_where_slurm_gives_what_is_asked_nothing_changes():
    seen = running(allocated_cores=4)
    policy = Policy((SMALL,))
    learned = policy.with_allocated(allocated_cores((seen,)))
    assert expected_charges((seen,), learned) == (seen,)
    assert launches(learned) == launches(policy)
