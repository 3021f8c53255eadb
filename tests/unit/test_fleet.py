"""The fleet: what is launched, what is believed, and that nothing stays behind."""

import pytest
from doubles import SEAT, FakeSlurm, HandClock, site

from snakemake_executor_plugin_osgpilot import fleet as fleet_module
from snakemake_executor_plugin_osgpilot.core.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.core.model import Cancel, Launch, PilotState, Plan
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.fleet import USELESS_MAX, Fleet
from snakemake_executor_plugin_osgpilot.run import RunFolder

ONE, TWO = Plan((Launch("x"),)), Plan((Launch("x"), Launch("x")))


@pytest.fixture
def slurm():
    return FakeSlurm()


@pytest.fixture
def clock(monkeypatch):
    clock = HandClock()

    def sleep(seconds):
        clock.at_s += seconds

    monkeypatch.setattr(fleet_module.time, "sleep", sleep)
    return clock


@pytest.fixture
def fleet(slurm, clock, tmp_path):
    return Fleet(slurm, clock, site(tmp_path), SEAT, RunFolder.create(tmp_path, "r1"))


def states(fleet):
    return [p.state for p in fleet.pilots]


def test_pilots_have_unique_names_and_their_parameters_as_a_file(fleet, slurm):
    fleet.apply(TWO)
    names = [a.name for a in slurm.submitted]
    assert names == ["osgpilot-r1-1", "osgpilot-r1-2"]
    assert "OSG_PROJECT_NAME=MyProject" in (slurm.submitted[0].folder / "parameters").read_text()


def test_one_look_serves_the_whole_fleet(fleet, slurm):
    fleet.apply(TWO)
    slurm.show(Seen.RUNNING)
    assert len(fleet.look(set())) == 2
    assert slurm.looks == 1


def test_without_pilots_slurm_is_not_asked(fleet, slurm):
    fleet.look(set())
    assert slurm.looks == 0


def test_a_failed_look_changes_nothing(fleet, slurm):
    fleet.apply(ONE)
    before = fleet.pilots
    slurm.fails = Unanswered("slurmctld is down")
    with pytest.raises(Unanswered):
        fleet.look(set())
    assert fleet.pilots == before


def test_a_pilot_whose_sbatch_answer_got_lost_is_found_by_name(fleet, slurm):
    slurm.lost_answer = True
    with pytest.raises(Unanswered):
        fleet.apply(ONE)
    assert states(fleet) == [PilotState.INTENDED]
    fleet.look(set())
    assert states(fleet) == [PilotState.PENDING]
    assert fleet.pilots[0].allocation_id == "1"


def test_a_cancelled_plan_takes_back_the_pending_pilot_only(fleet, slurm):
    fleet.apply(TWO)
    fleet.apply(Plan((Cancel("osgpilot-r1-2", "not needed"),)))
    assert slurm.cancelled == ["2"]


def test_a_refusal_stops_launching_and_says_why(fleet, slurm):
    slurm.fails = Refused("sbatch: Invalid account")
    fleet.apply(TWO)
    assert "Invalid account" in fleet.trouble
    assert slurm.submitted == []
    assert fleet.live == ()


def fail_one(fleet, slurm, *, served):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look({fleet.pilots[-1].name} if served else set())
    slurm.show(Seen.FAILED)
    fleet.look(set())


def test_pilots_that_fail_in_a_row_trip_the_breaker_with_the_last_log(fleet, slurm):
    for _ in range(USELESS_MAX):
        assert fleet.trouble == ""
        fail_one(fleet, slurm, served=False)
        slurm.submitted[-1].folder.joinpath("slurm.log").write_text("osgpilot: error: no fuse")
    assert f"{USELESS_MAX} pilots failed in a row" in fleet.trouble
    fleet.apply(ONE)
    assert len(slurm.submitted) == USELESS_MAX


def test_pilots_that_leave_while_jobs_wait_trip_the_breaker_too(fleet, slurm):
    for _ in range(USELESS_MAX):
        assert fleet.trouble == ""
        fleet.apply(ONE)
        slurm.show(Seen.RUNNING)
        fleet.look(set(), jobs_wait=True)
        slurm.show(Seen.COMPLETED)
        fleet.look(set(), jobs_wait=True)
    assert "left without a job although jobs wait" in fleet.trouble


def test_pilots_that_leave_when_all_is_done_are_as_they_should_be(fleet, slurm):
    for _ in range(USELESS_MAX + 1):
        fleet.apply(ONE)
        slurm.show(Seen.RUNNING)
        fleet.look(set(), jobs_wait=True)
        slurm.show(Seen.COMPLETED)
        fleet.look(set())
    assert fleet.trouble == ""


def test_one_pilot_that_served_forgives_those_before(fleet, slurm):
    for _ in range(2):
        for _ in range(USELESS_MAX - 1):
            fail_one(fleet, slurm, served=False)
        fail_one(fleet, slurm, served=True)
    assert fleet.trouble == ""


def test_pilots_that_served_do_not_count_as_failures(fleet, slurm):
    for _ in range(USELESS_MAX + 1):
        fail_one(fleet, slurm, served=True)
    assert fleet.trouble == ""


def test_the_end_cancels_pending_pilots_and_signals_running_ones(fleet, slurm):
    fleet.apply(TWO)
    slurm.rows["osgpilot-r1-1"] = Row("1", "osgpilot-r1-1", Seen.RUNNING)
    fleet.end()
    assert (slurm.ended, slurm.cancelled, slurm.killed) == (["1"], ["2"], [])
    assert fleet.live == ()


def test_a_pilot_that_starts_while_it_is_cancelled_is_signalled(fleet, slurm):
    fleet.apply(ONE)
    original = slurm.cancel_pending

    def starts_meanwhile(ids):
        original([])
        slurm.show(Seen.RUNNING)

    slurm.cancel_pending = starts_meanwhile
    fleet.end()
    assert slurm.ended == ["1"]
    assert fleet.live == ()


def test_a_pilot_that_does_not_listen_is_killed_after_a_while(fleet, slurm, clock):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    slurm.deaf = True
    before = clock.at_s
    fleet.end(wait_s=60)
    assert slurm.killed == ["1"]
    assert clock.at_s - before >= 60


def test_what_cannot_be_ended_is_said(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    slurm.deaf = True
    slurm.kill = lambda ids: None
    with pytest.raises(Unanswered, match=r"still shows pilots.* 1"):
        fleet.end(wait_s=5, kill_wait_s=5)


def test_slurm_may_be_away_for_a_moment_at_the_end(fleet, slurm):
    fleet.apply(ONE)
    slurm.fails = Unanswered("slurmctld restarts")
    fleet.end()
    assert fleet.live == ()
