"""A snapshot, and what follows from it."""

from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.model.snapshot import Snapshot

FOUR = Shape(4, 4000)


def pilot(name, started_s, ended_s=None):
    state = PilotState.READY if ended_s is None else PilotState.DONE
    return Pilot(name, FOUR, state, started_s=started_s, ended_s=ended_s)


def test_before_the_first_job_a_run_has_taken_no_time_and_cost_nothing():
    snapshot = Snapshot(1000.0, {}, (pilot("p", 100.0),))
    assert (snapshot.elapsed_s, snapshot.charged_core_s) == (0.0, 0.0)


def test_pilots_are_charged_from_their_start_to_their_end():
    pilots = (pilot("done", 200.0, 500.0), pilot("serves", 900.0), pilot("waits", None))
    snapshot = Snapshot(1000.0, {}, pilots, begun_s=100.0)
    assert snapshot.elapsed_s == 900.0
    assert snapshot.charged_core_s == 4 * (300.0 + 100.0)


def test_what_pilots_cost_before_a_run_was_resumed_does_not_count():
    pilots = (pilot("done", 200.0, 500.0), pilot("kept", 400.0))
    assert Snapshot(1000.0, {}, pilots, begun_s=900.0).charged_core_s == 4 * 100.0
