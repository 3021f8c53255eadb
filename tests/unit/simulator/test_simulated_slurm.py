"""The simulator's batch queue: finite nodes, other users, order and backfill."""

import pytest
from workloads import quiet_site

from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.simulator.allocations import Allocation
from snakemake_executor_plugin_osgpilot.simulator.clock import Clock
from snakemake_executor_plugin_osgpilot.simulator.cluster import Cluster
from snakemake_executor_plugin_osgpilot.simulator.model import OtherJob

HALF, WHOLE = Shape(8, 32_000), Shape(16, 64_000)


class SimulatedQueue:
    """A cluster of two nodes of 16 cores. What starts is noted with node and time in seconds, and
    ends at its walltime.
    """

    def __init__(self, *background, **changes):
        given = {"nodes": 2, "schedule_s": 1, "fair_share": False, "background": background}
        site = quiet_site(**(given | changes))
        self.clock = Clock()
        self.starts = {}
        self.slurm = Cluster(self.clock, site, self.note)
        self.count = 0

    def note(self, allocation):
        self.starts[allocation.name] = (allocation.node, self.clock.now / 1000)
        self.clock.after(allocation.walltime_ms, lambda: self.slurm.freed(allocation))

    def submit(self, name, shape, walltime_s=3600, avoid=()):
        self.count += 1
        now_ms = self.clock.now
        allocation = Allocation(name, self.count, shape, walltime_s * 1000, now_ms, avoid)
        self.slurm.submit(allocation)
        return allocation

    def until(self, at_s):
        self.clock.run(until=at_s * 1000)
        return {name: start_s for name, (_, start_s) in self.starts.items()}


def test_what_fits_starts_at_once_on_the_first_node_with_room():
    queue = SimulatedQueue()
    for name, shape in (("a", HALF), ("b", WHOLE), ("c", HALF)):
        queue.submit(name, shape)

    queue.until(10)

    assert queue.starts == {"a": (0, 1), "b": (1, 1), "c": (0, 1)}


def test_what_does_not_fit_waits_for_the_end_of_what_runs():
    queue = SimulatedQueue(OtherJob(0, 32, 100, 3600))
    queue.until(5)
    queue.submit("a", HALF)

    assert queue.until(200) == {"a": 102}


def test_memory_and_gpus_count_as_cores_do():
    queue = SimulatedQueue()
    queue.submit("a", Shape(1, 64_000))
    queue.submit("b", Shape(1, 64_000))
    queue.submit("c", Shape(1, 1000))
    queue.submit("d", Shape(1, 1000, 0, 1))

    assert queue.until(10) == {"a": 1, "b": 1}


def test_nodes_that_are_to_be_left_out_are_left_out():
    queue = SimulatedQueue()
    queue.submit("a", HALF, avoid=(0,))

    queue.until(10)

    assert queue.starts["a"][0] == 1


def test_a_short_job_goes_before_a_large_one_that_it_does_not_delay():
    """One node is occupied for 1000 s by its walltime; then both are needed."""
    queue = SimulatedQueue(OtherJob(0, 16, 1000, 1000), OtherJob(1.5, 32, 100, 100))
    queue.until(5)
    queue.submit("short", HALF, walltime_s=900)
    queue.submit("long", HALF, walltime_s=2000)

    told = queue.until(2000)

    assert told["short"] == 6
    assert told["long"] > 1001 + 100


def test_without_backfill_nothing_goes_before_a_large_job():
    queue = SimulatedQueue(OtherJob(0, 16, 1000, 1000), OtherJob(1.5, 32, 100, 100), backfill=False)
    queue.until(5)
    queue.submit("short", HALF, walltime_s=900)

    assert queue.until(2000)["short"] > 1001


def test_a_long_job_may_go_beside_the_place_of_a_large_one():
    """The large one needs 24 of 32 cores when the other has ended; eight are left for long."""
    queue = SimulatedQueue(OtherJob(0, 16, 1000, 1000), OtherJob(1.5, 24, 100, 100))
    queue.until(5)
    queue.submit("long", HALF, walltime_s=5000)
    queue.submit("longer", HALF, walltime_s=5000)

    told = queue.until(3000)

    assert told["long"] == 6
    assert told["longer"] > 1001


def test_with_fair_share_who_has_had_least_comes_first():
    hog = [OtherJob(0, 32, 1000, 3600, 1)] + [OtherJob(1.5, 32, 500, 600, 1)] * 3
    for fair_share, first in ((True, 1001), (False, 2501)):
        queue = SimulatedQueue(*hog, fair_share=fair_share, backfill=False)
        queue.until(5)
        queue.submit("ours", HALF)

        assert queue.until(4000)["ours"] == pytest.approx(first, abs=5)


def test_a_pending_allocation_can_be_taken_back_and_a_running_one_cannot():
    queue = SimulatedQueue(OtherJob(0, 32, 100, 3600))
    queue.until(2)
    pending = queue.submit("a", HALF)
    queue.until(5)
    queue.slurm.cancel(pending)
    running = queue.submit("b", HALF)
    queue.until(150)
    queue.slurm.cancel(running)

    assert pending.over
    assert running.runs
    assert queue.until(200).keys() == {"b"}


def test_jobs_of_others_that_can_never_run_are_left_out():
    queue = SimulatedQueue(OtherJob(0, 33, 100, 3600))
    queue.submit("a", WHOLE)

    assert queue.until(10) == {"a": 1}


def test_what_slurm_expects_is_reckoned_from_the_walltimes_of_what_runs():
    queue = SimulatedQueue(OtherJob(0, 32, 100, 3600))
    queue.until(10)

    assert queue.slurm.expected_wait_s(HALF, 3600) == 3600 + 1 - 10
    assert queue.slurm.expected_wait_s(Shape(17, 1), 3600) == 3600 + 1 - 10
    assert queue.slurm.expected_wait_s(Shape(1, 65_000), 3600) is None
