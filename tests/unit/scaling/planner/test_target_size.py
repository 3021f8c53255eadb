"""The number of cores worth having, for the whole run."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.scaling.planner.target_size import (
    WorkPhase,
    cores_for_all,
    cores_worth_having,
)

BURST = WorkPhase(work_core_s=200_000.0, lead_s=500.0, overhead_s=400.0)
LATER = BURST._replace(elapsed_s=2400.0, spent_core_s=250_000.0)

seconds = st.floats(1.0, 1e6)
phases = st.builds(WorkPhase, seconds, seconds, seconds, st.floats(0.0, 1e6), st.floats(0.0, 1e6))


@given(phases, st.floats(0.05, 0.95))
def test_no_other_number_of_cores_makes_the_run_cheaper(phase, cost_weight):
    def price(cores):
        return phase.price(phase.time_s(cores), phase.charged_core_s(cores), cost_weight)

    best = cores_worth_having(phase, cost_weight)
    assert price(best) <= price(best * 1.1) * (1 + 1e-9)
    assert price(best) <= price(best / 1.1) * (1 + 1e-9)


def test_fewer_cores_are_worth_having_once_the_run_has_taken_long():
    """A minute is a smaller share of its time."""
    waited = BURST._replace(elapsed_s=2400.0)
    assert cores_worth_having(waited, 0.5) < 0.5 * cores_worth_having(BURST, 0.5)


def test_more_cores_are_worth_having_once_the_run_has_cost_much():
    """A core-hour is a smaller share of its charge."""
    charged = BURST._replace(spent_core_s=BURST.work_core_s)
    assert cores_worth_having(charged, 0.5) == pytest.approx(
        math.sqrt(2) * cores_worth_having(BURST, 0.5)
    )


def test_a_burst_in_the_middle_of_a_run_gets_fewer_cores_than_the_first():
    assert cores_for_all(LATER, 0.0, 0.0, 0.5) < 0.8 * cores_for_all(BURST, 0.0, 0.0, 0.5)
