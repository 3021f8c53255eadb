"""Recovery of jobs that are held, interrupted, or lost with their pilots."""

from contextlib import suppress
from dataclasses import replace

import pytest
from queued import NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import FAILED_ATTEMPTS_MAX, history
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import CapacityHistory, Span
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.model.snapshot import UpcomingGroup


def hold(ap, key, code, subcode=0, at_s=2000.0):
    ap.tell(key, EventKind.HELD, at_s, code=code, subcode=subcode, text="why")


def submit_and_hold(queue, ap, code, subcode=0):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", code, subcode)
    queue.follow()


def test_job_over_its_memory_requests_more_and_runs_again(queue, ap):
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    for key in "abc":
        hold(ap, key, 34, 102)
    queue.follow()
    assert queue.view().waiting == {}
    queue.repair(NOW_S)
    assert ap.released == [(("1.0", "1.1", "1.2"), Shape(1, 1024))]
    assert queue.notices() == ["3 jobs of rule map: exceeded 500 MB of memory; requesting 1024 MB"]
    ap.tell("a", EventKind.RELEASED)
    queue.follow()
    assert queue.view().waiting == {JobClass(Shape(1, 1024)): 1}
    queue.repair(NOW_S)
    assert len(ap.released) == 1
    assert queue.over() == {}


def test_held_jobs_that_will_wait_again_are_demand_to_come(queue, ap):
    queue.add([job(key) for key in "abcd"])
    queue.send()
    for key in "ab":
        hold(ap, key, 34, 102)
    hold(ap, "c", 13)
    # by hand: nobody knows when it will wait again
    hold(ap, "d", 1)
    queue.follow()
    larger, as_before = JobClass(Shape(1, 1024)), JobClass(Shape(1, 500))
    assert sorted(queue.view().held) == [
        UpcomingGroup(as_before, 1, 1980.0), UpcomingGroup(larger, 2, 1980.0)
    ]  # fmt: skip
    queue.repair(NOW_S)
    assert (larger, 2) in [group[:2] for group in queue.view().held]
    for key in "ab":
        ap.tell(key, EventKind.RELEASED)
    queue.follow()
    assert queue.view().waiting == {larger: 2}
    assert larger not in [group.job_class for group in queue.view().held]


def test_a_failed_job_may_return_until_it_does_or_is_given_up(queue, ap):
    queue.add([replace(job(key), identity=key) for key in "abc"])
    queue.send()
    for key, status in (("a", 1), ("b", 1), ("c", 0)):
        ap.tell(key, EventKind.TERMINATED, exit_status=status)
    queue.follow()
    assert queue.view().returning == 2
    queue.add([replace(job("a2"), identity="a")])
    assert queue.view().returning == 1
    queue.gave_up(["b"])
    assert queue.view().returning == 0
    # its outputs did not come back whole
    queue.mark_incomplete("c")
    assert queue.view().returning == 1
    assert queue.run_again("c", "not whole")
    assert queue.view().returning == 0


def test_failed_transfer_is_retried_after_its_delay(queue, ap):
    submit_and_hold(queue, ap, 13)
    queue.repair(2009.0)
    assert ap.released == []
    queue.repair(2010.0)
    assert ap.released == [(("1.0",), None)]


def test_release_without_an_answer_is_repeated(queue, ap):
    submit_and_hold(queue, ap, 34, 102)
    ap.fails = OutcomeUnknownError("schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    queue.repair(NOW_S)
    assert len(ap.released) == 1


def test_rejected_release_fails_the_job(queue, ap):
    submit_and_hold(queue, ap, 34, 102)
    ap.fails = RejectedError("no such attribute")
    queue.repair(NOW_S)
    queue.repair(NOW_S)
    assert "no such attribute" in queue.over()["a"].text


def test_job_held_by_hand_waits_for_its_release(queue, ap):
    submit_and_hold(queue, ap, 1)
    queue.repair(NOW_S)
    assert (ap.released, ap.removed, queue.over()) == ([], [], {})
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.over()["a"].exit_status == 0


def test_failed_job_is_reported_only_after_it_left_the_queue(queue, ap):
    submit_and_hold(queue, ap, 26)
    assert queue.over() == {}
    ap.remove_fails = OutcomeUnknownError("schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    assert queue.over() == {}
    assert queue.any_left()
    queue.repair(NOW_S)
    assert list(queue.over()) == ["a"]
    assert not queue.any_left()


def test_repeatedly_interrupted_job_fails_with_its_history(queue, ap):
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


@pytest.mark.parametrize("slots", [1, 3])
def test_a_job_whose_image_never_starts_fails_with_the_reason(queue, ap, slots):
    # HTCondor starts it again by itself, for as long as it is in the queue
    queue.add([job("a")])
    queue.send()
    why = "Singularity test failed:FATAL: no such image"
    for number in range(FAILED_ATTEMPTS_MAX):
        where = f"slot1_{number % slots}@LocalPool.n1"
        ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7", node="n1")
        ap.tell("a", EventKind.EVICTED, code=45, text=f"Error from {where}: {why}")
    queue.follow()
    queue.repair(NOW_S)
    (failed,) = queue.over().values()
    assert failed.text.endswith(f"10 times without success, the last time: {why}")
    assert history(failed.failed_attempts) == f"{why} (in Slurm job 7 on n1)"
    (notice,) = queue.notices()
    assert notice.endswith(f"image did not start in Slurm job 7 on n1: {why}")


def test_failed_starts_count_as_attempts(queue, ap):
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


def test_waiting_jobs_avoid_a_vanished_pilot(queue, ap):
    queue.add([job("a")])
    queue.send()
    queue.pilot_ended("gone", 2100.0, vanished=True)
    queue.pilot_ended("left", 2100.0, vanished=False)
    for _ in range(2):
        queue.repair(2100.0)
    assert ap.avoided == [("gone",)]


def test_pilot_that_vanishes_during_an_update_is_in_the_next(queue, ap):
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


def test_job_on_a_lost_pilot_is_resubmitted(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    queue.repair(2100.0)
    assert ap.removed == []
    queue.repair(NOW_S)
    assert ap.removed == ["1.0"]
    assert ap.queued == {}
    assert queue.view().waiting == {SMALL: 1}
    queue.send()
    assert ap.submissions[-1].avoid == ("p1",)
    ap.unread.append(("1.0", Event(EventKind.ABORTED, 2300.0)))
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [(j.exit_status, len(j.failed_attempts)) for j in queue.over().values()] == [(0, 1)]


def test_job_disconnected_from_an_unknown_pilot_is_resubmitted(queue, ap):
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


def test_reconnected_job_keeps_running(queue, ap):
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


def test_job_starting_on_an_ended_pilot_is_resubmitted(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2110.0)
    assert ap.removed == []
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.view().waiting == {SMALL: 1}
    assert queue.send() == 1
    assert queue.notices() == ["1 job of rule map: was lost before it started; running it again"]


def test_usage_of_an_earlier_start_does_not_hide_the_current(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    ap.tell("a", EventKind.USAGE, memory_mb=100)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]


def test_starting_job_does_not_count_as_running(queue, ap):
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
def test_job_that_left_the_ended_pilot_is_not_lost(queue, ap, kind, pilot):
    start_that_does_not_run_yet(queue, ap)
    ap.tell("a", kind, pilot=pilot)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == []


def test_resubmitted_job_is_not_lost_with_its_old_pilot(queue, ap):
    start_that_does_not_run_yet(queue, ap)
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    queue.send()
    ap.removed.clear()
    queue.pilot_ended("p1", 2200.0, vanished=True)
    queue.repair(2220.0)
    assert ap.removed == []


@pytest.mark.parametrize("kind", [EventKind.MATCHED, EventKind.DISCONNECTED])
def test_replaced_lost_job_is_ignored(queue, ap, kind):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", kind, at_s=2090.0, pilot="p1")
    queue.follow()
    queue.claim([], [(job("b"), "a")])
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.send() == 1


def test_lost_job_does_not_count_earlier_busy_time_twice(queue, ap):
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


def test_job_disconnected_long_after_its_pilot_ended_is_resubmitted(queue, ap):
    """A node without power does not disconnect; the connection to it times out later."""
    queue.add([job("a")])
    queue.send()
    ap.machines["machine"] = "p1"
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    ap.tell("a", EventKind.DISCONNECTED, at_s=2300.0, machine="machine")
    queue.follow()
    queue.repair(2350.0)
    assert ap.removed == ["1.0"]


def test_job_whose_end_follows_its_pilots_is_not_resubmitted(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    queue.repair(NOW_S)
    assert list(queue.over()) == ["a"]
    assert ap.removed == []


def test_lost_job_is_resubmitted_only_after_confirmed_removal(queue, ap):
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


def test_job_with_incomplete_outputs_runs_again_up_to_a_limit(queue, ap):
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
def all_due(queue, ap):
    """A job manager in which every kind of intervention is due."""
    queue.add([job(key) for key in "abcd"])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    hold(ap, "b", 34, 102)
    hold(ap, "c", 26)
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    # as after a previous session
    queue._tracker.forget_settings()
    queue.set_capacity(CapacityHistory({SMALL: (Span(0.0, NOW_S),)}, looked_s=NOW_S))
    return queue


def done(ap) -> dict[str, object]:
    """Return the due interventions that were made, by request."""
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
    """Return a function that makes a request to the access point fail from now on."""
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


def test_all_due_interventions_are_made(all_due, ap, failing):
    all_due.repair(NOW_S)
    assert all(done(ap).values()), done(ap)


@pytest.mark.parametrize("refused", REQUESTS)
def test_rejected_intervention_does_not_block_the_others(all_due, ap, failing, refused):
    failing(refused, RejectedError("you may not"))
    with suppress(RejectedError):
        all_due.repair(NOW_S)
    others = {name: was for name, was in done(ap).items() if name != refused}
    assert all(others.values()), others


@pytest.mark.parametrize("silent", REQUESTS)
def test_unanswered_intervention_only_delays_the_others(all_due, ap, failing, silent):
    failing(silent, OutcomeUnknownError("no answer"))
    for _ in range(3):
        before = len(ap.requests)
        with suppress(OutcomeUnknownError):
            all_due.repair(NOW_S)
        assert ap.requests[before:].count(silent) <= 1, "each costs its deadline"
    others = {name: was for name, was in done(ap).items() if name != silent}
    assert all(others.values()), others


def test_rejections_are_reported_together_in_stable_order(all_due, failing):
    failing("set_paused", RejectedError("not that"))
    failing("keep_apart", RejectedError("nor this"))
    for _ in range(2):
        with pytest.raises(RejectedError, match=r"^nor this; not that$"):
            all_due.repair(NOW_S)
