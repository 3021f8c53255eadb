"""Events that the log lost are found in the queue or in the history."""

import errno
from contextlib import suppress

import pytest
from queued import NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.log_gaps import HISTORY_TRIES
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState


def no_answer():
    raise OutcomeUnknownError("the access point did not answer")


def test_job_missing_from_log_and_queue_has_ended(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1")
    del ap.queued["a"]
    queue.follow()
    assert queue.over() == {}, "absence alone is no end"
    ap.missed = True
    queue.follow()
    assert [job.key for job in queue.over().values()] == ["a"]
    assert queue.any_left()
    assert queue.run_again("a", "the list of its outputs did not come back")


def test_damaged_log_is_repaired_once_the_access_point_answers(queue, ap, monkeypatch):
    queue.add([job("a")])
    queue.send()
    ap.queued.clear()
    ap.missed = True
    with monkeypatch.context() as patch:
        patch.setattr(ap, "find", no_answer)
        with pytest.raises(OutcomeUnknownError):
            queue.follow()
    queue.follow()
    assert set(queue.over()) == {"a"}


def test_history_has_ends_that_the_log_lost(queue, ap):
    """A job that somebody removed must not run again for that."""
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    ids = dict(ap.queued)
    ap.history[ids["a"]] = Event(EventKind.ABORTED, 2000.0, text="condor_rm (by user alice)")
    ap.history[ids["b"]] = Event(EventKind.TERMINATED, 2000.0, exit_status=3)
    ap.queued.clear()
    ap.missed = True
    queue.follow()
    over = queue.over()
    assert "condor_rm (by user alice)" in over["a"].text
    assert over["a"].state is JobState.REMOVED
    assert (over["b"].exit_status, over["c"].exit_status) == (3, 0)


@pytest.mark.parametrize(
    "why", [RejectedError("no history"), OutcomeUnknownError("it takes too long")]
)
def test_unavailable_history_does_not_stop_the_workflow(queue, ap, why):
    queue.add([job("a")])
    queue.send()
    ap.queued.clear()
    ap.history_fails = why
    ap.missed = True
    tries = 0
    while not (over := queue.over()):
        with suppress(OutcomeUnknownError):
            queue.follow()
        tries += 1
    assert over["a"].exit_status == 0, "its list of outputs decides"
    assert tries == (1 if isinstance(why, RejectedError) else HISTORY_TRIES)


def test_queue_has_a_hold_that_the_log_lost(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    full = {"code": 7, "subcode": errno.ENOSPC, "text": "No space left on device"}
    ap.held_now["a"] = Event(EventKind.HELD, 2000.0, **full)
    queue.follow()
    assert queue.over() == {}
    ap.missed = True
    queue.follow()
    queue.repair(NOW_S)
    (given_up,) = queue.over().values()
    assert "is its disk full?" in given_up.text
    assert ap.removed == ["1.0"]


@pytest.mark.parametrize("hold", [{"code": 1, "text": "by the user"}, {"code": 13}])
def test_queue_has_a_release_that_the_log_lost(queue, ap, hold):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.HELD, **hold)
    ap.tell("b", EventKind.HELD, **hold)
    queue.follow()
    ap.held_now["b"] = Event(EventKind.HELD, 2000.0, **hold)
    ap.missed = True
    queue.follow()
    assert [each.state for each in queue.jobs("ab")] == [JobState.WAITING, JobState.HELD]
    assert queue.view().waiting == {SMALL: 1}, "pilots are requested for it again"
    assert [len(each.failed_attempts) for each in queue.jobs("ab")] == [1, 1]


def hold_by_hand(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, 2000.0, code=1, text="by the user")
    queue.follow()


def test_hold_logged_during_the_query_is_kept(queue, ap, monkeypatch):
    hold_by_hand(queue, ap)

    def held():
        ap.tell("a", EventKind.RELEASED, 2001.0)
        ap.tell("a", EventKind.HELD, 2001.0, code=1, text="by the user")
        return {}

    monkeypatch.setattr(ap, "held", held)
    ap.missed = True
    queue.follow()
    assert [each.state for each in queue.jobs("a")] == [JobState.HELD]


def test_release_logged_during_the_query_is_kept(queue, ap, monkeypatch):
    hold_by_hand(queue, ap)

    def held():
        ap.tell("a", EventKind.RELEASED, 2001.0)
        return {"1.0": Event(EventKind.HELD, 2000.0, code=1, text="by the user")}

    monkeypatch.setattr(ap, "held", held)
    ap.missed = True
    queue.follow()
    assert [(each.state, len(each.failed_attempts)) for each in queue.jobs("a")] == [
        (JobState.WAITING, 1)
    ]
