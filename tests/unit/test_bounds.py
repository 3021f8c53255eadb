"""Makespan and core-hours that nobody beats, on workloads whose best is known."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.core.model import Offer, Policy, Shape
from snakemake_executor_plugin_osgpilot.simulate.bounds import (
    capacity,
    charged_bound_core_s,
    limits,
    makespan_bound_s,
)
from snakemake_executor_plugin_osgpilot.simulate.model import Site, Waits
from snakemake_executor_plugin_osgpilot.simulate.workloads import Job, workload_of

ONE, FAT = Shape(1, 1000), Shape(1, 12_000)
LEAN = Offer("lean", Shape(4, 8000), (3600,))
RICH = Offer("rich", Shape(4, 48_000), (3600,))
POLICY = Policy((LEAN,), cores_max=4)
SITE = Site("s", (LEAN,), waits=Waits(60.0))
ROOM = (4.0, 8000.0, 0.0, 0.0)


def test_a_chain_takes_its_length_however_many_cores_there_are():
    chain = workload_of("w", [Job("a", ONE, 100.0, (n - 1,) if n else ()) for n in range(5)])
    assert makespan_bound_s(chain, ROOM) == 500


def test_a_bag_takes_its_work_shared_by_all_cores_or_all_memory():
    assert makespan_bound_s(workload_of("w", [Job("a", ONE, 100.0)] * 40), ROOM) == 1000
    hungry = Job("a", Shape(1, 4000), 100.0)
    assert makespan_bound_s(workload_of("w", [hungry] * 40), ROOM) == 2000


def test_work_between_two_gates_takes_longer_than_path_and_area_say():
    """One job, forty, one: path 300, area 1,050; but the forty need 1,000 of their own."""
    jobs = [Job("a", ONE, 100.0), *[Job("b", ONE, 100.0, (0,))] * 40]
    jobs.append(Job("c", ONE, 100.0, tuple(range(1, 41))))
    assert makespan_bound_s(workload_of("w", jobs), ROOM) == 1200


def test_jobs_that_come_late_end_late_but_the_first_slot_may_come_meanwhile():
    jobs = [Job("a", ONE, 100.0), Job("a", ONE, 100.0, arrival_s=900.0)]
    bound = limits(workload_of("w", jobs), SITE, POLICY)
    assert bound.makespan_s(0.0) == bound.makespan_s(800.0) == 1000
    assert bound.makespan_s(950.0) == 1050


def test_the_charge_is_that_of_the_best_mix_of_pilots():
    bag = workload_of("w", [Job("a", ONE, 100.0)] * 8)
    assert charged_bound_core_s(bag, (LEAN, RICH)) == pytest.approx(800)
    fat = workload_of("w", [Job("a", FAT, 100.0)] * 8)
    assert charged_bound_core_s(fat, (LEAN, RICH)) == pytest.approx(800)
    fatter = workload_of("w", [Job("a", Shape(1, 24_000), 100.0)] * 8)
    assert charged_bound_core_s(fatter, (LEAN, RICH)) == pytest.approx(1600)


def test_small_jobs_use_the_cores_beside_fat_ones():
    mixed = workload_of("w", [Job("a", Shape(1, 46_000), 100.0), *[Job("b", ONE, 100.0)] * 2])
    assert charged_bound_core_s(mixed, (RICH,)) == pytest.approx(400)


def test_a_job_that_fits_no_pilot_has_no_bound():
    with pytest.raises(ValueError, match="no pilot of 1 kinds holds a job of 1 core, 12000 MB"):
        charged_bound_core_s(workload_of("w", [Job("a", FAT, 1.0)]), (LEAN,))


def test_the_site_and_the_user_limit_what_there_can_be_at_a_time():
    assert capacity(SITE, POLICY)[:2] == (4, 8000)
    assert capacity(SITE, replace(POLICY, cores_max=None, pilots_max=3))[0] == 12
    queue = replace(SITE, waits=None, nodes=1, node_shape=Shape(2, 9000))
    assert capacity(queue, POLICY)[0] == 2
