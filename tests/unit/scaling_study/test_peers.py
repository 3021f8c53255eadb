"""The decision of each peer's rule at a moment, checked against its formula."""

from collections import Counter
from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Drain, Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling_study.policies.cobald import CobaldLinear
from snakemake_executor_plugin_osgpilot.scaling_study.policies.dask import DaskAdaptive
from snakemake_executor_plugin_osgpilot.scaling_study.policies.glideinwms import GlideinWMS
from snakemake_executor_plugin_osgpilot.scaling_study.policies.hyperqueue import HyperQueue
from snakemake_executor_plugin_osgpilot.scaling_study.policies.parsl import ParslHtex, ParslSimple
from snakemake_executor_plugin_osgpilot.scaling_study.policies.pyglidein import Pyglidein
from snakemake_executor_plugin_osgpilot.scaling_study.policies.registry import (
    KNOBS,
    RULES,
    Choice,
    grid,
)
from snakemake_executor_plugin_osgpilot.scaling_study.policies.static import Static
from snakemake_executor_plugin_osgpilot.scaling_study.policies.taskvine import TaskVineFactory
from snakemake_executor_plugin_osgpilot.scaling_study.policies.zslurm import Zslurm

LARGE = PilotType("8c", Shape(8, 32_000), (3600, 7200))
SMALL = PilotType("4c", Shape(4, 16_000), (3600, 7200))
POLICY = Policy((LARGE, SMALL), pilots_max=100, pending_max=1, launches_max=1)
ONE = JobClass(Shape(1, 1000), 600)
FOUR = JobClass(Shape(4, 4000), 600)
FAT = JobClass(Shape(1, 20_000), 600)


def pilot(name, state=PilotState.READY, offer=SMALL, **more):
    times = {} if state.waits else {"started_s": -1000.0, "ends_s": 7000.0}
    return Pilot(name, offer.shape, state, offer.name, 7200, **(times | more))


def pilots(count, state=PilotState.READY):
    return [pilot(f"{state.value}-{n}", state) for n in range(count)]


def busy(listed, job_class=ONE, jobs=4):
    return {p.name: (Running(job_class, jobs, -10.0),) for p in listed}


def said(rule, waiting=(), listed=(), now_s=0.0, running=None, policy=POLICY, **more):
    snapshot = Snapshot(now_s, Counter(dict(waiting)), tuple(listed), running or {}, **more)
    return rule(snapshot, more.pop("known", Estimates()), policy).actions


def launched(*args, **more):
    return Counter(a.offer for a in said(*args, **more) if isinstance(a, Launch))


def released(*args, **more):
    return {a.pilot: type(a) for a in said(*args, **more) if not isinstance(a, Launch)}


@pytest.mark.parametrize("rule", RULES)
def test_all_pilots_go_when_no_job_is_left(rule):
    planner = RULES[rule](SMALL, 3600)
    listed = [pilot("waits", PilotState.PENDING), pilot("up")]
    assert released(planner, listed=listed) == {"waits": Cancel, "up": Drain}


@pytest.mark.parametrize("rule", RULES)
def test_nobody_exceeds_the_cores_or_the_budget_that_slurm_allows(rule):
    tight = replace(POLICY, cores_max=8, core_s_max=10**9)
    planner = RULES[rule](SMALL, 3600)
    assert launched(planner, {ONE: 1000}, policy=tight)["4c"] <= 2
    poor = replace(POLICY, core_s_max=4 * 3600 * 1.5)
    planner = RULES[rule](SMALL, 3600)
    assert launched(planner, {ONE: 1000}, policy=poor)["4c"] <= 1


@pytest.mark.parametrize("rule", RULES)
def test_every_choice_of_a_grid_gives_a_planner_that_starts_pilots_for_work(rule):
    for choice in grid(rule, POLICY.offers):
        planner = choice.planner(POLICY)
        asked = sum(launched(planner, {ONE: 1000}, now_s=20.0 * tick).total() for tick in range(30))
        assert asked, choice


def test_an_unknown_policy_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="no policy 'nobody'; known are osgpilot, cobald"):
        Choice("nobody").planner(POLICY)


def test_knobs_are_parameters_of_their_rules():
    assert set(KNOBS) == set(RULES)


# pyglidein


def test_pyglidein_starts_a_pilot_for_each_idle_job_of_the_job_s_shape():
    planner = Pyglidein(LARGE, 3600)
    assert launched(planner, {ONE: 3, FAT: 2}) == {"4c": 3, "8c": 2}


def test_pyglidein_asks_again_for_the_same_jobs_but_only_every_300_s():
    planner = Pyglidein(LARGE, 3600)
    assert launched(planner, {ONE: 3}).total() == 3
    assert launched(planner, {ONE: 3}, pilots(3, PilotState.PENDING), 299.0).total() == 0
    assert launched(planner, {ONE: 3}, pilots(3, PilotState.PENDING), 300.0).total() == 3


def test_pyglidein_keeps_to_its_limits():
    assert launched(Pyglidein(LARGE, 3600), {ONE: 500}).total() == 50
    pending = pilots(15, PilotState.PENDING)
    assert launched(Pyglidein(LARGE, 3600, max_idle=20), {ONE: 500}, pending).total() == 5


# hyperqueue


def test_hyperqueue_probes_until_it_knows_a_worker_then_goes_to_its_backlog():
    planner = HyperQueue(SMALL, 3600, backlog=4)
    assert launched(planner, {ONE: 400}).total() == 1
    up = pilots(1)
    assert launched(planner, {ONE: 400}, up, running=busy(up)).total() == 4
    queued = [*up, *pilots(3, PilotState.PENDING)]
    assert launched(planner, {ONE: 400}, queued, running=busy(up)).total() == 1


def test_hyperqueue_asks_for_no_more_workers_than_it_could_load():
    planner = HyperQueue(SMALL, 3600, backlog=10)
    up = pilots(1)
    assert launched(planner, {ONE: 4}, up).total() == 0
    assert launched(planner, {ONE: 9}, up).total() == 2
    assert launched(planner, {FOUR: 3}, up).total() == 2


def test_hyperqueue_waits_after_a_failure_and_pauses_for_good_after_three():
    planner = HyperQueue(SMALL, 3600)
    failed = pilot("f1", PilotState.FAILED, ended_s=0.0)
    assert launched(planner, {ONE: 4}, [failed], 30.0).total() == 0
    assert launched(planner, {ONE: 4}, [failed], 61.0).total() == 1
    three = [pilot(f"f{n}", PilotState.FAILED, ended_s=0.0) for n in range(3)]
    assert launched(planner, {ONE: 4}, three, 1e6).total() == 0


# parsl


def test_parsl_counts_tasks_not_cores():
    planner = ParslSimple(SMALL, 3600)
    up = pilots(1)
    assert launched(planner, {ONE: 8}, up, running=busy(up)).total() == 2
    assert launched(planner, {FOUR: 8}, up, running=busy(up, FOUR, 1)).total() == 2
    assert launched(replace(planner, cores_per_worker=4), {FOUR: 8}, up).total() == 7


def test_parsl_starts_with_one_block_and_weighs_by_parallelism():
    assert launched(ParslSimple(SMALL, 3600), {ONE: 100}).total() == 1
    up = pilots(1)
    half = ParslSimple(SMALL, 3600, parallelism=0.5)
    assert launched(half, {ONE: 96}, up, running=busy(up)).total() == 12 - 1 + 1


def test_parsl_simple_lets_nothing_go_while_there_are_tasks_htex_does():
    listed = [*pilots(2), *pilots(2, PilotState.PENDING)]
    running = busy(listed[:1])
    assert not released(ParslSimple(SMALL, 3600), {}, listed, running=running)
    assert released(ParslHtex(SMALL, 3600), {}, listed, running=running) == {
        "pending-0": Cancel,
        "pending-1": Cancel,
    }
    planner = ParslHtex(SMALL, 3600)
    assert not released(planner, {}, listed[:2], running=running)
    gone = released(planner, {}, listed[:2], now_s=120.0, running=running)
    assert gone == {"ready-1": Drain}


# dask


def test_dask_divides_work_by_its_target():
    planner = DaskAdaptive(SMALL, 3600, target_s=600.0)
    # the declared runtime is taken for twice the actual one
    assert launched(planner, {ONE: 64}).total() == 64 * 300 // 600 // 4
    assert launched(DaskAdaptive(SMALL, 3600, target_s=1.0), {ONE: 64}).total() == 16


def test_dask_takes_pending_workers_back_after_a_short_hold():
    planner = DaskAdaptive(SMALL, 3600, target_s=600.0, hold_s=60.0)
    listed = pilots(5, PilotState.PENDING)
    assert not released(planner, {ONE: 8}, listed)
    assert not released(planner, {ONE: 8}, listed, 59.0)
    assert len(released(planner, {ONE: 8}, listed, 60.0)) == 4


# glideinWMS


def test_glideinwms_keeps_a_third_of_the_idle_jobs_worth_queued():
    assert launched(GlideinWMS(SMALL, 3600), {ONE: 120}).total() == 10
    assert launched(GlideinWMS(SMALL, 3600), {ONE: 120}, pilots(4, PilotState.PENDING)).total() == 6
    assert launched(GlideinWMS(SMALL, 3600), {ONE: 1}).total() == 1


def test_glideinwms_takes_idle_slots_for_supply_although_a_job_may_not_fit():
    assert launched(GlideinWMS(LARGE, 3600), {FAT: 1}, pilots(4)).total() == 0


def test_glideinwms_lets_go_after_five_and_ten_quiet_cycles():
    planner = GlideinWMS(SMALL, 3600)
    listed = [pilot("up"), pilot("busy"), pilot("waits", PilotState.PENDING)]
    running = busy([listed[1]])
    gone = [
        set(released(planner, {}, listed, 60.0 * cycle, running=running)) for cycle in range(1, 11)
    ]
    assert gone[3:] == [set(), *[{"waits"}] * 5, {"waits", "up"}]


# COBalD


def test_cobald_grows_by_the_clock_and_does_not_see_the_queue():
    planner = CobaldLinear(SMALL, 3600, rate=1.0)
    assert launched(planner, {ONE: 1000}).total() == 1
    up = pilots(1)
    assert launched(planner, {ONE: 1000}, up, 40.0, running=busy(up)).total() == 10
    planner = CobaldLinear(SMALL, 3600, rate=1.0)
    assert launched(planner, {ONE: 1}).total() == 1


def test_cobald_shrinks_while_utilisation_is_low():
    planner = CobaldLinear(SMALL, 3600, rate=1.0)
    listed = pilots(4)
    said(planner, {ONE: 1}, listed, running=busy(listed))
    planner._demand = 16.0
    gone = released(planner, {ONE: 1}, listed, 30.0, running=busy(listed[:1]))
    assert gone
    assert "ready-0" not in gone


# TaskVine


def test_taskvine_has_five_unproven_workers_at_most():
    planner = TaskVineFactory(SMALL, 3600)
    assert launched(planner, {ONE: 100}).total() == 5
    assert launched(planner, {ONE: 100}, pilots(3, PilotState.BOOTING)).total() == 2
    assert launched(planner, {ONE: 8}).total() == 2
    assert launched(TaskVineFactory(LARGE, 3600), {FAT: 3}).total() == 3 * 20 // 32 + 1


# zslurm


def test_zslurm_starts_a_fifth_of_what_is_missing_then_pauses():
    planner = Zslurm(SMALL, 3600)
    up = pilots(1)
    assert launched(planner, {ONE: 80}, up, running=busy(up)).total() == 4
    assert launched(planner, {ONE: 80}, up, 499.0, running=busy(up)).total() == 0
    assert launched(planner, {ONE: 80}, up, 500.0, running=busy(up)).total() == 4
    assert launched(Zslurm(SMALL, 3600), {ONE: 4}, up, running=busy(up)).total() == 0


# static


def test_a_static_pool_replaces_what_has_ended():
    planner = Static(SMALL, 3600, pilots=3)
    assert launched(planner, {ONE: 1}).total() == 3
    assert launched(planner, {ONE: 1}, [*pilots(2), pilot("x", PilotState.DONE)]).total() == 1
