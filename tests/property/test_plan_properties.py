"""Laws of the planner that hold for every snapshot."""

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from shared_examples import shared

from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Drain, Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate, Running, Snapshot, UpcomingGroup
from snakemake_executor_plugin_osgpilot.scaling.planner.bin_packing import Bin, fill, open_pilots
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.feasibility import fits
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import commitment
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

OFFERS = (
    PilotType("small", Shape(4, 8000, 10**6), (1800, 3600, 7200)),
    PilotType("large", Shape(16, 64000, 10**6), (3600, 14400)),
    PilotType("gpu", Shape(8, 32000, 10**6, 2), (7200,)),
)

classes = st.builds(
    JobClass,
    st.builds(Shape, st.integers(1, 18), st.integers(1, 70000), st.just(10), st.integers(0, 2)),
    st.sampled_from([0, 300, 900, 3600, 13000]),
    st.one_of(st.just(()), st.sampled_from([("small",), ("large",), ("small", "gpu")])),
)
waitings = st.dictionaries(classes, st.integers(0, 200), max_size=6)
soons = st.lists(
    st.builds(UpcomingGroup, classes, st.integers(1, 50), st.one_of(st.none(), st.floats(0, 4000))),
    max_size=3,
).map(tuple)
policies = st.builds(
    Policy,
    offers=st.just(OFFERS),
    pilots_max=st.integers(1, 50),
    pending_max=st.integers(1, 50),
    cores_max=st.one_of(st.none(), st.integers(1, 400)),
    core_s_max=st.one_of(st.none(), st.floats(0, 4e6)),
    cost_weight=st.floats(0, 1),
    launches_max=st.just(1000),
)
estimates = st.builds(
    Estimates,
    runtimes_s=st.dictionaries(classes, st.tuples(st.floats(0.1, 4000)), max_size=3),
    waits_s=st.dictionaries(
        st.sampled_from([o.name for o in OFFERS]), st.tuples(st.floats(0, 9000)), max_size=3
    ),
    boots_s=st.one_of(st.just(()), st.tuples(st.floats(0, 600))),
    ages_s=st.dictionaries(classes, st.floats(0, 9000), max_size=2),
    wait_hints_s=st.dictionaries(
        st.sampled_from([o.name for o in OFFERS]), st.floats(0, 9000), max_size=3
    ),
)

others = st.builds(Shape, st.integers(0, 20), st.just(500))


@st.composite
def pilots(draw):
    offer = draw(st.sampled_from(OFFERS))
    state = draw(st.sampled_from(list(PilotState)))
    walltime_s = draw(st.sampled_from(offer.walltimes_s))
    started_s = None if state.waits else draw(st.floats(-1000, 0))
    return Pilot(
        str(draw(st.uuids())),
        offer.shape,
        state,
        offer.name,
        walltime_s,
        asked_s=draw(st.floats(-2000, 0)),
        started_s=started_s,
        ends_s=None if started_s is None else started_s + walltime_s,
        ended_s=0.0 if state.over and started_s is not None else None,
        unneeded_since_s=draw(st.one_of(st.none(), st.floats(-1000, 0))),
    )


@st.composite
def snapshots(draw):
    listed = tuple(draw(st.lists(pilots(), max_size=6, unique_by=lambda p: p.name)))
    names, running = [pilot.name for pilot in listed], {}
    for pilot in listed:
        job_class = draw(classes)
        most = pilot.shape.holds(job_class.shape)
        if pilot.state is PilotState.READY and most and draw(st.booleans()):
            since_s = draw(st.floats(-500, 0))
            running[pilot.name] = (Running(job_class, draw(st.integers(1, most)), since_s),)
    further = draw(st.dictionaries(classes, st.integers(1, 100), max_size=3))
    return Snapshot(
        now_s=0.0,
        waiting=draw(waitings),
        pilots=listed,
        running=running,
        soon=draw(soons),
        later=sum(further.values()) + draw(st.integers(0, 5)),
        further=further,
        chain=draw(st.dictionaries(classes, st.integers(1, 20), max_size=3)),
        others=draw(st.dictionaries(st.sampled_from(names), others)) if listed else {},
        blocked={p.name: "jobs fail there" for p in listed if draw(st.integers(0, 9)) == 0},
        gates=draw(st.sampled_from([{}, {"small": Gate(0, "it fails")}])),
    )


of_snapshots = shared(snapshots(), estimates, policies)


def launched(decided):
    return [action for action in decided.actions if isinstance(action, Launch)]


def applied(snapshot: Snapshot, decided) -> Snapshot:
    shapes = {offer.name: offer.shape for offer in OFFERS}
    gone = {a.pilot for a in decided.actions if isinstance(a, Cancel)}
    drained = {a.pilot for a in decided.actions if isinstance(a, Drain)}
    kept = [
        replace(p, state=PilotState.DRAINING) if p.name in drained else p
        for p in snapshot.pilots
        if p.name not in gone
    ]
    new = [
        Pilot(f"~{n:05}", shapes[a.offer], PilotState.PENDING, a.offer, a.walltime_s)
        for n, a in enumerate(launched(decided), start=len(snapshot.pilots))
    ]
    return replace(snapshot, pilots=(*kept, *new))


def only_launches(decided):
    return replace(decided, actions=tuple(launched(decided)))


@of_snapshots
def test_planning_again_after_launching_launches_nothing(snapshot, known, policy):
    decided = plan(snapshot, known, policy)
    once = applied(snapshot, only_launches(decided))
    assert launched(plan(once, known, policy)) == []


@of_snapshots
def test_plans_come_to_rest(snapshot, known, policy):
    """Cancelled pilots make room for others, and then another pilot may be unneeded."""
    for _ in range(3):
        snapshot = applied(snapshot, plan(snapshot, known, policy))
    assert plan(snapshot, known, policy).actions == ()


@of_snapshots
def test_the_order_of_things_does_not_matter(snapshot, known, policy):
    rng = random.Random(0)
    waiting, listed, soon = (
        list(snapshot.waiting.items()),
        list(snapshot.pilots),
        list(snapshot.soon),
    )
    for things in (waiting, listed, soon):
        rng.shuffle(things)
    shuffled = replace(snapshot, waiting=dict(waiting), pilots=tuple(listed), soon=tuple(soon))
    assert plan(shuffled, known, policy) == plan(snapshot, known, policy)


@of_snapshots
def test_every_limit_holds_after_the_plan(snapshot, known, policy):
    decided = plan(snapshot, known, policy)
    if launched(decided):
        after = commitment(applied(snapshot, only_launches(decided)))
        assert after.pilots <= policy.pilots_max
        assert after.pending <= policy.pending_max
        assert policy.cores_max is None or after.cores <= policy.cores_max
        assert policy.core_s_max is None or after.core_s <= policy.core_s_max


@of_snapshots
def test_no_pilot_that_runs_a_job_or_is_needed_is_let_go(snapshot, known, policy):
    decided = plan(snapshot, known, policy)
    by_name = {p.name: p for p in snapshot.pilots}
    for action in decided.actions:
        if isinstance(action, Launch):
            continue
        pilot = by_name[action.pilot]
        assert pilot.state.serves
        if action.pilot in snapshot.blocked and isinstance(action, Drain):
            continue  # it finishes what it runs
        assert action.pilot in decided.unneeded
        assert not snapshot.running.get(action.pilot)
        assert pilot.state.waits == isinstance(action, Cancel)


@of_snapshots
def test_every_launch_can_serve_a_job_that_is_waiting_or_to_come(snapshot, known, policy):
    """No useless pilot: shape and life suffice for a job, and the offer is not closed."""
    wanted = {c for c, n in snapshot.waiting.items() if n} | {s.job_class for s in snapshot.soon}
    offers = {offer.name: offer for offer in OFFERS}
    for action in launched(plan(snapshot, known, policy)):
        offer = replace(offers[action.offer], walltimes_s=(action.walltime_s,))
        assert action.walltime_s in offers[action.offer].walltimes_s
        assert any(fits(job_class, offer, policy) for job_class in wanted)
        assert action.offer not in snapshot.gates


@of_snapshots
def test_what_fits_nowhere_is_named_and_drives_nothing(snapshot, known, policy):
    decided = plan(snapshot, known, policy)
    unfit = {each.job_class for each in decided.infeasible}
    for job_class in (c for c, n in snapshot.waiting.items() if n):
        assert (job_class in unfit) != any(fits(job_class, o, policy) for o in OFFERS)
    without = replace(
        snapshot,
        waiting={c: n for c, n in snapshot.waiting.items() if c not in unfit},
        soon=tuple(s for s in snapshot.soon if s.job_class not in unfit),
    )
    assert launched(plan(without, known, policy)) == launched(decided)


@of_snapshots
def test_nothing_is_decided_from_old_answers(snapshot, known, policy):
    old = replace(snapshot, looked_s=-policy.stale_s - 1)
    assert plan(old, known, policy).actions == ()


ONE = PilotType("one", Shape(8, 16000), (7200,))


@given(st.integers(1, 8), st.integers(0, 300), st.integers(0, 300))
def test_more_jobs_of_one_class_never_need_fewer_pilots(cores, jobs, more):
    """Holds for one class and one shape only: packing of mixed classes has known anomalies."""
    policy = Policy((ONE,), pilots_max=10**6, pending_max=10**6, cost_weight=0, launches_max=10**6)
    job_class = JobClass(Shape(cores, 100))
    few, many = (
        len(launched(plan(Snapshot(0.0, {job_class: n}), Estimates(), policy)))
        for n in (jobs, jobs + more)
    )
    assert few <= many
    assert many == -(-(jobs + more) // (8 // cores))


@given(waitings)
def test_the_pilots_opened_hold_the_demand_and_no_dimension_is_overbooked(waiting):
    policy = Policy(OFFERS)
    fitting = {c: n for c, n in waiting.items() if n and fits(c, OFFERS[1], policy)}
    opened = open_pilots(fitting, lambda _: OFFERS[1], policy.life_taken_s)
    life_s = 14400 - policy.life_taken_s
    empty = [Bin(OFFERS[1].shape, life_s, room.pilots, room.offer) for room in opened]
    assert fill(fitting, empty)[0] == {}
    assert all(min(room.free) >= 0 for room in opened)
    pilots_opened = sum(len(room.pilots) for room in opened)
    assert pilots_opened <= sum(fitting.values())
    total = Counter()
    for job_class, count in fitting.items():
        for name, amount in job_class.shape.times(count)._asdict().items():
            total[name] += amount
    for name, capacity in OFFERS[1].shape._asdict().items():
        assert pilots_opened * capacity >= total[name]
