"""Laws of the planner, one in each test."""

from collections import Counter
from dataclasses import replace

import pytest

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
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate, Running, Snapshot, UpcomingGroup
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.feasibility import unschedulable
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

OFFER = PilotType("compute", Shape(4, 3800), (3600,))
POLICY = Policy((OFFER,), pilots_max=100, pending_max=100, cost_weight=0, launches_max=1000)
SMALL = JobClass(Shape(1, 500))
BIG = JobClass(Shape(4, 3000))
HUNGRY = JobClass(Shape(1, 3000))
WIDE = PilotType("wide", Shape(8, 7600), (3600,))
GATHER = JobClass(Shape(8, 6000))
KNOWN = Estimates(
    runtimes_s={SMALL: (60.0,) * 50, BIG: (60.0,) * 50},
    waits_s={"compute": (300.0,) * 50},
    boots_s=(30.0,) * 50,
)
"""Jobs take a minute, a pilot five and a half minutes to come."""


def pilot(name="p1", state=PilotState.READY, ends_s=3600.0, **more):
    started_s = None if state.waits else -600.0
    ends_s = None if state.waits else ends_s
    return Pilot(
        name, OFFER.shape, state, OFFER.name, 3600, "1",
        started_s=started_s, ends_s=ends_s, **more,
    )  # fmt: skip


AT_ONCE = Estimates(
    waits_s={"compute": (0.0,) * 50}, wait_hints_s={"compute": 0.0}, boots_s=(0.0,) * 5000
)
"""A pilot that is asked for is there, so that no job need wait for room in another one."""


def decide(waiting, *, pilots=(), known=None, policy=POLICY, now_s=0.0, **more):
    snapshot = Snapshot(now_s, Counter(waiting), tuple(pilots), **more)
    return plan(snapshot, known or Estimates(), policy)


def launches(waiting, **more):
    return sum(isinstance(a, Launch) for a in decide(waiting, **more).actions)


def released(decided, kind):
    return [a.pilot for a in decided.actions if isinstance(a, kind)]


TWO_KINDS = replace(
    POLICY,
    offers=(
        PilotType("short/4c", Shape(4, 3800), (3600,)),
        PilotType("long/4c", Shape(4, 3800), (3600, 36000)),
    ),
)
IN_LONG = SMALL._replace(offers=("long/4c",))


def test_jobs_that_want_certain_pilots_get_them_and_no_others():
    decided = decide({IN_LONG: 8}, policy=TWO_KINDS)
    assert [a.offer for a in decided.actions] == ["long/4c", "long/4c"]
    short = replace(pilot(), offer="short/4c")
    decided = decide({IN_LONG: 4}, policy=TWO_KINDS, pilots=[short])
    assert "p1" in decided.unneeded
    assert [a.offer for a in decided.actions if isinstance(a, Launch)] == ["long/4c"]
    long = replace(pilot("p2"), offer="long/4c")
    assert launches({IN_LONG: 4, SMALL: 4}, policy=TWO_KINDS, pilots=[short, long]) == 0


def test_spare_capacity_respects_required_types():
    others = [replace(pilot(f"s{n}"), offer="short/4c") for n in range(20)]
    long = replace(pilot("long"), offer="long/4c")
    busy = {"long": (Running(IN_LONG, 4, 0.0),)}
    known = replace(KNOWN, runtimes_s={IN_LONG: (600.0,) * 50})
    more = {"policy": TWO_KINDS, "known": known, "running": busy}
    assert launches({IN_LONG: 40}, pilots=[*others, long], **more) == 10


def test_required_type_that_is_too_small_is_infeasible():
    hour = JobClass(Shape(1, 500), 3600, ("short/4c",))
    decided = decide({hour: 1}, policy=TWO_KINDS)
    assert "the nearest pilot (short/4c: 4 cores, 3800 MB, 50 min for jobs)" in str(
        decided.infeasible
    )


def test_what_jobs_of_others_take_of_a_pilot_is_not_there_for_ours():
    half, all_of_it = {"p1": Shape(2, 1000)}, {"p1": Shape(4, 3800)}
    assert launches({SMALL: 4}, pilots=[pilot()]) == 0
    assert launches({SMALL: 2}, pilots=[pilot()], others=half) == 0
    assert launches({SMALL: 4}, pilots=[pilot()], others=half, known=AT_ONCE) == 1
    assert launches({SMALL: 1}, pilots=[pilot()], others=all_of_it) == 1


def test_jobs_without_an_available_type_are_unschedulable():
    waiting, refused = [SMALL, IN_LONG], "sbatch: Invalid account"
    assert unschedulable(waiting, TWO_KINDS, {}) == {}
    assert unschedulable(waiting, TWO_KINDS, {"long/4c": refused}) == {IN_LONG: refused}
    all_refused = {"long/4c": refused, "short/4c": "sbatch: Invalid qos"}
    assert unschedulable(waiting, TWO_KINDS, all_refused) == {
        SMALL: "sbatch: Invalid account; sbatch: Invalid qos",
        IN_LONG: refused,
    }
    assert unschedulable([JobClass(Shape(64, 1))], TWO_KINDS, all_refused) == {}, "infeasible"


# demand and packing


def test_no_demand_no_pilot():
    assert launches({}) == 0


def test_pilots_are_counted_in_cores_not_in_jobs():
    assert launches({SMALL: 8}) == 2
    assert launches({BIG: 8}) == 8


def test_memory_disk_and_gpus_count_as_well_as_cores():
    assert launches({HUNGRY: 3}) == 3
    disk = PilotType("compute", Shape(4, 3800, 1000), (3600,))
    assert launches({JobClass(Shape(1, 5, 600)): 3}, policy=replace(POLICY, offers=(disk,))) == 3
    gpu = PilotType("compute", Shape(4, 3800, 1000, 2), (3600,))
    assert launches({JobClass(Shape(1, 5, 6, 1)): 4}, policy=replace(POLICY, offers=(gpu,))) == 2


def test_small_jobs_fill_the_room_that_big_ones_leave():
    three_cores = JobClass(Shape(3, 500))
    assert launches({three_cores: 2, SMALL: 2}) == 2


def test_a_job_that_fits_no_pilot_is_named_and_drives_nothing():
    too_big, too_long = JobClass(Shape(5, 100)), JobClass(Shape(1, 100), runtime_s=3000)
    decided = decide({too_big: 7, too_long: 1})
    assert decided.actions == ()
    reasons = {u.job_class: u.reason for u in decided.infeasible}
    assert (
        "nearest pilot (compute: 4 cores, 3800 MB, 50 min for jobs) lacks 1 core"
        in (reasons[too_big])
    )
    assert "lacks 1 min of life" in reasons[too_long]


# supply


@pytest.mark.parametrize("state", [PilotState.INTENDED, PilotState.PENDING, PilotState.BOOTING])
def test_a_pilot_on_its_way_is_supply(state):
    assert launches({SMALL: 4}, pilots=[pilot(state=state)], known=AT_ONCE) == 0
    assert launches({SMALL: 5}, pilots=[pilot(state=state)], known=AT_ONCE) == 1


def test_a_busy_pilot_is_supply_for_what_is_free():
    running = {"p1": (Running(SMALL, 3, 0.0),)}
    assert launches({SMALL: 1}, pilots=[pilot()], running=running, known=AT_ONCE) == 0
    assert launches({SMALL: 2}, pilots=[pilot()], running=running, known=AT_ONCE) == 1


def test_a_busy_pilot_is_supply_if_it_is_free_again_before_a_new_one_could_come():
    running = {"p1": (Running(SMALL, 4, 0.0),)}
    assert launches({SMALL: 8}, pilots=[pilot()], running=running, known=KNOWN) == 0
    assert launches({SMALL: 80}, pilots=[pilot()], running=running, known=KNOWN) > 0


def test_a_pilot_that_retires_before_the_job_would_end_is_no_supply():
    half_an_hour = JobClass(Shape(1, 500), runtime_s=1800)
    long_enough_s = 1800.0 + END_MARGIN_S
    assert launches({half_an_hour: 1}, pilots=[pilot(ends_s=long_enough_s - 1)]) == 1
    assert launches({half_an_hour: 1}, pilots=[pilot(ends_s=long_enough_s + 1)]) == 0


def test_a_draining_pilot_is_no_supply():
    assert launches({SMALL: 1}, pilots=[pilot(state=PilotState.DRAINING)]) == 1


def test_permanently_pending_pilot_is_cancelled():
    hopeless = pilot(state=PilotState.PENDING, pending_reason="PartitionTimeLimit")
    decided = decide({SMALL: 1}, pilots=[hopeless])
    assert [type(a) for a in decided.actions] == [Launch, Cancel]
    assert "PartitionTimeLimit" in decided.actions[1].reason


def test_the_rest_of_a_long_wait_is_expected_to_be_long():
    assert KNOWN.remaining_wait_s("compute", 100) == pytest.approx(KNOWN.wait_s("compute") - 100)
    assert KNOWN.remaining_wait_s("compute", 5000) == 5000


# the number of pilots


def test_the_cost_weight_trades_time_for_core_hours():
    waiting = {SMALL: 100}
    fast, even, cheap = (
        launches(waiting, known=KNOWN, policy=replace(POLICY, cost_weight=cost_weight))
        for cost_weight in (0, 0.5, 1)
    )
    assert fast == 25
    assert 1 < even < fast
    assert cheap == 1


def test_fewer_cores_are_worth_having_for_runtimes_with_a_long_tail():
    """The same work on average; a core is kept longer by the last job where some are long."""
    policy = replace(POLICY, cost_weight=0.5)
    even, tailed = (
        decide({SMALL: 400}, policy=policy, known=replace(KNOWN, runtimes_s={SMALL: samples}))
        for samples in ((300.0,) * 50, (60.0,) * 47 + (4060.0,) * 3)
    )
    assert tailed.forecast.work_core_s == pytest.approx(even.forecast.work_core_s)
    assert tailed.forecast.wanted_cores < even.forecast.wanted_cores / 2


def test_a_job_that_the_pilots_cannot_host_gets_one_even_if_there_are_cores_enough():
    offers = (OFFER, PilotType("big", Shape(16, 60000), (3600,)))
    thrifty = replace(POLICY, offers=offers, cost_weight=0.9)
    pilots = [pilot(f"p{n}") for n in range(20)]
    decided = decide({JobClass(Shape(8, 500)): 1}, pilots=pilots, policy=thrifty, known=KNOWN)
    assert [a.offer for a in decided.actions if isinstance(a, Launch)] == ["big"]


# the type of pilots


def ladder():
    return tuple(PilotType(f"c{n}", Shape(n, 4000 * n), (3600, 7200, 28800)) for n in (2, 8, 32))


def offers_of(decided):
    return Counter(a.offer for a in decided.actions if isinstance(a, Launch))


def test_the_smallest_pilot_that_does_is_taken():
    policy = replace(POLICY, offers=ladder())
    assert offers_of(decide({SMALL: 2}, policy=policy)) == {"c2": 1}
    assert offers_of(decide({BIG: 1}, policy=policy)) == {"c8": 1}


def test_larger_pilots_are_taken_where_the_small_ones_would_be_too_many():
    policy = replace(POLICY, offers=ladder(), pilots_max=10)
    assert offers_of(decide({SMALL: 80}, policy=policy)) == {"c8": 10}
    assert offers_of(decide({SMALL: 320}, policy=policy)) == {"c32": 10}


def test_a_larger_pilot_is_taken_where_the_smaller_one_waits_for_long():
    known = Estimates(waits_s={"c2": (9000.0,) * 50, "c8": (60.0,) * 50})
    assert offers_of(decide({SMALL: 2}, policy=replace(POLICY, offers=ladder()), known=known)) == {
        "c8": 1
    }


def test_jobs_without_gpu_do_not_open_gpu_pilots():
    gpu = PilotType("gpu", Shape(1, 4000, 0, 4), (3600,))
    policy = replace(POLICY, offers=(gpu, *ladder()))
    assert offers_of(decide({SMALL: 1}, policy=policy)) == {"c2": 1}
    assert offers_of(decide({JobClass(Shape(1, 5, 0, 1)): 1}, policy=policy)) == {"gpu": 1}


def test_the_walltime_follows_from_the_longest_job_and_the_work():
    policy = replace(POLICY, offers=ladder())
    brief, long = JobClass(Shape(1, 500), 300), JobClass(Shape(1, 500), 5400)
    assert {a.walltime_s for a in decide({brief: 2}, policy=policy).actions} == {3600}
    assert {a.walltime_s for a in decide({long: 2}, policy=policy).actions} == {28800}


# limits


def test_never_more_than_the_user_allows_and_it_is_said():
    few = replace(POLICY, pilots_max=3)
    decided = decide({SMALL: 400}, policy=few)
    assert launches({SMALL: 400}, policy=few) == 3
    assert [(r.count, r.rule) for r in decided.refusals] == [(97, "pilots_max")]
    assert launches({SMALL: 400}, pilots=[pilot()], policy=few) == 2


def test_the_budget_counts_whole_walltimes_of_what_may_still_run():
    budget = replace(POLICY, core_s_max=3 * 4 * 3600.0)
    assert launches({SMALL: 400}, policy=budget) == 3
    assert launches({SMALL: 400}, pilots=[pilot(state=PilotState.PENDING)], policy=budget) == 2
    over = replace(pilot(state=PilotState.DONE), started_s=-100.0, ended_s=0.0)
    decided = decide({SMALL: 400}, pilots=[over], policy=budget)
    assert len([a for a in decided.actions if isinstance(a, Launch)]) == 2
    assert "the budget is 12 core-hours" in decided.refusals[0].reason


def lasting(core_s_max, waiting=None):
    """Return the walltimes of the pilots that a budget admits for many short jobs."""
    offer = PilotType("compute", Shape(4, 3800), (1800, 3600, 7200, 14400, 28800))
    policy = replace(POLICY, offers=(offer,), cores_max=100, core_s_max=core_s_max)
    job_class = SMALL._replace(runtime_s=900)
    known = replace(KNOWN, runtimes_s={job_class: (450.0,) * 50})
    decided = decide({job_class: 2000}, known=known, policy=policy)
    return Counter(a.walltime_s for a in decided.actions if isinstance(a, Launch))


def test_a_budget_that_suffices_for_all_walltimes_does_not_change_them():
    assert lasting(None) == lasting(100 * 28_800.0) == {14400: 25}


def test_a_small_budget_pays_for_many_short_pilots_not_for_a_few_long_ones():
    """A pilot counts with its whole walltime; so many would be charged what five long ones may."""
    found = lasting(1.25 * 2000 * 450.0)
    assert sum(found.values()) == 25
    assert max(found) < 14400


def test_a_tiny_budget_is_not_spent_on_boots():
    """The rest of the budget is better spent on one short pilot than kept."""
    assert lasting(4 * 3600.0) == {3600: 1}


def test_pilots_of_a_small_budget_live_long_enough_for_the_longest_job():
    for share in (0.02, 0.1, 0.3, 0.6, 1.0, 1.5):
        assert all(walltime_s - 600 > 900 for walltime_s in lasting(share * 2000 * 450.0))


def test_an_offer_whose_breaker_is_open_is_left_alone():
    decided = decide({SMALL: 1}, gates={"compute": Gate(0, "4 pilots failed in a row")})
    assert decided.actions == ()
    assert [(r.rule, r.reason) for r in decided.refusals] == [
        ("breaker", "4 pilots failed in a row")
    ]


def test_jobs_get_pilots_of_another_type_while_theirs_fails():
    policy = replace(POLICY, offers=ladder())
    failing = {"c2": Gate(0, "4 pilots failed in a row")}
    assert offers_of(decide({SMALL: 2}, policy=policy, gates=failing)) == {"c8": 1}


def test_a_type_that_fails_does_not_count_as_one_that_comes_soon():
    """Jobs that are ready before a pilot of the other type comes would else get theirs late."""
    quick = PilotType("quick", OFFER.shape, (3600,))
    known = replace(KNOWN, waits_s={**KNOWN.waits_s, "quick": (0.0,) * 50})
    policy = replace(POLICY, offers=(OFFER, quick))
    failing = {"quick": Gate(0, "4 pilots failed in a row")}
    soon = (UpcomingGroup(SMALL, 8, 200.0),)
    assert offers_of(decide({}, soon=soon, known=known, policy=policy)) == {}
    with_gate = decide({}, soon=soon, known=known, policy=policy, gates=failing)
    assert offers_of(with_gate) == {"compute": 2}


def test_stale_answers_freeze_everything():
    decided = decide({}, pilots=[pilot(state=PilotState.PENDING)], now_s=500.0, looked_s=400.0)
    assert decided.actions == ()
    assert decided.refusals[0].rule == "stale"


# look-ahead


def test_a_pilot_is_started_for_jobs_that_become_ready_by_the_time_it_comes():
    assert launches({}, soon=(UpcomingGroup(SMALL, 8, 200.0),), known=KNOWN) == 2
    assert launches({}, soon=(UpcomingGroup(SMALL, 8, 2000.0),), known=KNOWN) == 0


def test_jobs_that_follow_the_waiting_ones_count_if_those_are_through_in_time():
    """They are, where many cores are worth having, and are not, where few are."""
    soon, pilots = (UpcomingGroup(SMALL, 40, None),), [pilot()]
    for cost_weight, counted in ((0.1, True), (0.9, False)):
        policy = replace(POLICY, cost_weight=cost_weight)
        alone, followed = (
            decide({SMALL: 40}, soon=s, pilots=pilots, known=KNOWN, policy=policy)
            for s in ((), soon)
        )
        more = followed.forecast.work_core_s > alone.forecast.work_core_s
        assert more == counted


def test_fewer_cores_are_worth_having_on_pilots_that_wait_for_the_last_of_several_jobs():
    """A pilot of four cores is charged until the longest of its four jobs has ended."""
    known = Estimates(runtimes_s={SMALL: (60.0,) * 45 + (3600.0,) * 5})
    wanted = []
    for cores in (1, 4):
        offer = PilotType(f"{cores}c", Shape(cores, 950 * cores), (36000,))
        policy = replace(POLICY, offers=(offer,), cost_weight=0.5)
        wanted.append(decide({SMALL: 500}, policy=policy, known=known).forecast.wanted_cores)
    assert 0 < wanted[1] < 0.9 * wanted[0]


def test_a_late_burst_of_jobs_starts_fewer_pilots_than_the_first():
    """Its time is a small part of that of the run."""
    policy = replace(POLICY, cost_weight=0.5)
    first, late = (
        decide({SMALL: 100}, policy=policy, now_s=7200.0, begun_s=begun_s)
        for begun_s in (7200.0, 0.0)
    )
    assert 0 < late.forecast.wanted_cores < 0.8 * first.forecast.wanted_cores
    assert len(late.actions) < len(first.actions)


# scale-in


def test_pending_pilot_is_cancelled_when_no_work_is_left():
    decided = decide({}, pilots=[pilot(state=PilotState.PENDING)])
    assert released(decided, Cancel) == ["p1"]


def test_otherwise_only_after_a_while():
    pending = pilot(state=PilotState.PENDING)
    assert released(decide({}, pilots=[pending], later=5), Cancel) == []
    assert decide({}, pilots=[pending], later=5).unneeded == {"p1"}
    patient = replace(pending, unneeded_since_s=0.0)
    assert released(decide({}, pilots=[patient], later=5, now_s=59.0), Cancel) == []
    assert released(decide({}, pilots=[patient], later=5, now_s=61.0), Cancel) == ["p1"]


def test_idle_pilot_is_drained_when_the_tail_does_not_need_it():
    running = {"p1": (Running(SMALL, 1, 0.0),)}
    decided = decide({}, pilots=[pilot("p1"), pilot("p2")], running=running)
    assert released(decided, Drain) == ["p2"]


def queued(name, asked_s, offer=OFFER):
    there = pilot(name, state=PilotState.PENDING, asked_s=asked_s, unneeded_since_s=0.0)
    return replace(there, shape=offer.shape, offer=offer.name)


@pytest.mark.parametrize(("cost_weight", "jobs"), [(0.8, 80), (0.5, 400), (0.2, 80)])
def test_pilots_in_the_queue_that_are_no_longer_worth_having_are_cancelled_the_latest_first(
    cost_weight, jobs
):
    """What is left is no less than the target size, and by less than a pilot more."""
    policy = replace(POLICY, cost_weight=cost_weight)
    pilots = [queued(f"p{n:02}", float(n)) for n in range(20)]
    more = {"policy": policy, "known": KNOWN, "now_s": 400.0, "pilots": pilots}
    decided = decide({SMALL: jobs}, **more)
    cancelled = released(decided, Cancel)
    assert {a.reason for a in decided.actions} == {"more cores are not worth having for 400 s"}
    wanted = decided.forecast.wanted_cores
    assert sorted(cancelled) == [f"p{n:02}" for n in range(20 - len(cancelled), 20)]
    assert len(cancelled) == int((80 - wanted) // 4) > 0
    assert not released(decide({SMALL: jobs}, further={SMALL: 500}, **more), Cancel)
    again = decide({SMALL: jobs}, **more | {"pilots": pilots[: 20 - len(cancelled)]})
    assert again.actions == ()


def test_where_a_large_pilot_is_worth_having_a_small_one_in_the_queue_is_not_always():
    policy = replace(POLICY, offers=(OFFER, WIDE), cost_weight=0.2)
    small = [queued(f"p{n:02}", float(n)) for n in range(9)]
    wide = queued("wide", 9.0, WIDE)
    decided = decide({SMALL: 80}, pilots=[*small, wide], known=KNOWN, policy=policy, now_s=400.0)
    assert 36 < decided.forecast.wanted_cores <= 40
    assert released(decided, Cancel) == ["p08"]


def test_the_only_pilot_in_the_queue_that_can_host_a_waiting_class_is_not_cancelled():
    policy = replace(POLICY, offers=(OFFER, WIDE), cost_weight=1)
    wide = queued("wide", 9.0, WIDE)
    more = {"policy": policy, "known": KNOWN, "now_s": 400.0}
    pilots = [queued("p1", 1.0), queued("p2", 2.0), wide]
    cancelled = released(decide({GATHER: 2, SMALL: 8}, pilots=pilots, **more), Cancel)
    assert cancelled == ["p1", "p2"]
    assert launches({GATHER: 2, SMALL: 8}, pilots=[wide], **more) == 0


def test_an_idle_pilot_is_kept_as_long_as_a_new_one_would_take_to_come():
    even = replace(POLICY, cost_weight=0.5)
    lead_s = KNOWN.lead_s("compute")
    for idle_s, let_go in ((lead_s - 5, []), (lead_s + 5, ["p1"])):
        idle = pilot(unneeded_since_s=0.0, ends_s=10000.0)
        decided = decide({}, pilots=[idle], later=5, now_s=idle_s, known=KNOWN, policy=even)
        assert released(decided, Drain) == let_go


@pytest.mark.parametrize(
    ("ends_s", "unknown", "drained"), [(500.0, 0, ["p1"]), (5000.0, 0, []), (500.0, 3, [])]
)
def test_an_idle_pilot_that_lives_too_short_for_any_job_is_drained_at_once(
    ends_s, unknown, drained
):
    """Not if jobs are to come of which nothing is known: they may be short."""
    long = SMALL._replace(runtime_s=900)
    more = {"later": 5 + unknown, "further": {long: 5}, "known": KNOWN}
    decided = decide({}, pilots=[pilot(ends_s=ends_s)], **more)
    assert released(decided, Drain) == drained


def test_of_idle_pilots_no_more_are_kept_than_what_is_to_come_is_worth():
    even = replace(POLICY, cost_weight=0.5)
    idle = [pilot(f"p{n}", unneeded_since_s=0.0, ends_s=10000.0) for n in range(20)]
    more = {"pilots": idle, "now_s": 61.0, "known": KNOWN, "policy": even, "later": 4}
    assert released(decide({}, **more), Drain) == []
    assert len(released(decide({}, further={SMALL: 4}, **more), Drain)) == 19


def test_the_last_pilot_that_can_host_a_class_to_come_is_kept_longer():
    both = replace(POLICY, cost_weight=0.5, offers=(OFFER, WIDE))
    small = [pilot(f"p{n}", unneeded_since_s=0.0, ends_s=10000.0) for n in range(9)]
    wide = replace(pilot("wide"), shape=WIDE.shape, offer=WIDE.name, unneeded_since_s=0.0)
    more = {"known": KNOWN, "policy": both, "now_s": 400.0, "later": 1}
    gather = decide({}, pilots=[*small, wide], further={GATHER: 1}, **more)
    assert "wide" not in released(gather, Drain)
    none = decide({}, pilots=[wide, *small], further={SMALL: 1}, **more)
    assert len(released(none, Drain)) == 9


def test_a_class_to_come_that_needs_a_larger_pilot_gets_one_from_the_start():
    both = replace(POLICY, offers=(OFFER, WIDE))

    def offers(**more):
        return Counter(a.offer for a in decide({SMALL: 40}, policy=both, **more).actions)

    assert offers() == {"compute": 10}
    assert offers(later=1, further={GATHER: 1}) == {"compute": 8, "wide": 1}
    assert offers(soon=(UpcomingGroup(GATHER, 1, None),))["wide"] == 1
    few = decide({SMALL: 2}, policy=both, later=1, further={GATHER: 1})
    assert [a.offer for a in few.actions] == ["compute"], "it would have little to do until then"


def test_no_gpu_is_kept_waiting_for_jobs_to_come():
    gpu = PilotType("gpu", Shape(8, 3800, gpus=1), (3600,))
    both = replace(POLICY, offers=(OFFER, gpu))
    later = JobClass(Shape(1, 500, gpus=1))
    decided = decide({SMALL: 40}, policy=both, later=1, further={later: 1})
    assert {a.offer for a in decided.actions} == {"compute"}


def test_larger_pilots_are_taken_where_memory_would_keep_cores_idle_in_small_ones():
    large = PilotType("large", Shape(16, 15200), (3600,))
    small = PilotType("small", Shape(8, 7600), (3600,))
    both = replace(POLICY, offers=(large, small))
    mixed = {JobClass(Shape(1, 6000)): 20, SMALL: 200}
    assert {a.offer for a in decide(mixed, policy=both).actions} == {"large"}
    assert {a.offer for a in decide({SMALL: 200}, policy=both).actions} == {"small"}


def test_fewer_cores_are_worth_having_where_they_have_to_wait_for_a_long_chain():
    even = replace(POLICY, cost_weight=0.5)
    alone = launches({SMALL: 400}, known=KNOWN, policy=even)
    rounds = {"later": 404, "further": {SMALL: 400, BIG: 4}, "chain": {SMALL: 5, BIG: 5}}
    assert 0 < launches({SMALL: 400}, known=KNOWN, policy=even, **rounds) < alone


def test_a_rule_that_says_nothing_gets_pilots_that_live_for_hours():
    """A long job among many short ones would be cut off with its pilot."""
    policy = replace(POLICY, offers=(replace(OFFER, walltimes_s=(3600, 14400, 86400)),))
    said = SMALL._replace(runtime_s=600)
    assert {a.walltime_s for a in decide({said: 4}, policy=policy).actions} == {3600}
    assert {a.walltime_s for a in decide({SMALL: 4}, policy=policy).actions} == {14400}
    seen = Estimates().with_ages({SMALL: 15000.0})
    decided = decide({SMALL: 4}, policy=policy, known=seen)
    assert {a.walltime_s for a in decided.actions} == {86400}


def test_an_idle_pilot_is_kept_for_jobs_that_come_soon():
    soon = (UpcomingGroup(SMALL, 1, 100.0),)
    idle = pilot(unneeded_since_s=-9000.0)
    assert decide({}, pilots=[idle], soon=soon, known=KNOWN).actions == ()


def test_busy_pilots_are_filled_first_so_that_idle_ones_can_go():
    running = {"b": (Running(SMALL, 1, 0.0),)}
    decided = decide({SMALL: 3}, pilots=[pilot("a"), pilot("b")], running=running)
    assert decided.unneeded == {"a"}


def test_running_pilots_are_filled_before_pending_ones():
    pilots = (pilot("a", PilotState.PENDING), pilot("b"))
    assert decide({SMALL: 4}, pilots=pilots).unneeded == {"a"}


def test_cordoned_pilot_is_drained_even_if_busy():
    running = {"p1": (Running(SMALL, 1, 0.0),)}
    decided = decide(
        {SMALL: 3}, pilots=[pilot("p1")], running=running, blocked={"p1": "jobs fail there"}
    )
    assert released(decided, Drain) == ["p1"]
    assert sum(isinstance(a, Launch) for a in decided.actions) == 1


def test_every_action_has_a_reason_and_the_plan_its_forecast():
    decided = decide({SMALL: 3})
    assert all(action.reason for action in decided.actions)
    assert decided.forecast.work_core_s == 3 * 600
    assert decided.forecast.lead_s == 1080


@pytest.mark.parametrize(
    ("jobs", "waited_s", "later", "taken_back"),
    [(4, 1000.0, 0, True), (4, 200.0, 0, False), (60, 1000.0, 0, False), (4, 1000.0, 9, False)],
    ids=("those that run are through before", "it comes in time", "much work", "more is to come"),
)
def test_a_pilot_that_will_be_too_late_is_taken_back(jobs, waited_s, later, taken_back):
    late = pilot("late", PilotState.PENDING, asked_s=-waited_s, unneeded_since_s=-90.0)
    running = {"p1": (Running(SMALL, 4, -10.0),)}
    reported = decide(
        {SMALL: jobs}, pilots=(pilot(), late), known=KNOWN, running=running, later=later
    )
    assert reported.unneeded == frozenset({"late"} if taken_back else ())
    assert any(isinstance(a, Cancel) for a in reported.actions) is taken_back
    assert not (taken_back and any(isinstance(a, Launch) for a in reported.actions))


def test_a_late_pilot_is_not_taken_back_if_another_would_be_requested_in_its_place():
    """It is the only one that can run the job, however soon the others have done the rest."""
    late = queued("late", -1000.0, WIDE)
    policy = replace(POLICY, offers=(OFFER, WIDE))
    known = replace(
        KNOWN,
        runtimes_s={**KNOWN.runtimes_s, GATHER: (60.0,) * 50},
        waits_s={**KNOWN.waits_s, "wide": (300.0,) * 50},
    )
    running = {"p1": (Running(SMALL, 4, -10.0),)}
    pilots = (pilot(), late)
    kept = decide({GATHER: 1}, pilots=pilots, known=known, policy=policy, running=running)
    assert kept.unneeded == frozenset()
    assert kept.actions == ()
    alone = decide({GATHER: 1}, pilots=pilots[:1], known=known, policy=policy, running=running)
    assert offers_of(alone) == {"wide": 1}
    other = decide({SMALL: 4}, pilots=pilots, known=known, policy=policy, running=running)
    assert other.unneeded == {"late"}
