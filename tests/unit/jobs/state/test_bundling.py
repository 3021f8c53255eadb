"""Short jobs are bundled once it is known that they are short; all others go by themselves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.bundling import (
    LEAST_S,
    MEMBERS_MAX,
    TARGET_S,
    Past,
    size,
    split,
)

KEYS = [f"{n:06}" for n in range(400)]
HALF_A_SECOND = Past(ended=8, spent_s=4.0)


def test_a_few_jobs_of_a_new_rule_go_first():
    assert split(KEYS, Past(), 8, TARGET_S) == [(key,) for key in KEYS[:8]]
    assert split(KEYS, Past(idle=8), 8, TARGET_S) == []
    assert split(KEYS, Past(idle=4, running=4, started_s=0.1), 8, TARGET_S) == []


def test_more_follow_if_the_first_ones_do_not_end_soon():
    running = Past(running=8, spent_s=24.0, started_s=3.0)
    assert split(KEYS, running, 8, TARGET_S) == [(key,) for key in KEYS[:8]]


def test_more_follow_when_more_slots_have_come():
    assert len(split(KEYS, Past(running=4, started_s=1.0), 16, TARGET_S)) == 12


def test_jobs_that_run_for_long_show_that_their_rule_is_none_for_bundles():
    running = Past(running=8, spent_s=8 * TARGET_S / 2, started_s=TARGET_S / 2)
    assert split(KEYS, running, 8, TARGET_S) == [(key,) for key in KEYS]


def test_few_jobs_do_not_wait():
    assert split(KEYS[:8], Past(), 8, TARGET_S) == [(key,) for key in KEYS[:8]]


def test_short_jobs_are_bundled_as_many_as_there_is_work_for_every_slot():
    parts = split(KEYS, HALF_A_SECOND, 8, TARGET_S)
    assert len(parts) == 8
    assert len(parts[0]) == 25, "half of what is left, for each of the slots"
    assert [len(part) for part in parts] == sorted(map(len, parts), reverse=True)


def test_bundles_that_wait_are_enough():
    assert split(KEYS, Past(ended=8, spent_s=4.0, idle=8), 8, TARGET_S) == []
    assert len(split(KEYS, Past(ended=8, spent_s=4.0, idle=5), 8, TARGET_S)) == 3


def test_jobs_that_still_run_count():
    """Of jobs that start together, those that end first are the shortest."""
    one_of_twenty = Past(ended=1, spent_s=20.0, running=19)
    assert one_of_twenty.expected_s(TARGET_S) == 20.0


def test_nothing_waits_for_a_process_that_may_leave():
    assert split(KEYS, Past(), 8, TARGET_S, all_now=True) == [(key,) for key in KEYS]
    parts = split(KEYS, HALF_A_SECOND, 8, TARGET_S, all_now=True)
    assert [key for part in parts for key in part] == KEYS


@pytest.mark.parametrize("expected_s", [31.0, 3600.0, math.inf])
def test_long_jobs_run_alone(expected_s):
    past = Past(ended=1, spent_s=expected_s)
    assert split(KEYS, past, 8, TARGET_S) == [(key,) for key in KEYS]


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
    st.integers(0, 50), st.floats(0, 100), st.integers(1, 50),
)  # fmt: skip
def test_parts_are_the_first_jobs_in_their_order(
    count, ended, spent_s, running, idle, started_s, slots
):
    keys = KEYS[:count]
    parts = split(keys, Past(ended, spent_s, running, idle, started_s), slots, TARGET_S)
    now = [key for part in parts for key in part]
    assert now == keys[: len(now)]
    assert now or not keys or idle or running or started_s < TARGET_S, "no job waits for nothing"


def test_what_is_left_is_submitted_at_once_when_it_is_short():
    past = Past(ended=9, spent_s=9.0, idle=4)
    assert len(KEYS) > 4 * LEAST_S
    assert len(split(KEYS, past, 4, 60.0)) == 0
    left = KEYS[-20:]
    parts = split(left, past, 4, 60.0)
    assert [key for part in parts for key in part] == left
    assert len(parts) > 4
