"""Jobs that are held, interrupted, or lost with their pilots."""

from contextlib import suppress

import pytest
from queued import NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import FAILED_ATTEMPTS_MAX, history
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import CapacityHistory, Span
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape


def hold(ap, key, code, subcode=0, at_s=2000.0):
    ap.tell(key, EventKind.HELD, at_s, code=code, subcode=subcode, text="why")


def test_a_job_that_took_too_much_memory_asks_for_more_and_runs_again(queue, ap):
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    for key in "abc":
        hold(ap, key, 34, 102)
    queue.follow()
    assert queue.view().waiting == {}
    queue.repair(NOW_S)
    assert ap.released == [(("1.0", "1.1", "1.2"), Shape(1, 1024))]
    assert queue.notices() == [
        "3 job(s) of rule map: exceeded 500 MB of memory; requesting 1024 MB"
    ]
    ap.tell("a", EventKind.RELEASED)
    queue.follow()
    assert queue.view().waiting == {JobClass(Shape(1, 1024)): 1}
    queue.repair(NOW_S)
    assert len(ap.released) == 1
    assert queue.over() == {}


def test_a_failed_transfer_is_tried_again_when_its_time_has_come(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 13)
    queue.follow()
    queue.repair(2009.0)
    assert ap.released == []
    queue.repair(2010.0)
    assert ap.released == [(("1.0",), None)]


def test_a_release_without_an_answer_is_said_again(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 34, 102)
    queue.follow()
    ap.fails = OutcomeUnknownError("schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    queue.repair(NOW_S)
    assert len(ap.released) == 1


def test_a_release_that_is_refused_ends_the_job(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 34, 102)
    queue.follow()
    ap.fails = RejectedError("no such attribute")
    queue.repair(NOW_S)
    queue.repair(NOW_S)
    assert "no such attribute" in queue.over()["a"].text


def test_a_job_held_by_hand_waits_for_its_release(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 1)
    queue.follow()
    queue.repair(NOW_S)
    assert (ap.released, ap.removed, queue.over()) == ([], [], {})
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.over()["a"].exit_status == 0


def test_a_job_that_is_given_up_is_told_only_when_it_has_left_the_queue(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 26)
    queue.follow()
    assert queue.over() == {}
    ap.remove_fails = OutcomeUnknownError("schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    assert queue.over() == {}
    assert queue.any_left()
    queue.repair(NOW_S)
    assert list(queue.over()) == ["a"]
    assert not queue.any_left()


def test_a_job_that_is_interrupted_again_and_again_is_given_up_with_its_history(queue, ap):
    queue.add([job("a")])
    queue.send()
    for number in range(FAILED_ATTEMPTS_MAX):
        ap.tell("a", EventKind.EXECUTE, pilot=f"p{number}", allocation_id=str(number))
        ap.tell("a", EventKind.EVICTED, text="preempted")
    queue.follow()
    queue.repair(NOW_S)
    (given_up,) = queue.over().values()
    assert "started 10 times without success" in given_up.text
    assert history(given_up.failed_attempts).startswith(
        "preempted (in Slurm job 0, in Slurm job 1, "
    )
    assert ap.removed == ["1.0"]


def test_starts_that_fail_before_the_job_runs_count_as_well(queue, ap):
    queue.add([job("a")])
    queue.send()
    for _ in range(FAILED_ATTEMPTS_MAX):
        ap.tell("a", EventKind.NOT_STARTED, text="no container")
    queue.follow()
    queue.repair(NOW_S)
    assert list(queue.over()) == ["a"]


def start_on_a_pilot_that_ends(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)


def test_waiting_jobs_are_kept_off_a_pilot_that_vanished(queue, ap):
    queue.add([job("a")])
    queue.send()
    queue.pilot_ended("gone", 2100.0, vanished=True)
    queue.pilot_ended("left", 2100.0, vanished=False)
    for _ in range(2):
        queue.repair(2100.0)
    assert ap.avoided == [("gone",)]


def test_a_pilot_that_vanishes_while_jobs_are_kept_off_another_is_told_next(queue, ap):
    queue.add([job("a")])
    queue.send()
    avoid = ap.avoid

    def slowly(pilots):
        avoid(pilots)
        queue.pilot_ended("second", 2100.0, vanished=True)

    queue.pilot_ended("first", 2100.0, vanished=True)
    ap.avoid = slowly
    queue.repair(2100.0)
    ap.avoid = avoid
    queue.repair(2100.0)
    assert ap.avoided == [("first",), ("first", "second")]


def test_a_job_whose_pilot_was_lost_is_taken_out_and_submitted_anew(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    queue.repair(2100.0)
    assert ap.removed == []
    queue.repair(NOW_S)
    assert ap.removed == ["1.0"]
    assert ap.queued == {}
    assert queue.view().waiting == {SMALL: 1}
    queue.send()
    assert ap.submissions[-1].avoid == ("p1",)
    ap.told.append(("1.0", Event(EventKind.ABORTED, 2300.0)))
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [(j.exit_status, len(j.failed_attempts)) for j in queue.over().values()] == [(0, 1)]


def test_a_job_that_was_lost_before_its_pilot_was_told_is_submitted_anew(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.DISCONNECTED, at_s=2090.0)
    queue.follow()
    queue.repair(2120.0)
    assert ap.removed == []  # its pilot may be alive behind a network that is cut
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2110.0)
    assert ap.removed == []
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.view().waiting == {SMALL: 1}


def test_a_job_that_was_found_again_is_left_alone(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.DISCONNECTED, at_s=2090.0)
    ap.tell("a", EventKind.EXECUTE, at_s=2095.0, pilot="p2", allocation_id="8")
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == []


def start_that_does_not_run_yet(queue, ap, pilot="p1"):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.MATCHED, pilot=pilot)
    queue.follow()


def test_a_job_that_was_being_started_on_a_pilot_that_ended_is_submitted_anew(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2110.0)
    assert ap.removed == []
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.view().waiting == {SMALL: 1}
    assert queue.send() == 1
    assert queue.notices() == ["1 job(s) of rule map: was lost before it started; running it again"]


def test_memory_that_an_earlier_start_took_does_not_hide_the_present_one(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    ap.tell("a", EventKind.USAGE, memory_mb=100)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]


def test_a_job_that_is_being_started_does_not_count_as_running(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    assert queue.view().waiting == {SMALL: 1}
    assert queue.busy_pilots() == set()
    assert queue.served_s() == {}
    assert queue.counts()["running"] == 0


@pytest.mark.parametrize(
    ("kind", "pilot"),
    [
        (EventKind.MATCHED, "p2"),
        (EventKind.MATCHED, ""),
        (EventKind.EXECUTE, "p2"),
        (EventKind.NOT_STARTED, ""),
    ],
)
def test_a_job_that_has_left_the_pilot_that_ended_is_left_alone(queue, ap, kind, pilot):
    start_that_does_not_run_yet(queue, ap)
    ap.tell("a", kind, pilot=pilot)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == []


def test_a_job_that_was_submitted_anew_meanwhile_is_not_lost_with_its_old_pilot(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    queue.send()
    ap.removed.clear()
    queue.pilot_ended("p1", 2200.0, vanished=True)
    queue.repair(2220.0)
    assert ap.removed == []


@pytest.mark.parametrize("kind", [EventKind.MATCHED, EventKind.DISCONNECTED])
def test_a_lost_job_that_was_replaced_is_not_looked_for(queue, ap, kind):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", kind, at_s=2090.0, pilot="p1")
    queue.follow()
    queue.claim([], [(job("b"), "a")])
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.send() == 1


def test_the_time_of_an_earlier_start_does_not_count_twice_when_a_job_is_lost(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, at_s=1000.0, pilot="p0", allocation_id="7")
    ap.tell("a", EventKind.EVICTED, at_s=1010.0)
    ap.tell("a", EventKind.MATCHED, at_s=1020.0, pilot="p1")
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.jobs(["a"])[0].busy_s == 10.0


def test_a_job_that_lost_touch_with_a_known_pilot_long_after_its_end_is_submitted_anew(queue, ap):
    """A node that loses its power says nothing; the connection to it is given up later."""
    queue.add([job("a")])
    queue.send()
    ap.machines["machine"] = "p1"
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    ap.tell("a", EventKind.DISCONNECTED, at_s=2300.0, machine="machine")
    queue.follow()
    queue.repair(2350.0)
    assert ap.removed == ["1.0"]


def test_a_job_whose_end_is_told_after_that_of_its_pilot_is_not_run_again(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    queue.repair(NOW_S)
    assert list(queue.over()) == ["a"]
    assert ap.removed == []


def test_a_lost_job_is_sent_only_when_the_old_one_is_gone_for_certain(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    ap.remove_fails = OutcomeUnknownError("schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    assert queue.send() == 0
    queue.fail_waiting([SMALL], "no pilots")
    assert queue.over() == {}
    queue.repair(NOW_S)
    assert queue.send() == 0
    assert list(queue.over()) == ["a"]


def test_a_job_that_did_not_come_back_whole_runs_again_but_not_for_ever(queue, ap):
    queue.add([job("a")])
    for _ in range(FAILED_ATTEMPTS_MAX - 1):
        queue.send()
        ap.tell("a", EventKind.TERMINATED, exit_status=0)
        queue.follow()
        assert list(queue.over()) == ["a"]
        assert queue.run_again("a", "half of it is missing")
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert not queue.run_again("a", "half of it is missing")
    assert not queue.any_left()


REQUESTS = ("set_paused", "avoid", "remove", "release", "keep_apart", "negotiation_status")


@pytest.fixture
def errands_due(queue, ap):
    """A queue in which every kind of errand is due."""
    queue.add([job(key) for key in "abcd"])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    hold(ap, "b", 34, 102)
    hold(ap, "c", 26)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    # as after a previous session
    queue._tracker._submit_queue.forget_settings()
    queue.set_capacity(CapacityHistory({SMALL: (Span(0.0, NOW_S),)}, looked_s=NOW_S))
    return queue


def done(ap) -> dict[str, object]:
    """What was done of the errands that are due, by the request that does them."""
    return {
        "set_paused": "set_paused" in ap.requests,
        "avoid": ap.avoided == [("p1",)],
        "remove": set(ap.removed) == {"1.0", "1.2"},
        "release": [ids for ids, _ in ap.released] == [("1.1",)],
        "keep_apart": ap.apart != [],
        "negotiation_status": ap.asked_since_s != [],
    }


@pytest.fixture
def failing(ap, monkeypatch):
    """Return a function that has a request to the access point fail from now on."""
    ap.requests = []

    def fail(name, error):
        def request(*arguments, **named):
            ap.requests.append(name)
            if error:
                raise error
            return method(*arguments, **named)

        method = getattr(type(ap), name).__get__(ap)
        monkeypatch.setattr(ap, name, request)

    fail("set_paused", None)
    return fail


def test_all_errands_that_are_due_are_done(errands_due, ap, failing):
    errands_due.repair(NOW_S)
    assert all(done(ap).values()), done(ap)


@pytest.mark.parametrize("refused", REQUESTS)
def test_a_refused_errand_does_not_keep_the_others_from_being_done(
    errands_due, ap, failing, refused
):
    failing(refused, RejectedError("you may not"))
    with suppress(RejectedError):
        errands_due.repair(NOW_S)
    others = {name: was for name, was in done(ap).items() if name != refused}
    assert all(others.values()), others


@pytest.mark.parametrize("silent", REQUESTS)
def test_an_errand_that_is_never_answered_only_delays_the_others(errands_due, ap, failing, silent):
    failing(silent, OutcomeUnknownError("no answer"))
    for _ in range(3):
        before = len(ap.requests)
        with suppress(OutcomeUnknownError):
            errands_due.repair(NOW_S)
        assert ap.requests[before:].count(silent) <= 1, "each costs its deadline"
    others = {name: was for name, was in done(ap).items() if name != silent}
    assert all(others.values()), others


def test_refusals_are_told_together_and_in_the_same_words_each_time(errands_due, failing):
    failing("set_paused", RejectedError("not that"))
    failing("keep_apart", RejectedError("nor this"))
    for _ in range(2):
        with pytest.raises(RejectedError, match=r"^nor this; not that$"):
            errands_due.repair(NOW_S)
