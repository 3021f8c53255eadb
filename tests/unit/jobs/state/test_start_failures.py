"""Failed starts: the pilot at fault, its rests, and trial jobs while starts are suspended."""

import pytest
from queued import NOW_S, job

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.pilot_failures import REST_S, PilotStartFailures
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Leftover
from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import (
    EXCEPTIONS_MAX,
    TRIAL_AFTER_S,
    StartFailureLimiter,
)

SLOT = "slot1_3@LocalPool-Slurm.5f.n1"
TEXT = f"Error from {SLOT}: dprintf hit fatal errors"
NO_ROOM = (
    f"Transfer input files failure at execution point {SLOT} while receiving files. Details: no"
)


@pytest.mark.parametrize(
    ("event", "failed_there"),
    [
        (Event(EventKind.EVICTED, 1.0, code=1007, text=TEXT), True),
        (Event(EventKind.NOT_STARTED, 1.0, text=TEXT), True),
        (Event(EventKind.HELD, 1.0, code=13, subcode=28, text=NO_ROOM), True),
        (Event(EventKind.HELD, 1.0, code=13, subcode=2, text=NO_ROOM), False),
        (Event(EventKind.EVICTED, 1.0, code=1008, text=TEXT), False),
    ],
)
def test_failure_names_its_slot(event, failed_there):
    assert event.place == "LocalPool-Slurm.5f.n1"
    assert event.failed_there is failed_there


def test_failure_without_a_slot_blames_no_pilot():
    assert Event(EventKind.NOT_STARTED, 1.0, text="cannot start the job").place == ""


def test_pilot_rests_after_two_consecutive_failed_starts():
    starts = PilotStartFailures()
    starts.failed("p1", 10.0)
    assert starts.resting(11.0) == ()
    starts.started("p1")
    starts.failed("p1", 20.0)
    assert starts.resting(21.0) == ()
    starts.failed("p1", 22.0)
    assert starts.resting(23.0) == ("p1",)
    assert starts.resting(22.0 + REST_S) == ()


def test_starts_under_way_do_not_extend_a_rest():
    starts = PilotStartFailures()
    for at_s in (10.0, 10.0, 10.0, 11.0, 12.0):
        starts.failed("p1", at_s)
    assert starts.resting(10.0 + REST_S) == ()


def test_pilot_is_bad_if_rests_do_not_help():
    starts = PilotStartFailures()
    starts.failed("p1", 0.0)
    at_s, rests = 0.0, 0
    while not starts.bad():
        at_s += 1000.0
        starts.failed("p1", at_s)
        rests += 1
    assert rests == 4


def fail(ap, key, at_s, text=TEXT):
    ap.tell(key, EventKind.EVICTED, at_s, code=1007, text=text)


def test_jobs_avoid_a_resting_pilot(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.machines = {"LocalPool-Slurm.5f.n1": "p1"}
    fail(ap, "a", NOW_S)
    queue.follow()
    queue.repair(NOW_S)
    assert ap.avoided == []
    fail(ap, "b", NOW_S + 1)
    queue.follow()
    queue.repair(NOW_S + 1)
    assert ap.avoided == [("p1",)]
    queue.repair(NOW_S + 1 + REST_S)
    assert ap.avoided == [("p1",), ()]
    assert queue.view().suspects == {}


def test_pilot_is_identified_by_jobs_that_ran_there(queue, ap):
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    machine = "LocalPool-Slurm.5f.n1"
    ap.tell("a", EventKind.EXECUTE, NOW_S - 9, pilot="p7", machine=machine)
    for key in "bc":
        fail(ap, key, NOW_S)
    queue.follow()
    queue.repair(NOW_S)
    assert ap.avoided == [("p7",)]


def test_unknown_pilot_is_not_mistaken_for_another(queue, ap):
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, NOW_S - 9, pilot="p7")
    for key in "bc":
        fail(ap, key, NOW_S, text="cannot start the job")
    queue.follow()
    queue.repair(NOW_S)
    assert ap.avoided == []


def struck(times):
    limiter = StartFailureLimiter()
    for number in range(times):
        limiter = limiter.after_failure(NOW_S + number / 10)
    return limiter.at(NOW_S + times / 10)


def test_trials_start_one_then_two_then_four_jobs():
    limiter = struck(EXCEPTIONS_MAX)
    assert limiter.trial_size(NOW_S + TRIAL_AFTER_S) == 0
    later_s = NOW_S + TRIAL_AFTER_S + 2
    assert limiter.trial_size(later_s) == 1
    limiter = limiter.after_trial()
    assert limiter.trial_size(later_s) == 2
    limiter = limiter.after_trial()
    assert limiter.trial_size(later_s) == 4
    limiter = limiter.after_trial()
    assert not limiter.at(later_s).on


def test_failed_trial_postpones_the_next():
    limiter = struck(EXCEPTIONS_MAX)
    limiter = limiter.after_trial().after_failure(NOW_S + 100).at(NOW_S + 100)
    assert limiter.on
    assert limiter.trial_size(NOW_S + 100 + 2 * TRIAL_AFTER_S - 1) == 0
    assert limiter.trial_size(NOW_S + 100 + 2 * TRIAL_AFTER_S) == 1


def test_failures_and_trials_stay_below_the_pool_limit():
    assert struck(17).trial_size(NOW_S + 600) == 1
    assert struck(18).trial_size(NOW_S + 600) == 0


def test_limiter_tolerates_one_failure_after_it_is_off():
    limiter = struck(EXCEPTIONS_MAX)
    for _ in range(3):
        limiter = limiter.after_trial()
    assert not limiter.after_failure(NOW_S + 90).at(NOW_S + 90).on
    assert limiter.after_failure(NOW_S + 90).after_failure(NOW_S + 90).at(NOW_S + 90).on


@pytest.fixture
def suspended(queue, ap):
    """A queue of twenty jobs whose starts are suspended."""
    keys = [f"j{number}" for number in range(20)]
    queue.add([job(key) for key in keys])
    queue.send()
    for key in keys[:EXCEPTIONS_MAX]:
        fail(ap, key, NOW_S, text="no image")
    queue.follow()
    queue.repair(NOW_S)
    return queue


def test_jobs_are_resumed_after_trial_jobs_started(suspended, ap):
    assert ap.paused
    assert ap.tried == []
    now_s = NOW_S + TRIAL_AFTER_S
    for number in (1, 2, 4):
        suspended.repair(now_s)
        assert [len(ids) for ids in ap.tried[-1:]] == [number]
        suspended.repair(now_s)
        by_id = {job_id: key for key, job_id in ap.queued.items()}
        for job_id in ap.tried[-1]:
            ap.tell(by_id[job_id], EventKind.EXECUTE, now_s, pilot="p1")
        suspended.follow()
    suspended.repair(now_s)
    assert not ap.paused
    assert len(ap.tried) == 3


def test_failed_trial_job_is_paused_again(suspended, ap):
    now_s = NOW_S + TRIAL_AFTER_S
    suspended.repair(now_s)
    ((tried,),) = ap.tried
    ap.paused = False
    fail(ap, next(key for key, job_id in ap.queued.items() if job_id == tried), now_s + 1)
    suspended.follow()
    suspended.repair(now_s + 1)
    assert ap.paused
    assert len(ap.tried) == 1


def cut_off(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, NOW_S, pilot="p1")
    ap.tell("a", EventKind.DISCONNECTED, NOW_S + 10)
    queue.follow()


def test_job_missing_on_its_live_pilot_is_resubmitted(queue, ap):
    cut_off(queue, ap)
    ap.there = {"p1": (NOW_S + 35, frozenset({"9.9"}))}
    queue.repair(NOW_S + 15)
    assert ap.removed == []
    queue.repair(NOW_S + 45)
    assert ap.removed == ["1.0"]
    assert queue.send() == 1


def test_job_cut_off_before_it_started_is_resubmitted(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.machines = {"LocalPool-Slurm.5f.n1": "p1"}
    for key, machine in (("a", "LocalPool-Slurm.5f.n1"), ("b", "another")):
        ap.tell(key, EventKind.DISCONNECTED, NOW_S, machine=machine)
    ap.there = {"p1": (NOW_S + 35, frozenset())}
    queue.follow()
    queue.repair(NOW_S + 45)
    assert ap.removed == ["1.0"]


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"p1": (NOW_S + 25, frozenset())},
        {"p1": (NOW_S + 35, frozenset({"1.0"}))},
        {"p2": (NOW_S + 35, frozenset())},
    ],
    ids=["unknown", "not heard of since", "still has it", "another pilot"],
)
def test_job_that_may_still_run_is_not_resubmitted(queue, ap, there):
    cut_off(queue, ap)
    ap.there = there
    queue.repair(NOW_S + 45)
    assert ap.removed == []


def test_reconnected_job_is_not_resubmitted(queue, ap):
    cut_off(queue, ap)
    ap.tell("a", EventKind.RECONNECTED, NOW_S + 20)
    ap.there = {"p1": (NOW_S + 35, frozenset())}
    queue.follow()
    queue.repair(NOW_S + 45)
    assert ap.removed == []


def test_view_shows_trial_jobs(suspended):
    assert not suspended.view().on_trial
    suspended.repair(NOW_S + TRIAL_AFTER_S)
    assert suspended.view().on_trial
    assert suspended.view().starts_paused


def test_replaced_job_is_not_requeued(queue, ap):
    old = job("old")
    queue.restore(Leftover({"same": Entry("old", "same", "d", "map", old.job_class, "1.0")}), ())
    ap.queued["old"] = "1.0"
    ap.tell("old", EventKind.DISCONNECTED, NOW_S)
    queue.follow()
    queue.claim([], [(job("new"), "old")])
    queue.repair(NOW_S + 45)
    assert ap.removed == ["1.0"]
    assert queue.send() == 1
