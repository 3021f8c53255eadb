"""The priority of a job: its rule's, its size, then how long the workflow takes from it on."""

import math

import pytest

from snakemake_executor_plugin_osgpilot.model.job_order import LEVELS, priority, urgency
from snakemake_executor_plugin_osgpilot.model.resources import Shape

PILOT = Shape(16, 64_000)
SMALL, LARGE, HUNGRY = Shape(1, 2000), Shape(8, 16_000), Shape(1, 24_000)


def test_the_rules_priority_then_memory_then_cores_then_urgency_decide():
    longest = LEVELS - 1
    in_order = [
        priority(SMALL, PILOT, 0, rule_priority=1),
        priority(HUNGRY, PILOT, 0),
        priority(LARGE, PILOT, 0),
        priority(SMALL, PILOT, longest),
        priority(SMALL, PILOT, 0),
        priority(HUNGRY, PILOT, longest, rule_priority=-1),
    ]
    assert in_order == sorted(in_order, reverse=True)
    assert len(set(in_order)) == len(in_order)


def test_a_longer_rest_is_more_urgent_and_similar_ones_are_alike():
    assert urgency(100) < urgency(130) < urgency(1000) < urgency(100_000)
    assert urgency(1000) == urgency(1050)
    assert 0 == urgency(0) <= urgency(1e30) == LEVELS - 1


@pytest.mark.parametrize("given", [10**18, -(10**18), 1.5, math.inf, -math.inf, math.nan])
def test_any_priority_of_a_rule_fits_into_what_htcondor_keeps(given):
    value = priority(Shape(10**6, 10**9), PILOT, LEVELS - 1, given)
    assert isinstance(value, int)
    assert -(2**31) < value < 2**31 - 1
