"""What the planner promises, one law a test."""

from collections import Counter

from snakemake_executor_plugin_osgpilot.core.model import (
    Cancel,
    JobClass,
    Launch,
    Pilot,
    PilotState,
    Policy,
    Shape,
    Snapshot,
)
from snakemake_executor_plugin_osgpilot.core.plan import plan

POLICY = Policy(Shape(4, 3800), walltime_s=3000, pilots_max=10)
SMALL = JobClass(Shape(1, 500))
BIG = JobClass(Shape(4, 3000))
HUNGRY = JobClass(Shape(1, 3000))


def pilot(name="p1", state=PilotState.RUNNING, ends_s=3600.0):
    return Pilot(name, POLICY.pilot_shape, state, allocation_id="1", ends_s=ends_s)


def launches(waiting, *, pilots=(), running=None, policy=POLICY):
    snapshot = Snapshot(0.0, Counter(waiting), tuple(pilots), running or {})
    return sum(isinstance(a, Launch) for a in plan(snapshot, policy).actions)


def test_no_demand_no_pilot():
    assert launches({}) == 0


def test_pilots_are_counted_in_cores_not_in_jobs():
    assert launches({SMALL: 8}) == 2
    assert launches({BIG: 8}) == 8


def test_memory_counts_as_well_as_cores():
    assert launches({HUNGRY: 3}) == 3


def test_small_jobs_fill_the_room_that_big_ones_leave():
    three_cores = JobClass(Shape(3, 500))
    assert launches({three_cores: 2, SMALL: 2}) == 2


def test_a_pending_pilot_is_supply():
    assert launches({SMALL: 4}, pilots=[pilot(state=PilotState.PENDING)]) == 0
    assert launches({SMALL: 5}, pilots=[pilot(state=PilotState.PENDING)]) == 1


def test_a_pilot_whose_sbatch_is_under_way_is_supply():
    assert launches({SMALL: 4}, pilots=[pilot(state=PilotState.INTENDED)]) == 0


def test_a_busy_pilot_is_supply_only_for_what_is_free():
    running = {"p1": {SMALL: 3}}
    assert launches({SMALL: 1}, pilots=[pilot()], running=running) == 0
    assert launches({SMALL: 2}, pilots=[pilot()], running=running) == 1


def test_a_pilot_that_ends_before_the_job_is_no_supply():
    half_an_hour = JobClass(Shape(1, 500), runtime_s=1800)
    assert launches({half_an_hour: 1}, pilots=[pilot(ends_s=1700.0)]) == 1
    assert launches({half_an_hour: 1}, pilots=[pilot(ends_s=1900.0)]) == 0


def test_an_ending_pilot_is_no_supply():
    assert launches({SMALL: 1}, pilots=[pilot(state=PilotState.ENDING)]) == 1


def test_never_more_than_the_user_allows():
    few = Policy(POLICY.pilot_shape, POLICY.walltime_s, pilots_max=3)
    assert launches({SMALL: 400}, policy=few) == 3
    assert launches({SMALL: 400}, pilots=[pilot()], policy=few) == 2


def test_a_pending_pilot_that_nothing_needs_is_taken_back():
    pilots = (pilot("p1", PilotState.PENDING), pilot("p2", PilotState.PENDING))
    decided = plan(Snapshot(0.0, {SMALL: 3}, pilots), POLICY)
    assert [a.pilot for a in decided.actions if isinstance(a, Cancel)] == ["p2"]


def test_a_running_pilot_is_never_cancelled():
    assert plan(Snapshot(0.0, {}, (pilot(),)), POLICY).actions == ()


def test_running_pilots_are_filled_before_pending_ones():
    pilots = (pilot("a", PilotState.PENDING), pilot("b"))
    decided = plan(Snapshot(0.0, {SMALL: 4}, pilots), POLICY)
    assert [a.pilot for a in decided.actions if isinstance(a, Cancel)] == ["a"]


def test_a_job_that_fits_no_pilot_is_named_and_drives_nothing():
    too_big, too_long = JobClass(Shape(5, 100)), JobClass(Shape(1, 100), runtime_s=3000)
    decided = plan(Snapshot(0.0, {too_big: 7, too_long: 1}), POLICY)
    assert decided.actions == ()
    assert set(decided.unfit) == {too_big, too_long}


def test_every_action_has_a_reason():
    decided = plan(Snapshot(0.0, {SMALL: 3}), POLICY)
    assert all(action.reason for action in decided.actions)
