"""How long pilots are still busy when no job waits any more."""

import random

import pytest

from snakemake_executor_plugin_osgpilot.scaling.planner.residuals import Weighted, residual_s

FEW_LONG = [Weighted(300.0, 93.0), Weighted(5400.0, 7.0)]


def test_without_jobs_nothing_is_left():
    assert residual_s([]) == residual_s([Weighted(0.0, 3.0)]) == 0.0


def test_half_of_a_job_is_left_where_all_take_the_same():
    assert residual_s([Weighted(600.0, 2.0)]) == pytest.approx(300.0)


def test_the_last_of_three_equal_jobs_ends_after_three_quarters():
    assert residual_s([Weighted(600.0, 1.0)], 3) == pytest.approx(450.0)


def test_of_jobs_of_different_lengths_a_long_one_is_met_more_often():
    squares, sums = 93 * 300.0**2 + 7 * 5400.0**2, 93 * 300.0 + 7 * 5400.0
    assert residual_s(FEW_LONG) == pytest.approx(squares / (2 * sums))


@pytest.mark.parametrize("side_by_side", [1, 4, 16])
def test_the_mean_is_that_of_a_random_moment(side_by_side):
    rng = random.Random(1)
    weights = [each.weight * each.runtime_s for each in FEW_LONG]

    def rest_s():
        (met,) = rng.choices(FEW_LONG, weights)
        return rng.uniform(0, met.runtime_s)

    seen = [max(rest_s() for _ in range(side_by_side)) for _ in range(4000)]
    assert residual_s(FEW_LONG, side_by_side) == pytest.approx(sum(seen) / len(seen), rel=0.05)
