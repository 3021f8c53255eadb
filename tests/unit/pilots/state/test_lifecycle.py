"""The conclusions about a pilot that a look at Slurm permits."""

import itertools
from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import (
    ABSENT_LOOKS_TO_BELIEVE,
    NEXT,
    SUBMISSION_S,
    Row,
    Seen,
    advance,
    registered,
)


def pilot(state=PilotState.READY):
    return Pilot("p1", Shape(4, 3800), state, allocation_id="7")


def row(seen, **more):
    return Row("7", "p1", seen, **more)


def test_every_live_state_has_a_move_for_every_sight():
    live = [s for s in PilotState if not s.over]
    assert set(NEXT) == set(itertools.product(live, Seen))


def test_one_missing_row_is_not_the_end():
    looked = pilot()
    for _ in range(ABSENT_LOOKS_TO_BELIEVE - 1):
        looked = advance(looked, None, at_s=1.0)
        assert looked.state is PilotState.READY
    assert advance(looked, None, at_s=2.0).state is PilotState.DONE


def test_an_sbatch_that_may_still_be_under_way_is_waited_for():
    looked = pilot(PilotState.INTENDED)
    for at_s in range(10):
        looked = advance(looked, None, at_s=float(at_s))
    assert looked.state is PilotState.INTENDED
    assert advance(looked, None, at_s=SUBMISSION_S).state is PilotState.CANCELLED


def test_a_row_that_comes_back_resets_the_doubt():
    looked = advance(pilot(), None, at_s=1.0)
    assert advance(looked, row(Seen.RUNNING), at_s=2.0).absent_looks == 0


def test_start_and_end_are_learned_from_slurm():
    running = advance(
        pilot(PilotState.PENDING), row(Seen.RUNNING, started_s=10.0, ends_s=3610.0), at_s=12.0
    )
    assert (running.state, running.started_s, running.ends_s) == (PilotState.BOOTING, 10.0, 3610.0)
    done = advance(running, row(Seen.COMPLETED, started_s=10.0, ends_s=500.0), at_s=512.0)
    assert (done.state, done.ended_s) == (PilotState.DONE, 500.0)


def test_an_expected_start_of_a_queued_pilot_is_not_a_start():
    queued = advance(
        pilot(PilotState.INTENDED), row(Seen.QUEUED, started_s=99.0, reason="Priority"), at_s=1.0
    )
    assert (queued.state, queued.started_s, queued.pending_reason) == (
        PilotState.PENDING,
        None,
        "Priority",
    )


def test_what_is_over_stays_over():
    gone = pilot(PilotState.CANCELLED)
    assert advance(gone, row(Seen.RUNNING), at_s=1.0) is gone


def test_pilot_is_ready_once_registered_with_the_pool():
    booting = advance(pilot(PilotState.PENDING), row(Seen.RUNNING), at_s=1.0)
    assert booting.state is PilotState.BOOTING
    ready = registered(booting, at_s=9.0)
    assert (ready.state, ready.since_s) == (PilotState.READY, 9.0)
    assert advance(ready, row(Seen.RUNNING), at_s=20.0).state is PilotState.READY


def test_a_pilot_that_drains_stays_so_whatever_the_pool_says():
    assert registered(pilot(PilotState.DRAINING), at_s=1.0).state is PilotState.DRAINING


def test_how_slurm_says_it_failed_is_kept():
    failed = advance(pilot(), row(Seen.FAILED, state="NODE_FAIL"), at_s=1.0)
    assert (failed.state, failed.failure) == (PilotState.FAILED, "NODE_FAIL")


@pytest.mark.parametrize("state", [state for state in PilotState if not state.over])
def test_unknown_slurm_state_keeps_the_pilot_state(state):
    doubted = replace(pilot(state), absent_looks=ABSENT_LOOKS_TO_BELIEVE - 1, started_s=3.0)
    assert advance(doubted, row(Seen.UNKNOWN), at_s=9.0) == replace(doubted, absent_looks=0)


def test_allocation_id_is_kept_in_an_unknown_slurm_state():
    intended = replace(pilot(PilotState.INTENDED), allocation_id="")
    assert advance(intended, row(Seen.UNKNOWN), at_s=1.0).allocation_id == "7"
    unreadable = Row("", "p1", Seen.UNKNOWN)
    assert advance(pilot(), unreadable, at_s=1.0).allocation_id == "7"


def test_pilot_known_to_the_pool_has_not_ended():
    looked = pilot()
    for _ in range(3 * ABSENT_LOOKS_TO_BELIEVE):
        looked = advance(looked, None, at_s=1.0, in_pool=True)
    assert looked.state is PilotState.READY
    assert advance(looked, None, at_s=2.0).state is PilotState.DONE


def test_what_slurm_gives_is_known_once_it_runs():
    asked = advance(pilot(PilotState.PENDING), row(Seen.QUEUED, cores=4), at_s=1.0)
    assert (asked.allocated_cores, asked.charged_cores) == (0, 4)
    given = advance(asked, row(Seen.RUNNING, cores=128), at_s=2.0)
    assert given.charged_cores == 128
    assert advance(given, row(Seen.COMPLETED), at_s=3.0).charged_cores == 128
