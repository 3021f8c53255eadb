"""The rates at which the sequential test suspects good pilots, and misses bad ones."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.black_holes import (
    BAD_SHARE,
    FALSE_ALARM,
    MISSED,
    PASSED_AT,
    SUSPECT_AT,
    USUAL_SHARE_MAX,
    USUAL_SHARE_MIN,
    Usual,
    black_holes,
    evidence,
)
from snakemake_executor_plugin_osgpilot.jobs.state.table import PilotOutcomes

TESTS = 20_000


def suspected(chance: random.Random, share: float, usual: float) -> bool:
    """Do one test of a pilot on which `share` of the jobs fail; whether it ends in suspicion."""
    total = 0.0
    while PASSED_AT < total < SUSPECT_AT:
        total += evidence(chance.random() < share, usual)
    return total >= SUSPECT_AT


@pytest.mark.parametrize("usual", [USUAL_SHARE_MIN, 0.05, 0.1, USUAL_SHARE_MAX])
def test_a_good_pilot_is_hardly_ever_suspected(usual):
    chance = random.Random(f"good {usual}")
    found = sum(suspected(chance, usual, usual) for _ in range(TESTS))
    # three standard deviations beside what Wald allows
    allowed = TESTS * FALSE_ALARM / (1 - MISSED)
    assert found <= allowed + 3 * allowed**0.5


@pytest.mark.parametrize("usual", [USUAL_SHARE_MIN, 0.05, 0.1, USUAL_SHARE_MAX])
def test_a_bad_pilot_is_hardly_ever_passed(usual):
    chance = random.Random(f"bad {usual}")
    passed = sum(not suspected(chance, BAD_SHARE, usual) for _ in range(TESTS))
    allowed = TESTS * MISSED / (1 - FALSE_ALARM)
    assert passed <= allowed + 3 * allowed**0.5


@pytest.mark.parametrize("usual", [USUAL_SHARE_MIN, 0.05, 0.1])
def test_where_all_jobs_fail_a_handful_is_enough(usual):
    assert sum(evidence(True, usual) for _ in range(5)) >= SUSPECT_AT


def outcomes(jobs: list[tuple[str, bool]]) -> PilotOutcomes:
    there = PilotOutcomes()
    for rule, failed in jobs:
        there.add(rule, failed=failed)
    return there


ENDS = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=40).map(outcomes)


@given(st.dictionaries(st.sampled_from(["p1", "p2", "p3", "p4"]), ENDS))
def test_a_pilot_is_suspected_only_where_its_rules_do_better_elsewhere(ended):
    for pilot in black_holes(ended):
        here = ended[pilot]
        assert any(
            there.ended[rule] and 2 * there.failed[rule] <= there.ended[rule]
            for rule in here.failed
            for other, there in ended.items()
            if other != pilot
        )
    assert black_holes(ended).keys() != ended.keys() or not ended


@given(st.integers(0, 500), st.integers(0, 500))
def test_what_is_usual_is_a_share_between_the_bounds(good, failed):
    share = Usual(good + failed, failed).share
    assert share is None or USUAL_SHARE_MIN <= share <= USUAL_SHARE_MAX
