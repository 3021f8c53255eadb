"""Short jobs are bundled once it is known that they are short; all others go by themselves."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.avoidance import Place
from snakemake_executor_plugin_osgpilot.jobs.state.bundling import (
    AWAITED_S,
    LEAST_S,
    MEMBERS_MAX,
    TARGET_S,
    UNKNOWN_S,
    UNPROVEN_S,
    Bundler,
    Kind,
    RuleKnowledge,
    awaited_target_s,
    size,
    sizes,
)
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.table import JobTable
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.model.runtime_by_size import RuntimesBySize, Sample

ROOM = 10_000
HALF_A_SECOND = RuleKnowledge(ended=8, spent_s=4.0)


def decided(waiting, past, slots, target_s=TARGET_S, room=ROOM, **more):
    return sizes(waiting, past, slots, target_s, room, **more)


def test_a_few_jobs_of_a_new_rule_go_first():
    assert decided(400, RuleKnowledge(), 8) == [1] * 8
    assert decided(400, RuleKnowledge(idle=8), 8) == []
    assert decided(400, RuleKnowledge(idle=4, running=4, started_s=0.1), 8) == []


def test_more_follow_if_the_first_ones_do_not_end_soon():
    assert decided(400, RuleKnowledge(running=8, spent_s=24.0, started_s=3.0), 8) == [1] * 8


def test_more_follow_when_more_slots_have_come():
    assert len(decided(400, RuleKnowledge(running=4, started_s=1.0), 16)) == 12


def test_jobs_that_run_for_long_show_that_their_rule_is_none_for_bundles():
    running = RuleKnowledge(running=8, spent_s=8 * TARGET_S / 2, started_s=TARGET_S / 2)
    assert decided(400, running, 8) == [1] * 400


def test_few_jobs_do_not_wait():
    assert decided(8, RuleKnowledge(), 8) == [1] * 8


def test_short_jobs_are_bundled_as_many_as_there_is_work_for_every_slot():
    found = decided(400, HALF_A_SECOND, 8)
    assert len(found) == 8
    assert found[0] == 33, "two thirds of the rest, for each slot"
    assert found == sorted(found, reverse=True)


def test_bundles_that_wait_are_enough_until_half_of_them_have_started():
    for idle, added in ((8, 0), (5, 0), (4, 4), (0, 8)):
        assert len(decided(400, RuleKnowledge(ended=8, spent_s=4.0, idle=idle), 8)) == added


def test_jobs_that_still_run_count():
    """Of jobs that start together, those that end first are the shortest."""
    one_of_twenty = RuleKnowledge(ended=1, spent_s=20.0, running=19)
    assert one_of_twenty.expected_s(TARGET_S, 20) == 20.0 + UNKNOWN_S


def test_jobs_that_took_no_whole_second_may_have_taken_most_of_one():
    """Half a minute of work was taken for two seconds, and shared by all slots at once."""
    found = decided(400, RuleKnowledge(ended=8, spent_s=0.0), 8)
    assert len(found) == 8
    assert max(found) == 33
    measured = RuleKnowledge(ended=108, spent_s=5.0)
    assert measured.expected_s(TARGET_S, 8) < 0.1


def test_nothing_waits_for_a_process_that_may_leave():
    assert decided(400, RuleKnowledge(), 8, all_now=True) == [1] * 400
    assert sum(decided(400, HALF_A_SECOND, 8, all_now=True)) == 400


@pytest.mark.parametrize("expected_s", [31.0, 3600.0, math.inf])
def test_long_jobs_run_alone(expected_s):
    assert decided(400, RuleKnowledge(ended=1, spent_s=expected_s), 8) == [1] * 400


@given(st.integers(1, 5000), st.floats(0, 1e4), st.integers(1, 10_000), st.floats(1, 3600))
def test_no_bundle_takes_longer_than_its_target_or_leaves_slots_idle(
    waiting, expected_s, slots, target_s
):
    number = size(waiting, expected_s, slots, target_s)
    assert 1 <= number <= min(waiting, MEMBERS_MAX)
    if number > 1:
        assert number * expected_s <= target_s * 1.001
        assert number * max(expected_s, 1e-3) <= max(LEAST_S, waiting * expected_s / slots) * 1.001


@given(
    st.integers(0, 300), st.integers(0, 50), st.floats(0, 500), st.integers(0, 50),
    st.integers(0, 50), st.floats(0, 100), st.integers(1, 50), st.integers(1, 400),
    st.none() | st.floats(0, 100),
)  # fmt: skip
def test_jobs_are_submitted_within_the_room_and_none_waits_for_nothing(
    waiting, ended, spent_s, running, idle, started_s, slots, room, earlier_s
):
    past = RuleKnowledge(ended, spent_s, running, idle, started_s, earlier_s)
    found = sizes(waiting, past, slots, TARGET_S, room)
    assert all(found)
    assert sum(found) <= min(waiting, room)
    assert found or not waiting or idle or running or started_s < TARGET_S


def test_what_is_left_is_submitted_at_once_when_it_is_short():
    past = RuleKnowledge(ended=9, spent_s=9.0, idle=4)
    assert decided(int(4 * LEAST_S) + 1, past, 4) == []
    found = decided(20, past, 4)
    assert sum(found) == 20
    assert len(found) > 4


def test_the_last_bundles_take_longer_to_run_than_to_start():
    assert decided(80, RuleKnowledge(ended=400, spent_s=200.0, idle=4), 8)[-3:] == [5, 5, 3]


def test_little_work_is_shared_equally_by_all_slots():
    assert decided(80, RuleKnowledge(ended=40, spent_s=2.0), 8) == [10] * 8
    assert decided(9, RuleKnowledge(ended=4, spent_s=2.0), 8) == [2, 2, 2, 2, 1]


SHAPE = Shape(1, 500)


@pytest.fixture
def table():
    return JobTable()


def put(table, number, rule="map", **more):
    for n in range(number):
        key = f"{rule}{len(list(table))}-{n}"
        table.put(Job(key, rule, Request(JobClass(SHAPE)), bundle_s=TARGET_S, **more))


def test_jobs_of_a_rule_that_may_be_bundled_are_of_one_kind(table):
    bundler = Bundler(table, SHAPE)
    request = Request(JobClass(SHAPE))
    of_rule = {rule: Job("a", rule, request, bundle_s=TARGET_S) for rule in ("map", "sort")}
    kinds = {rule: bundler.kind_of(job) for rule, job in of_rule.items()}
    assert kinds == {rule: Kind(request, rule, TARGET_S) for rule in of_rule}
    assert bundler.kind_of(replace(of_rule["map"], key="b")) == kinds["map"]
    alone = [replace(job, bundle_s=0.0) for job in of_rule.values()]
    assert {bundler.kind_of(job) for job in alone} == {Kind(request)}


def test_a_job_that_failed_on_a_pilot_is_bundled_no_more(table):
    bundler = Bundler(table, SHAPE)
    job = Job("a", "map", Request(JobClass(SHAPE)), identity="i", bundle_s=TARGET_S)
    table.failed_at("i", Place("p1", "n1"))
    assert bundler.kind_of(job) == Kind(job.request)


def test_slots_are_those_of_the_pilots_there_are_or_of_one_before_the_first(table):
    bundler = Bundler(table, Shape(3, 9999))
    kind = Kind(Request(JobClass(SHAPE)), "map", TARGET_S)
    assert bundler.sizes({kind: 400}, ROOM, 0.0) == {kind: [1] * 3}
    bundler.shapes = (Shape(2, 9999), Shape(2, 9999))
    assert bundler.sizes({kind: 400}, ROOM, 0.0) == {kind: [1] * 4}
    bundler.shapes = ()
    assert bundler.sizes({kind: 400}, ROOM, 0.0) == {kind: [1] * 3}


def test_a_decision_follows_from_the_jobs_of_the_rule_as_they_are_now(table):
    """Ended ones, idle ones and running ones, each of this rule and not of another."""
    bundler = Bundler(table, Shape(4, 9999))
    kind = Kind(Request(JobClass(SHAPE)), "map", TARGET_S)
    put(table, 4, state=JobState.WAITING, job_id="1.0")
    assert bundler.sizes({kind: 400}, ROOM, 10.0) == {kind: []}
    other = kind._replace(rule="sort")
    assert bundler.sizes({other: 400}, ROOM, 10.0) == {other: [1] * 4}
    for job in list(table):
        ended = replace(job, state=JobState.ENDED, exit_status=0, busy_s=1.0)
        table.put(ended)
    found = bundler.sizes({kind: 400, other: 400}, ROOM, 10.0)
    assert max(found[kind]) > 1
    assert found[other] == [1] * 4
    running = {"state": JobState.RUNNING, "started_s": 1.0, "pilot": "p1"}
    put(table, 1, job_id="2.0", **running)
    assert set(bundler.sizes({kind: 400}, ROOM, 200.0)[kind]) == {1}, "one has run for 200 s"


def test_the_lead_of_a_bundle_counts_with_what_is_beyond_its_target(table):
    bundler = Bundler(table, Shape(4, 9999))
    kind = Kind(Request(JobClass(SHAPE)), "map", TARGET_S)
    put(table, 1, state=JobState.ENDED, exit_status=0, busy_s=1.0)
    put(table, 1, state=JobState.RUNNING, started_s=1.0, pilot="p1", job_id="2.0/0")
    assert max(bundler.sizes({kind: 400}, ROOM, 50.0)[kind]) > 1
    assert set(bundler.sizes({kind: 400}, ROOM, 100.0)[kind]) == {1}


@pytest.fixture
def thousands(table):
    """A kind of which jobs of half a second have ended, and one job runs: `map0-0`."""
    put(table, 1, state=JobState.RUNNING, started_s=0.0, pilot="p1", job_id="1.0")
    put(table, 8, state=JobState.ENDED, exit_status=0, busy_s=0.5)
    return Kind(Request(JobClass(SHAPE)), "map", TARGET_S)


def test_results_that_others_wait_for_one_by_one_come_back_early(table, thousands):
    bundler = Bundler(table, Shape(4, 9999))
    assert max(bundler.sizes({thousands: 4000}, ROOM, 0.0)[thousands]) > 2 * AWAITED_S
    bundler.expect(["map0-0", "gone"])
    assert 1 < max(bundler.sizes({thousands: 4000}, ROOM, 0.0)[thousands]) <= 2 * AWAITED_S
    bundler.expect([])
    assert max(bundler.sizes({thousands: 4000}, ROOM, 0.0)[thousands]) > 2 * AWAITED_S


def test_a_time_that_the_user_chose_stays(table, thousands):
    bundler = Bundler(table, Shape(4, 9999))
    bundler.expect(["map0-0"])
    chosen = thousands._replace(bundle_s=30.0)
    assert max(bundler.sizes({chosen: 4000}, ROOM, 0.0)[chosen]) > 2 * AWAITED_S


def test_early_results_never_take_more_starts_than_the_access_point_has():
    assert awaited_target_s(TARGET_S, 8) == AWAITED_S
    assert awaited_target_s(TARGET_S, 300) == 30.0
    assert awaited_target_s(TARGET_S, 10_000) == TARGET_S


def test_earlier_runs_are_believed_for_the_first_bundles_which_are_short():
    found = decided(4000, RuleKnowledge(earlier_s=0.5), 8)
    assert found == [int(UNPROVEN_S / 0.5)] * 8
    assert decided(4000, RuleKnowledge(earlier_s=0.5, idle=8), 8) == []
    assert decided(4000, RuleKnowledge(earlier_s=20.0), 8) == [1] * 8, (
        "a long one may be short by now"
    )
    now_long = RuleKnowledge(ended=8, spent_s=8 * 40.0, earlier_s=0.5)
    assert decided(4000, now_long, 8) == [1] * 4000, "this run knows better"


def test_earlier_runs_are_believed_no_more_once_a_bundle_takes_much_longer(table):
    runtimes = RuntimesBySize({"map": [Sample(1, 0.5)] * 20})
    bundler = Bundler(table, Shape(4, 9999), runtimes)
    kind = Kind(Request(JobClass(SHAPE)), "map", TARGET_S)
    put(table, 1, state=JobState.RUNNING, started_s=1.0, pilot="p1", job_id="1.0/0")
    assert max(bundler.sizes({kind: 400}, ROOM, UNPROVEN_S)[kind]) > 1
    assert set(bundler.sizes({kind: 400}, ROOM, 4 * UNPROVEN_S)[kind]) == {1}
