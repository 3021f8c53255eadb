"""Makespan and core-hours that nobody beats, on workloads whose best is known."""

import random
from contextlib import suppress
from dataclasses import replace
from itertools import combinations_with_replacement, product

import pulp
import pytest
import workloads

from snakemake_executor_plugin_osgpilot.model.plan import Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.scaling_study import min_core_hours_lp
from snakemake_executor_plugin_osgpilot.scaling_study.clairvoyant_supply import (
    Foresight,
    Kind,
    capacity_cores,
)
from snakemake_executor_plugin_osgpilot.scaling_study.lower_bounds import limits
from snakemake_executor_plugin_osgpilot.scaling_study.min_core_hours_lp import (
    full_patterns,
    least_core_s,
)
from snakemake_executor_plugin_osgpilot.scaling_study.supply_curve import Supply
from snakemake_executor_plugin_osgpilot.simulator.model import (
    Faults,
    OtherJob,
    Outage,
    Site,
    Spread,
    Waits,
)
from snakemake_executor_plugin_osgpilot.simulator.workloads import Job, workload_of
from snakemake_executor_plugin_osgpilot.simulator.world import run

ONE, TWO, FAT = Shape(1, 1000), Shape(2, 2000), Shape(1, 12_000)
LEAN = PilotType("lean", Shape(4, 8000), (3600, 86_400))
RICH = PilotType("rich", Shape(4, 48_000), (3600,))
POLICY = Policy((LEAN,), cores_max=4)
SITE = Site(
    "s", (LEAN,), waits=Waits(60.0, 0.0, cores_power=0.0, walltime_power=0.0), boot=Spread(60.0),
    negotiation_s=20.0, start_s=0.0, next_s=0.0,
)  # fmt: skip
"""The first pilot is up after two minutes, and the next jobs start at once."""

UP_S = 120.0


def shortest(jobs, site=SITE, policy=POLICY, seed=0):
    """Return T* from the first slot on."""
    return limits(workload_of("w", jobs), site, policy, seed).makespan_s - UP_S


# supply


def test_a_supply_tells_what_is_done_and_when_so_much_is():
    supply = Supply.of([(10.0, 2), (20.0, 4), (15.0, 0)], 5)
    assert list(supply.steps()) == [(10.0, 2), (20.0, 3)]
    assert [supply.at(t) for t in (9, 10, 20, 99)] == [0, 2, 5, 5]
    assert [supply.done(t) for t in (10, 15, 20, 30)] == [0, 10, 20, 70]
    assert [supply.when(w) for w in (0, 10, 20, 70)] == [0, 15, 20, 30]
    assert Supply.of([], 5).when(1.0) == float("inf")


def test_two_supplies_are_the_lesser_of_both_and_lanes_are_whole():
    supply = Supply.of([(10.0, 2), (20.0, 3)], 5)
    assert list(supply.under(Supply.of([(0.0, 1), (30.0, 9)], 10)).steps()) == [(10, 1), (30, 4)]
    assert list(supply.lanes(0.5).steps()) == [(10, 1), (20, 1)]
    assert list(supply.later(lambda at_s: at_s + 1).steps()) == [(11, 2), (21, 3)]


# makespan


def test_a_chain_takes_its_length_however_many_cores_there_are():
    assert shortest([Job("a", ONE, 100.0, (n - 1,) if n else ()) for n in range(5)]) == 500


def test_a_bag_takes_its_work_shared_by_all_cores_or_all_memory():
    assert shortest([Job("a", ONE, 100.0)] * 40) == 1000
    assert shortest([Job("a", Shape(1, 3968), 100.0)] * 40) == 2000


def test_work_between_two_gates_takes_longer_than_path_and_area_say():
    """One job, forty, one: path 300, area 1,050; but the forty need 1,000 of their own."""
    jobs = [Job("a", ONE, 100.0), *[Job("b", ONE, 100.0, (0,))] * 40]
    jobs.append(Job("c", ONE, 100.0, tuple(range(1, 41))))
    assert shortest(jobs) == 1200


def test_behind_a_gate_the_next_job_waits_for_a_round_of_the_negotiator():
    jobs = [Job("a", ONE, 101.0), *[Job("b", ONE, 100.0, (0,))] * 40]
    jobs.append(Job("c", ONE, 100.0, tuple(range(1, 41))))
    assert shortest(jobs) == 120 + 1000 + 100


def test_a_job_of_a_class_that_is_under_way_need_not_wait_for_a_round():
    """The second b may take over the slot of the first, which ends between two rounds."""
    jobs = [Job("a", ONE, 105.0), Job("a", TWO, 125.0), Job("b", ONE, 7.0, (0,))]
    assert shortest([*jobs, Job("b", ONE, 7.0, (1,))]) == 125 + 7


def test_jobs_of_a_class_are_taken_in_their_order():
    """Five on four cores: the long one is last, and no rule of scaling can begin with it."""
    jobs = [*[Job("a", ONE, 100.0)] * 4, Job("a", ONE, 300.0)]
    assert shortest(jobs) == 400
    assert limits(workload_of("w", jobs), SITE, POLICY, 0).any_order_s - UP_S == 300
    unruly = replace(SITE, faults=Faults(node_failures_per_h=0.1))
    assert shortest(jobs, unruly) == 300


def test_jobs_that_come_late_end_late_but_the_first_slot_may_come_meanwhile():
    assert shortest([Job("a", ONE, 100.0), Job("a", ONE, 100.0, arrival_s=900.0)]) == 1000 - UP_S
    assert shortest([Job("a", ONE, 100.0), Job("a", ONE, 100.0, arrival_s=60.0)]) == 100


def test_a_job_needs_a_pilot_that_lives_long_enough_and_that_waits_for_it():
    longer = replace(SITE, waits=SITE.waits._replace(walltime_s=3600, walltime_power=1.0))
    assert shortest([Job("a", ONE, 100.0)], longer) == 100
    assert shortest([Job("a", ONE, 5000.0)], longer) == 60 * 23 + 5000
    assert shortest([Job("a", ONE, 100.0, hint_s=5000)], longer) == 60 * 23 + 100
    with pytest.raises(ValueError, match=r"no pilot of 1 kinds holds .* that takes 90000 s"):
        shortest([Job("a", ONE, 90_000.0)])


def test_an_outage_is_over_before_the_first_pilot_boots():
    down = replace(SITE, faults=Faults(outages=(Outage(0.0, 600.0),)))
    assert shortest([Job("a", ONE, 100.0)], down) == 600 + 60 + 100 - UP_S


def test_what_others_hold_who_come_first_is_not_there():
    """Two of four cores are occupied for 595 s after Slurm's first look; then all four are free."""
    site = replace(
        SITE, waits=None, nodes=1, node_shape=Shape(4, 8000), boot=Spread(115.0),
        background=(OtherJob(0.0, 2, 595.0, 900.0), OtherJob(1.0, 2, 900.0, 900.0)),
    )  # fmt: skip
    assert shortest([Job("a", ONE, 480.0)] * 2, site) == 480
    assert shortest([Job("a", ONE, 480.0)] * 6, site) == 480 + 480


def test_the_site_and_the_user_limit_what_there_can_be_at_a_time():
    assert capacity_cores(SITE, POLICY) == 4
    assert capacity_cores(SITE, replace(POLICY, cores_max=None, pilots_max=3)) == 12
    queue = replace(SITE, waits=None, nodes=1, node_shape=Shape(2, 9000))
    assert capacity_cores(queue, POLICY) == 2


# core-hours


def test_the_charge_is_that_of_the_best_mix_of_pilots():
    assert least_core_s({ONE: 800.0}, (LEAN, RICH)) == pytest.approx(800)
    assert least_core_s({FAT: 800.0}, (LEAN, RICH)) == pytest.approx(800)
    assert least_core_s({Shape(1, 24_000): 800.0}, (LEAN, RICH)) == pytest.approx(1600)


def test_small_jobs_use_the_cores_beside_fat_ones():
    assert least_core_s({Shape(1, 46_000): 100.0, ONE: 200.0}, (RICH,)) == pytest.approx(400)


def test_jobs_are_charged_whole_pilots_that_nothing_else_fits_into():
    """Three cores of four: in pieces, four of them would fit into three pilots."""
    assert least_core_s({Shape(3, 1000): 900.0}, (LEAN,)) == pytest.approx(3600)
    assert least_core_s({Shape(3, 1000): 900.0, ONE: 500.0}, (LEAN,)) == pytest.approx(3600)
    assert least_core_s({Shape(3, 1000): 900.0, TWO: 500.0}, (LEAN,)) == pytest.approx(4600)


def test_sets_of_jobs_fill_a_pilot_each_once_and_leave_no_room():
    shapes = [Shape(3, 3000), TWO, ONE, FAT]
    for offer in (LEAN, RICH):
        found = list(full_patterns(offer.shape, shapes))
        assert len(found) == len(set(found))
        every = [
            counts
            for counts in product(range(5), repeat=4)
            if left(offer.shape, shapes, counts) is not None
        ]
        full = [c for c in every if not any(map(left(offer.shape, shapes, c).holds, shapes))]
        assert sorted(found) == sorted(full)


def left(room, shapes, counts):
    """Return what so many jobs leave of `room`, None if they do not fit."""
    for shape, count in zip(shapes, counts, strict=True):
        room -= shape.times(count)
    return room if min(room) >= 0 else None


def test_where_too_many_sets_of_jobs_fill_a_pilot_they_may_be_cut(monkeypatch):
    monkeypatch.setattr(min_core_hours_lp, "PATTERNS_MAX", 1)
    work = {Shape(3, 1000): 900.0, TWO: 500.0}
    assert least_core_s(work, (LEAN,)) == pytest.approx(3700)


def test_a_job_that_fits_no_pilot_has_no_bound():
    with pytest.raises(ValueError, match="no pilot of 1 kinds holds a job of 1 core, 12000 MB"):
        least_core_s({FAT: 1.0}, (LEAN,))


# nobody is better


def optimum_s(jobs, supply, tick_s=60.0):
    """Return the shortest makespan of any schedule of `jobs`, whose times are whole ticks, on the
    cores of `supply`: an integer program with a start for each job and tick.
    """
    ticks = range(int((supply.when(1.0) + sum(job.runtime_s for job in jobs)) / tick_s) + 12)
    lasts = [round(job.runtime_s / tick_s) for job in jobs]
    program = pulp.LpProblem("schedule", pulp.LpMinimize)
    end = pulp.LpVariable("end", lowBound=0)
    program += end
    begins = [
        [pulp.LpVariable(f"begin_{j}_{t}", cat="Binary") for t in ticks] for j in range(len(jobs))
    ]
    at = [pulp.lpSum(t * begin for t, begin in enumerate(row)) for row in begins]
    for j, job in enumerate(jobs):
        program += pulp.lpSum(begins[j]) == 1
        program += at[j] + lasts[j] <= end
        for parent in job.parents:
            program += at[parent] + lasts[parent] <= at[j]
    for t in ticks:
        load = [
            job.shape.cores * pulp.lpSum(begins[j][max(0, t - lasts[j] + 1) : t + 1])
            for j, job in enumerate(jobs)
        ]
        program += pulp.lpSum(load) <= supply.at(t * tick_s)
    program.solve(pulp.PULP_CBC_CMD(msg=False))
    return tick_s * pulp.value(end)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:pulp")
@pytest.mark.parametrize("seed", range(12))
def test_no_schedule_at_all_beats_the_bound_for_any_order(seed):
    rng = random.Random(seed)
    site = replace(
        SITE, waits=None, nodes=1, node_shape=Shape(4, 8000), boot=Spread(115.0),
        negotiation_s=60.0,
        background=(OtherJob(0.0, rng.choice((1, 2)), 60.0 * rng.randint(4, 8) - 5, 3600.0),),
    )  # fmt: skip
    jobs = []
    for number in range(6):
        parents = tuple(sorted(rng.sample(range(number), rng.randint(0, min(number, 2)))))
        shape = rng.choice((ONE, ONE, TWO))
        jobs.append(Job(f"r{shape.cores}", shape, 60.0 * rng.randint(1, 4), parents))
    supply = (
        Foresight(site, POLICY, 0).supply([Kind(4, 3600)]).later(lambda at_s: 60 * -(-at_s // 60))
    )
    bound_s = limits(workload_of("w", jobs), site, POLICY, 0).any_order_s
    best_s = optimum_s(jobs, supply)
    assert 0.75 * best_s < bound_s <= best_s + 0.01


class Script:
    """A planner that starts these pilots at its first look, and then none."""

    heeds_gates = False

    def __init__(self, launches):
        self._launches = tuple(Launch(*launch, "script") for launch in launches)

    def __call__(self, *_):
        launches, self._launches = self._launches, ()
        return Plan(launches)


class GaveUpError(Exception):
    """All pilots of a script are over, and jobs are left."""


class ImpatientScript(Script):
    """A script that does not wait for the end of a simulation that goes nowhere."""

    def __call__(self, snapshot, *_):
        decided = super().__call__()
        if not decided.actions and all(pilot.state.over for pilot in snapshot.pilots):
            raise GaveUpError
        return decided


@pytest.mark.parametrize("seed", range(3))
def test_no_choice_of_pilots_beats_the_bounds(seed):
    """All ways to ask for up to four pilots at once, of four kinds, on eight cores at most."""
    one, two = (PilotType(f"{n}c", Shape(n, 4000 * n), (3600, 7200)) for n in (1, 2))
    policy = Policy((two, one), pilots_max=8, pending_max=8, cores_max=8)
    site = Site("s", policy.offers, waits=Waits(300.0), idle_s=60.0)
    rng = random.Random(seed)
    jobs = [Job("a", ONE, rng.lognormvariate(6.0, 0.5), hint_s=1200) for _ in range(20)]
    jobs.append(Job("b", TWO, 300.0, tuple(range(20)), hint_s=1200))
    bound = limits(workload_of("w", jobs), site, policy, seed)
    kinds = [(offer.name, walltime_s) for offer in policy.offers for walltime_s in (3600, 7200)]
    best_s = best_core_s = float("inf")
    for count in range(1, 5):
        for launches in combinations_with_replacement(kinds, count):
            with suppress(GaveUpError):
                told = run(workload_of("w", jobs), site, ImpatientScript(launches), policy, seed)
                assert not told.jobs_left
                best_s = min(best_s, told.makespan_s)
                best_core_s = min(best_core_s, told.charged_core_s)
    assert bound.any_order_s <= bound.makespan_s <= best_s < 1.5 * bound.makespan_s
    assert bound.charged_core_s <= best_core_s < 1.5 * bound.charged_core_s


@pytest.mark.parametrize("waits", [Waits(600.0), None])
def test_no_run_ever_has_more_cores_than_the_bound_gives_it(waits):
    policy = replace(workloads.POLICY, cores_max=64)
    site = workloads.quiet_site(
        waits=waits, boot=Spread(120.0, 0.3), faults=Faults(failed_starts=0.2),
        background=tuple(OtherJob(0.0, 12, 700.0, 900.0) for _ in range(10)),
    )  # fmt: skip
    supply = Foresight(site, policy, 3).supply([Kind(4, 3600), Kind(16, 3600)])
    asks = [("small", 3600)] * 12 + [("large", 3600)]
    told = run(workloads.bag(60, 2000.0), site, Script(asks), policy, 3)
    ready = sorted((p.ready_s, p.cores) for p in told.pilots if p.ready_s is not None)
    up = 0
    for at_s, cores in ready:
        up += cores
        assert up <= supply.at(at_s)
    assert up > 16
