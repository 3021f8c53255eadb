"""The short form of the published comparison: how far from the best possible our planner may be."""

import pytest

from snakemake_executor_plugin_osgpilot.simulate.bounds import limits
from snakemake_executor_plugin_osgpilot.simulate.compare import Task, measure, ratios
from snakemake_executor_plugin_osgpilot.simulate.peers.registry import OURS, RULES, Choice
from snakemake_executor_plugin_osgpilot.simulate.scenarios import SCENARIOS

JOBS, SEEDS = 200, 3

GOLDEN = {}
"""Makespan/T*, charged/CH* and failed starts, means over the seeds, with 10 % and one to spare."""


def means(name):
    runs = [measure(Task(name, Choice(OURS), seed, JOBS)) for seed in range(SEEDS)]
    assert all(run.finished for run in runs), [run.stopped for run in runs]
    against = ratios(runs)
    return (
        sum(ratio.makespan for ratio in against) / SEEDS,
        sum(ratio.charged for ratio in against) / SEEDS,
        sum(run.failed_starts for run in runs) / SEEDS,
    )


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_planner_is_no_worse_than_it_was(name):
    for value, golden in zip(means(name), GOLDEN[name], strict=True):
        assert value <= golden


@pytest.mark.parametrize("name", ["bag", "mixed", "dag", "bursts"])
@pytest.mark.parametrize("rule", [OURS, *RULES])
def test_nobody_beats_the_bounds(rule, name):
    run = measure(Task(name, Choice(rule), 5, 60))
    assert run.finished, run.stopped
    assert run.makespan_s >= run.limits.makespan_s(run.first_slot_s)
    assert run.charged_core_s >= run.limits.charged_core_s * (1 - 1e-6)


def test_a_budget_that_is_too_small_is_kept_and_said():
    run = measure(Task("budget", Choice(OURS), 1, JOBS))
    scenario = SCENARIOS["budget"]
    workload = scenario.workload(1, JOBS)
    policy = scenario.policy(workload)
    assert run.charged_core_s <= policy.core_s_max
    assert run.limits == limits(workload, scenario.site, policy)
