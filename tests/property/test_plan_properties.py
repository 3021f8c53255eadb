"""Laws of the planner that hold for every snapshot."""

import random

from hypothesis import given
from hypothesis import strategies as st

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
from snakemake_executor_plugin_osgpilot.core.packing import Bin, fill, pilots_for
from snakemake_executor_plugin_osgpilot.core.plan import plan

SHAPE = Shape(8, 16000)

classes = st.builds(
    JobClass,
    st.builds(Shape, st.integers(1, 10), st.integers(1, 20000)),
    st.sampled_from([0, 300, 900, 3600]),
)
waitings = st.dictionaries(classes, st.integers(0, 200), max_size=6)


def pilot(name, state, ends_s):
    """A pilot's end is known from the moment it runs, and not before."""
    known = ends_s if state is PilotState.RUNNING else None
    return Pilot(str(name), SHAPE, state, allocation_id="1", ends_s=known)


ends = st.one_of(st.none(), st.floats(0, 7200))
pilots = st.lists(
    st.builds(pilot, st.uuids(), st.sampled_from(list(PilotState)), ends),
    max_size=6,
    unique_by=lambda p: p.name,
).map(tuple)
policies = st.builds(
    Policy,
    pilot_shape=st.just(SHAPE),
    walltime_s=st.integers(600, 7200),
    pilots_max=st.integers(1, 50),
    launches_max=st.just(1000),
)
snapshots = st.builds(Snapshot, now_s=st.just(0.0), waiting=waitings, pilots=pilots)


def applied(snapshot: Snapshot, policy: Policy) -> Snapshot:
    decided = plan(snapshot, policy)
    gone = {a.pilot for a in decided.actions if isinstance(a, Cancel)}
    new = [
        Pilot(f"~new-{n:05}", policy.pilot_shape, PilotState.PENDING)
        for n in range(sum(isinstance(a, Launch) for a in decided.actions))
    ]
    kept = [p for p in snapshot.pilots if p.name not in gone]
    return Snapshot(snapshot.now_s, snapshot.waiting, (*kept, *new), snapshot.running)


@given(snapshots, policies)
def test_planning_again_after_applying_yields_nothing(snapshot, policy):
    assert plan(applied(snapshot, policy), policy).actions == ()


@given(snapshots, policies, st.randoms(use_true_random=False))
def test_the_order_of_things_does_not_matter(snapshot, policy, rng: random.Random):
    waiting, listed = list(snapshot.waiting.items()), list(snapshot.pilots)
    rng.shuffle(waiting)
    rng.shuffle(listed)
    shuffled = Snapshot(snapshot.now_s, dict(waiting), tuple(listed))
    assert plan(shuffled, policy) == plan(snapshot, policy)


@given(snapshots, policies)
def test_only_pending_pilots_are_cancelled_and_the_cap_holds(snapshot, policy):
    decided = plan(snapshot, policy)
    by_name = {p.name: p for p in snapshot.pilots}
    for action in decided.actions:
        if isinstance(action, Cancel):
            assert by_name[action.pilot].state is PilotState.PENDING
    launched = sum(isinstance(a, Launch) for a in decided.actions)
    supply = (PilotState.INTENDED, PilotState.PENDING, PilotState.RUNNING)
    live = sum(p.state in supply for p in snapshot.pilots)
    assert launched == 0 or live + launched <= policy.pilots_max


@given(waitings)
def test_the_pilots_counted_are_the_pilots_needed(waiting):
    ends_s = 3600
    fitting = {c: n for c, n in waiting.items() if n and SHAPE.holds(c.shape)}
    fitting = {c: n for c, n in fitting.items() if c.runtime_s < ends_s}
    count = pilots_for(fitting, SHAPE, ends_s)
    assert fill(fitting, [Bin(str(n), SHAPE, ends_s) for n in range(count)]) == {}
    if count:
        fewer = [Bin(str(n), SHAPE, ends_s) for n in range(count - 1)]
        assert fill(fitting, fewer) != {}
