"""The fleet: what is launched, what is believed, and that nothing stays behind."""

from dataclasses import replace
from itertools import pairwise

import pytest
from doubles import SEAT, FakeSlurm, HandClock, site

from snakemake_executor_plugin_osgpilot.errors import (
    AbandonedError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
    TryLaterError,
)
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.identity import PilotSharing
from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Drain, Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import PilotState
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate
from snakemake_executor_plugin_osgpilot.pilots.manager import END_WAIT_S, LOOK_PAUSE_S, PilotManager
from snakemake_executor_plugin_osgpilot.pilots.requests import SiteRequests
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import (
    DOUBT,
    FAILURES_MAX,
    GIVE_UP_AFTER_S,
    NODE_STRIKES_MAX,
    PROBE_AFTER_MAX_S,
)
from snakemake_executor_plugin_osgpilot.pilots.state.inventory import BOOT_DEADLINE_S
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import (
    ABSENT_LOOKS_TO_BELIEVE,
    PilotObservations,
    Row,
    Seen,
)

KIND = "default/4c"
LAUNCH = Launch(KIND, 3600, "because")
ONE, TWO = Plan((LAUNCH,)), Plan((LAUNCH, LAUNCH))
JOBS_WAIT = PilotObservations(jobs_wait=True)


@pytest.fixture
def slurm():
    return FakeSlurm()


@pytest.fixture
def clock():
    return HandClock()


def new_fleet(slurm, clock, folder, seat=SEAT):
    requests = SiteRequests(site(folder), seat, RunFolder.create(folder, "r1"))
    return PilotManager(slurm, clock, requests)


@pytest.fixture
def fleet(slurm, clock, tmp_path):
    return new_fleet(slurm, clock, tmp_path)


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
    assert len(fleet.look(PilotObservations())) == 2
    assert slurm.looks == 1


def test_without_pilots_slurm_is_not_asked(fleet, slurm):
    fleet.look(PilotObservations())
    assert slurm.looks == 0


def test_a_failed_look_changes_nothing(fleet, slurm):
    fleet.apply(ONE)
    before = fleet.pilots
    slurm.fails = OutcomeUnknownError("slurmctld is down")
    with pytest.raises(OutcomeUnknownError):
        fleet.look(PilotObservations())
    assert fleet.pilots == before


def test_a_pilot_whose_sbatch_answer_got_lost_is_found_by_name(fleet, slurm):
    slurm.lost_answer = True
    with pytest.raises(OutcomeUnknownError):
        fleet.apply(ONE)
    assert states(fleet) == [PilotState.INTENDED]
    fleet.look(PilotObservations())
    assert states(fleet) == [PilotState.PENDING]
    assert fleet.pilots[0].allocation_id == "1"


def test_a_pilot_that_could_not_be_asked_for_is_none(fleet, slurm):
    slurm.fails = NotSentError("ssh login: Connection refused")
    with pytest.raises(NotSentError):
        fleet.apply(ONE)
    assert fleet.pilots == ()
    fleet.apply(ONE)
    assert states(fleet) == [PilotState.PENDING]


def test_a_cancelled_plan_takes_back_the_pending_pilot_only(fleet, slurm):
    fleet.apply(TWO)
    fleet.apply(Plan((Cancel("osgpilot-r1-2", "not needed"),)))
    assert slurm.cancelled == ["2"]


@pytest.mark.parametrize("ending", [False, True], ids=["serving", "ending"])
def test_a_pilot_that_slurm_queues_again_after_it_served_is_taken_back(fleet, slurm, ending):
    served = PilotObservations(served={"osgpilot-r1-1": 1.0}, jobs_wait=True)
    fleet.apply(TWO)
    for seen in (Seen.RUNNING, *[Seen.COMPLETING] * ending, Seen.QUEUED):
        slurm.rows["osgpilot-r1-1"] = Row("1", "osgpilot-r1-1", seen)
        fleet.look(served)
    assert slurm.cancelled == ["1"]
    fleet.look(served)
    assert states(fleet) == [PilotState.CANCELLED, PilotState.PENDING]
    assert not fleet.gates(), "no failure of its type"


def test_a_pilot_that_slurm_queues_again_before_it_served_boots_again(fleet, slurm):
    fleet.apply(ONE)
    for seen in (Seen.RUNNING, Seen.QUEUED, Seen.RUNNING):
        slurm.show(seen)
        fleet.look(JOBS_WAIT)
    assert slurm.cancelled == []
    assert states(fleet) == [PilotState.BOOTING]


def test_a_drained_pilot_is_signalled_and_takes_no_part_any_more(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations())
    fleet.apply(Plan((Drain("osgpilot-r1-1", "idle"),)))
    assert slurm.drained == ["1"]
    assert states(fleet) == [PilotState.DRAINING]
    fleet.look(PilotObservations())
    assert states(fleet) == [PilotState.DRAINING]


def test_a_pilot_that_the_pool_knows_is_ready(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations())
    assert states(fleet) == [PilotState.BOOTING]
    fleet.look(PilotObservations(known=frozenset({"osgpilot-r1-1"})))
    assert states(fleet) == [PilotState.READY]


def test_a_pilot_is_ready_when_its_node_has_been_tested(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    known = frozenset({"osgpilot-r1-1"})
    fleet.look(PilotObservations(known=known, untested=known))
    assert states(fleet) == [PilotState.BOOTING]
    fleet.look(PilotObservations(known=known))
    assert states(fleet) == [PilotState.READY]


@pytest.mark.parametrize(
    ("registers", "words"), [(False, "did not register"), (True, "did not pass the tests")]
)
def test_a_pilot_that_does_not_get_ready_is_ended_and_reported(
    fleet, slurm, clock, registers, words
):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING, started_s=clock.at_s)
    known = frozenset({"osgpilot-r1-1"} if registers else ())
    clock.at_s += 901
    slurm.deaf = True
    fleet.look(PilotObservations(known=known, untested=known, asked_s=clock.at_s))
    assert slurm.ended == ["1"]
    assert words in fleet.pilots[0].failure


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        ("a\nosgpilot: error: no fuse on n1\n", "FAILED: no fuse on n1"),
        ("osgpilot: error: first\nosgpilot: error: last\nslurmstepd: x\n", "FAILED: last"),
        ("bash: module:\n  not found\n", "FAILED, its log ends: bash: module: not found"),
        ("", "FAILED, and left no log"),
    ],
)
def test_a_failed_pilot_has_the_reason_from_its_log(fleet, slurm, log, failure):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations())
    slurm.submitted[-1].folder.joinpath("slurm.log").write_text(log)
    slurm.show(Seen.FAILED, state="FAILED")
    (change,) = fleet.look(PilotObservations())
    assert change.after.failure == failure


def test_what_slurm_or_others_ended_is_not_explained_by_a_log(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations())
    slurm.show(Seen.FAILED, state="NODE_FAIL")
    (change,) = fleet.look(PilotObservations())
    assert change.after.failure == "NODE_FAIL"


def test_unneeded_since_is_recorded_and_reset(fleet, slurm, clock):
    fleet.apply(ONE)
    fleet.apply(Plan(unneeded=frozenset({"osgpilot-r1-1"})))
    clock.at_s += 10
    fleet.apply(Plan(unneeded=frozenset({"osgpilot-r1-1"})))
    assert fleet.pilots[0].unneeded_since_s == clock.at_s - 10
    fleet.apply(Plan())
    assert fleet.pilots[0].unneeded_since_s is None


def test_a_refusal_stops_launching_and_says_why(fleet, slurm):
    slurm.fails = RejectedError("sbatch: Invalid account")
    fleet.apply(TWO)
    assert "Invalid account" in fleet.health.unavailable[KIND]
    assert "Invalid account" in fleet.gates()[KIND].reason
    assert slurm.submitted == []
    assert fleet.live == ()


def test_temporary_rejection_is_retried_with_backoff(fleet, slurm, clock):
    tries_s = []
    while not fleet.health.unavailable:
        clock.at_s += 1
        if fleet.gates().get(KIND, Gate(1, "")).launches_max:
            tries_s.append(clock.at_s)
            slurm.fails = TryLaterError("sbatch: Unspecified error")
            fleet.apply(TWO)
            assert "Unspecified error; next retry in" in fleet.gates()[KIND].reason
    assert fleet.live == ()
    assert slurm.submitted == [], "one refusal is enough for two pilots"
    waits_s = [after - before for before, after in pairwise(tries_s)]
    assert 15 <= waits_s[0] <= 46
    assert max(waits_s) <= 1.5 * PROBE_AFTER_MAX_S + 1
    assert GIVE_UP_AFTER_S <= sum(waits_s) <= GIVE_UP_AFTER_S + 1.5 * PROBE_AFTER_MAX_S + 1
    assert "Unspecified error" in fleet.health.unavailable[KIND]

    clock.at_s += 2 * PROBE_AFTER_MAX_S
    fleet.apply(ONE)
    assert len(fleet.live) == 1, "and continues where pilots still exist"
    assert fleet.health.unavailable == {}
    assert fleet.gates() == {}


def fail_one(fleet, slurm, *, served=False, **row):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations(served={fleet.pilots[-1].name: 1.0} if served else {}))
    slurm.submitted[-1].folder.joinpath("slurm.log").write_text("osgpilot: error: no fuse")
    slurm.show(Seen.FAILED, **row)
    fleet.look(PilotObservations())


def test_consecutive_failures_open_the_breaker_with_the_last_log(fleet, slurm):
    for _ in range(FAILURES_MAX):
        gate = fleet.gates().get(KIND)
        assert gate is None or (gate.rule, gate.launches_max > 0) == (DOUBT, True)
        fail_one(fleet, slurm)
    gate = fleet.gates()[KIND]
    assert gate.launches_max == 0
    assert gate.rule == "breaker"
    assert f"{FAILURES_MAX} consecutive pilots ran no job" in gate.reason
    assert "no fuse" in gate.reason
    assert fleet.health.unavailable == {}


def test_successful_probe_closes_the_breaker(fleet, slurm, clock):
    for _ in range(FAILURES_MAX):
        fail_one(fleet, slurm)
    clock.at_s += 60
    assert fleet.gates()[KIND].launches_max == 1
    fleet.apply(ONE)
    assert fleet.gates()[KIND].launches_max == 0
    slurm.show(Seen.RUNNING)
    fleet.look(PilotObservations(served={fleet.pilots[-1].name: 1.0}))
    assert fleet.gates() == {}


def test_failed_probes_back_off_until_given_up(fleet, slurm, clock):
    waits, begun = [], clock.at_s
    for _ in range(FAILURES_MAX):
        fail_one(fleet, slurm)
    while not fleet.health.unavailable:
        since = clock.at_s
        while fleet.gates()[KIND].launches_max == 0:
            clock.at_s += 1
        waits.append(clock.at_s - since)
        fail_one(fleet, slurm)
    assert waits[3] > waits[0]
    assert clock.at_s - begun >= GIVE_UP_AFTER_S
    assert "given up" in fleet.gates()[KIND].reason


def test_a_node_on_which_pilots_fail_is_left_out(fleet, slurm):
    for _ in range(NODE_STRIKES_MAX):
        fail_one(fleet, slurm, node="n3")
    fleet.apply(ONE)
    assert slurm.submitted[-1].exclude == ("n3",)


def test_pilots_ending_on_notice_do_not_count_as_failures(fleet, slurm):
    """They started before the breaker opened and found that out when their turn came."""
    late = FAILURES_MAX + 2
    for _ in range(late):
        fleet.apply(ONE)
    for number in range(1, FAILURES_MAX + 1):
        show_one(slurm, number, Seen.FAILED, node=f"n{number}")
    fleet.look(JOBS_WAIT)
    before = fleet.gates()[KIND]
    for number in (FAILURES_MAX + 1, late):
        show_one(slurm, number, Seen.COMPLETED, node="n9")
    fleet.look(JOBS_WAIT)
    assert fleet.gates()[KIND] == before


def show_one(slurm, number, seen, **row):
    name = f"osgpilot-r1-{number}"
    slurm.rows[name] = Row(str(number), name, seen, **row)


def test_when_pilots_fail_everywhere_no_node_is_to_blame(fleet, slurm):
    for node in ("n1", "n1", "n2", "n3"):
        fail_one(fleet, slurm, node=node)
    fleet.apply(ONE)
    assert slurm.submitted[-1].exclude == ()


def test_a_pilot_is_asked_for_on_any_node_when_no_other_is_left(fleet, slurm):
    for _ in range(NODE_STRIKES_MAX):
        fail_one(fleet, slurm, node="n1")
    slurm.fails = RejectedError("sbatch: Requested node configuration is not available")
    fleet.apply(ONE)
    assert slurm.submitted[-1].exclude == ()
    assert fleet.health.unavailable == {}


@pytest.mark.parametrize("state", ["NODE_FAIL", "PREEMPTED", "TIMEOUT"])
def test_what_slurm_did_to_a_pilot_is_not_held_against_it(fleet, slurm, state):
    for _ in range(FAILURES_MAX + 1):
        fail_one(fleet, slurm, state=state)
    assert fleet.gates() == {}


def test_pilots_that_leave_while_jobs_wait_open_the_breaker_too(fleet, slurm):
    for _ in range(FAILURES_MAX):
        fleet.apply(ONE)
        slurm.show(Seen.RUNNING)
        fleet.look(JOBS_WAIT)
        slurm.show(Seen.COMPLETED)
        fleet.look(JOBS_WAIT)
    assert "ended without a job although jobs wait" in fleet.gates()[KIND].reason


def test_pilots_that_leave_when_all_is_done_are_as_they_should_be(fleet, slurm):
    for _ in range(FAILURES_MAX + 1):
        fleet.apply(ONE)
        slurm.show(Seen.RUNNING)
        fleet.look(JOBS_WAIT)
        slurm.show(Seen.COMPLETED)
        fleet.look(PilotObservations())
    assert fleet.gates() == {}


def test_pilots_that_served_do_not_count_as_failures(fleet, slurm):
    for _ in range(FAILURES_MAX + 1):
        fail_one(fleet, slurm, served=True)
    assert fleet.gates() == {}


def test_pilot_that_never_registers_is_ended_as_failed(fleet, slurm, clock):
    for _ in range(FAILURES_MAX):
        fleet.apply(ONE)
        slurm.show(Seen.RUNNING, started_s=clock.at_s)
        fleet.look(PilotObservations())
        clock.at_s += BOOT_DEADLINE_S + 1
        ended_before = len(slurm.ended)
        fleet.look(PilotObservations())
        assert len(slurm.ended) == ended_before, "the pool did not answer: nothing is concluded"
        fleet.look(PilotObservations(asked_s=clock.at_s))
        assert len(slurm.ended) == ended_before + 1
        slurm.show(Seen.COMPLETED)
        fleet.look(PilotObservations())
    assert "did not register with the pool within 15 min" in fleet.gates()[KIND].reason


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
    fleet.end()
    assert slurm.killed == ["1"]
    assert clock.at_s - before >= END_WAIT_S


def test_what_cannot_be_ended_is_said(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    slurm.deaf = True
    slurm.kill = lambda ids: None
    with pytest.raises(OutcomeUnknownError, match=r"still shows pilots.* 1"):
        fleet.end()


def test_pilot_in_unknown_state_counts_and_is_ended(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.UNKNOWN, state="DANCING")
    slurm.deaf = True
    for _ in range(2 * ABSENT_LOOKS_TO_BELIEVE):
        assert fleet.look(PilotObservations()) == []
    assert [pilot.allocation_id for pilot in fleet.live] == ["1"]
    fleet.end()
    assert slurm.killed == ["1"]
    assert fleet.live == ()


def test_what_is_asked_to_end_is_named_by_id_and_name(fleet, slurm):
    asked = []
    slurm.end_running = asked.append
    slurm.kill = lambda pilots: (asked.append(pilots), FakeSlurm.kill(slurm, pilots))
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    fleet.end()
    assert asked == [{"1": "osgpilot-r1-1"}] * 2


def test_slurm_may_be_away_for_a_moment_at_the_end(fleet, slurm):
    fleet.apply(ONE)
    slurm.fails = OutcomeUnknownError("slurmctld restarts")
    fleet.end()
    assert fleet.live == ()


def abandoned(fleet, slurm):
    slurm.fails = AbandonedError("`sbatch` was interrupted")
    with pytest.raises(AbandonedError):
        fleet.apply(ONE)
    return fleet.pilots[0]


def test_interrupted_submission_is_looked_for_briefly(fleet, slurm, clock):
    pilot, began_s = abandoned(fleet, slurm), clock.at_s
    with pytest.raises(OutcomeUnknownError, match=f"may still queue {pilot.name}"):
        fleet.end()
    assert clock.at_s - began_s <= ABSENT_LOOKS_TO_BELIEVE * LOOK_PAUSE_S
    assert states(fleet) == [PilotState.INTENDED]


def test_one_that_took_effect_all_the_same_is_taken_back(fleet, slurm):
    pilot = abandoned(fleet, slurm)
    slurm.rows[pilot.name] = Row("7", pilot.name, Seen.QUEUED)
    fleet.end()
    assert slurm.cancelled == ["7"]
    assert states(fleet) == [PilotState.CANCELLED]


def test_other_pilots_end_despite_an_interrupted_submission(fleet, slurm):
    fleet.apply(ONE)
    slurm.show(Seen.RUNNING)
    abandoned(fleet, slurm)
    with pytest.raises(OutcomeUnknownError, match="may still queue osgpilot-r1-2"):
        fleet.end()
    assert states(fleet) == [PilotState.CANCELLED, PilotState.INTENDED]


def test_shared_pilots_finish_their_jobs_after_the_run(slurm, clock, tmp_path):
    seat = replace(SEAT, pilot_sharing=PilotSharing.OWNER)
    fleet = new_fleet(slurm, clock, tmp_path, seat)
    fleet.apply(TWO)
    slurm.rows["osgpilot-r1-1"] = Row("1", "osgpilot-r1-1", Seen.RUNNING)
    fleet.look(PilotObservations(served={"osgpilot-r1-1": 1.0}))
    fleet.end()
    assert (slurm.ended, slurm.killed) == ([], [])
    assert (slurm.drained, slurm.cancelled) == (["1"], ["2"])
    assert [pilot.allocation_id for pilot in fleet.live] == ["1"]


def test_shared_pilot_without_our_jobs_is_not_a_failure(slurm, clock, tmp_path):
    seat = replace(SEAT, pilot_sharing=PilotSharing.PROJECT)
    fleet = new_fleet(slurm, clock, tmp_path, seat)
    for _ in range(FAILURES_MAX):
        fleet.apply(ONE)
        slurm.show(Seen.COMPLETED)
        fleet.look(JOBS_WAIT)
    assert not fleet.gates()
