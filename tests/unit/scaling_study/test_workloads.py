"""Workflows to simulate: made from seeds, put together, taken from a run."""

import pytest

from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.scaling_study.scenarios import SCENARIOS
from snakemake_executor_plugin_osgpilot.simulator.workloads import (
    FAMILIES,
    Ended,
    Job,
    made,
    recorded,
    workload_of,
)

ONE = Shape(1, 1000)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_seed_decides_everything(family):
    again, same, other = made(family, 1, 200), made(family, 1, 200), made(family, 2, 200)
    assert again == same
    assert again.runtime_s != other.runtime_s


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_about_the_jobs_asked_for_and_every_rule_claims_enough(family):
    workload = made(family, 1, 1000)
    assert 0.9 <= len(workload) / 1000 <= 1.1
    for step, runtime_s in zip(workload.step_of, workload.runtime_s, strict=True):
        assert 0 < runtime_s <= (workload.steps[step].hint_s or 10**6)


def test_rules_that_say_the_same_are_one_step():
    workload = workload_of("w", [Job("a", ONE, 5.0), Job("b", ONE, 5.0, (0,)), Job("a", ONE, 7.0)])
    assert [step.rule for step in workload.steps] == ["a", "b"]
    assert list(workload.step_of) == [0, 1, 0]
    assert [list(workload.parents[n]) for n in range(3)] == [[], [0], []]
    assert workload.arrivals_s is None


def test_a_job_follows_earlier_ones_only():
    with pytest.raises(ValueError, match="job 0 follows one that is not before it"):
        workload_of("w", [Job("a", ONE, 5.0, (0,))])


def test_a_run_that_is_over_is_a_workload():
    rows = [
        Ended("k2", "b", ONE, 120.0, 150.0, ("k1", "done before")),
        Ended("k1", "a", ONE, 100.0, 110.0),
    ]
    workload = recorded("yesterday", rows)
    assert list(workload.runtime_s) == [10.0, 30.0]
    assert list(workload.parents[1]) == [0]


def test_every_scenario_has_pilots_for_its_jobs():
    for scenario in SCENARIOS.values():
        workload = scenario.workload(0, 50)
        offers = scenario.policy(workload).offers
        for step in workload.steps:
            assert any(offer.shape.holds(step.shape) for offer in offers)
