"""A few cheap faults under a small workflow; `tests/run --faults` has all of them and more jobs."""

import random

import pytest
from faults.fault import FAULTS
from faults.suite import harmed
from faults.world import World

from .conftest import Pool

JOBS = 40


@pytest.mark.parametrize("name", ["schedd", "event-log-truncated"])
def test_a_fault_costs_time_and_nothing_else(pool: Pool, name: str):
    folder = pool.work / name
    folder.mkdir()
    world = World(pool, folder, JOBS, random.Random(name))
    verdict = harmed(world, FAULTS[name])
    assert verdict.statuses == [0], world.said
    assert not verdict.lost
    assert not verdict.duplicated
    assert not verdict.left
