"""A few cheap faults under small workflows; `tests/run --faults` has all of them."""

import pytest
from faults import suite  # noqa: F401  # it brings all faults
from faults.fault import FAULTS
from faults.rounds import play
from faults.table import Trial

from .conftest import Pool

JOBS = 40


@pytest.mark.parametrize("name", ["schedd", "event-log-truncated"])
def test_a_fault_costs_time_and_nothing_else(pool: Pool, name: str):
    assert name in FAULTS
    verdicts = play(pool, [Trial(name, number, name, JOBS, short=True) for number in range(2)])
    assert not any(verdict.bad for verdict in verdicts), verdicts
    assert [verdict.statuses for verdict in verdicts] == [[0], [0]], verdicts
    assert not all(verdict.missed for verdict in verdicts), verdicts
