"""How many jobs the access point gets at a time, and which first."""

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.errors import (
    OutcomeUnknownError,
    QueueFullError,
    RejectedError,
)
from snakemake_executor_plugin_osgpilot.htcondor.error_messages import failure
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import FAILED_ATTEMPTS_MAX
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import (
    EXCEPTIONS_MAX,
    WINDOW_S,
    StartFailureLimiter,
)
from snakemake_executor_plugin_osgpilot.jobs.state.submission import ASK_AGAIN_S
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

SMALL, BIG = JobClass(Shape(1, 500)), JobClass(Shape(4, 3000))


def jobs(count, job_class=SMALL, name="s"):
    return [Job(f"{name}{n}", "map", Request(job_class)) for n in range(count)]


@pytest.fixture
def ap():
    return FakeAccessPoint()


def end(ap, queue, *keys):
    for key in keys:
        ap.tell(key, EventKind.TERMINATED, exit_status=0)
        del ap.queued[key]
    queue.follow()


def test_what_goes_beyond_the_limit_waits_with_us_and_counts_as_demand(ap):
    queue = JobManager(ap, Shape(4, 3800), queued_max=10)
    queue.add(jobs(25))
    assert queue.send() == 10
    assert queue.send() == 0
    assert queue.view().waiting == {SMALL: 25}
    (notice,) = queue.notices()
    assert "no more than 10 jobs" in notice
    assert "15 wait here" in notice
    end(ap, queue, "s0", "s1", "s2")
    assert queue.send() == 3
    assert list(ap.queued)[-3:] == ["s10", "s11", "s12"]
    assert queue.notices() == []


def test_jobs_that_find_no_pilot_do_not_keep_others_out(ap):
    queue = JobManager(ap, Shape(4, 3800), queued_max=10)
    queue.add(jobs(100, BIG, "b"))
    queue.send()
    queue.add(jobs(4))
    end(ap, queue, "b0", "b1")
    assert queue.send() == 2
    assert {"s0", "s1"} < set(ap.queued)


def test_jobs_go_in_by_steps_and_not_one_by_one(ap):
    queue = JobManager(ap, Shape(4, 3800), queued_max=100)
    queue.add(jobs(300))
    queue.send()
    end(ap, queue, "s0")
    assert queue.send() == 0
    end(ap, queue, *(f"s{n}" for n in range(1, 5)))
    assert queue.send() == 5


def test_an_access_point_that_is_full_gets_the_rest_as_jobs_leave(ap):
    queue = JobManager(ap, Shape(4, 3800))
    ap.room = 4
    queue.add(jobs(10))
    assert queue.send() == 0
    assert queue.send() == 4
    assert queue.send() == 0
    assert not queue.over()
    assert queue.view().waiting == {SMALL: 10}
    assert len(queue.notices()) == 1
    end(ap, queue, "s0", "s1")
    assert queue.send() == 2
    assert queue.notices() == []


def test_a_full_access_point_is_asked_again_now_and_then_only(ap):
    queue = JobManager(ap, Shape(4, 3800))
    ap.room = 0
    queue.add(jobs(10))
    queue.send()
    ap.room = 100
    queue.repair(1000.0)
    queue.repair(1000.0 + ASK_AGAIN_S - 1)
    assert queue.send() == 0
    queue.repair(1000.0 + ASK_AGAIN_S)
    assert queue.send() == 10
    assert queue.notices()[-1] == "the access point has room for all jobs again"


def test_batches_become_as_small_as_the_access_point_wants_them(ap):
    queue = JobManager(ap, Shape(4, 3800))
    ap.at_once = 4
    queue.add(jobs(10))
    assert queue.send() == 0
    assert queue.send() == 10
    assert [len(s.keys) for s in ap.submissions] == [4, 4, 2]
    assert queue.notices() == []


@pytest.mark.parametrize(
    ("message", "room", "at_once"),
    [
        ("expected next ProcId to be 7, but Schedd says -3", 7, False),
        ("expected next ProcId to be 100, but Schedd says -4", 100, True),
        ("Failed to create new cluster.SCHEDD:22:MAX_JOBS_SUBMITTED exceeded. Current=9", 0, False),
    ],
)
def test_a_full_access_point_is_told_from_one_that_says_no(message, room, at_once):
    error = failure("submit", message)
    assert isinstance(error, QueueFullError)
    assert (error.room, error.at_once) == (room, at_once)
    assert "Schedd says" not in str(error)


def test_a_rule_of_the_administrators_is_told_in_their_words():
    said = "Unable to commit transaction, SCHEDD:2:project X cannot connect, ask us"
    error = failure("submit", said)
    assert isinstance(error, RejectedError)
    assert str(error).endswith("refuses it: project X cannot connect, ask us")


def test_what_may_pass_is_no_answer():
    assert isinstance(failure("submit", "Failed to connect to schedd."), OutcomeUnknownError)


def strike(ap, queue, count, at_s):
    """As a pilot's check before a job ends, by HTCondor's version: event 007, or 004 with 1007."""
    for n in range(count // 2):
        ap.tell(f"s{n % 2}", EventKind.NOT_STARTED, at_s=at_s, text="hook failed")
    for n in range(count - count // 2):
        ap.tell(f"s{n % 2}", EventKind.EVICTED, at_s=at_s, code=1007, text="hook failed")
    queue.follow()


def test_too_many_failed_starts_stop_new_ones_until_they_are_long_ago(ap):
    queue = JobManager(ap, Shape(4, 3800))
    queue.add(jobs(2))
    queue.send()
    strike(ap, queue, EXCEPTIONS_MAX - 1, 3000.0)
    queue.repair(3000.0)
    assert not ap.paused
    strike(ap, queue, 1, 3000.0)
    queue.repair(3000.0)
    assert ap.paused
    assert any("shadow exceptions" in notice for notice in queue.notices())
    queue.add(jobs(1, BIG, "b"))
    assert queue.send() == 0
    assert "shadow exceptions" in queue.view().brake
    queue.repair(3000.0 + WINDOW_S)
    assert not ap.paused
    assert queue.send() == 1
    assert queue.view().brake == ""
    assert queue.notices() == ["jobs are started again"]


def test_the_brake_is_released_when_few_are_left_not_when_the_first_is_forgotten():
    limiter = StartFailureLimiter()
    for n in range(EXCEPTIONS_MAX):
        limiter = limiter.after_failure(60.0 * n)
    limiter = limiter.at(60.0 * EXCEPTIONS_MAX)
    assert limiter.on
    assert limiter.at(WINDOW_S + 60.0).on
    assert not limiter.at(WINDOW_S + 60.0 * (EXCEPTIONS_MAX - 4)).on


def test_a_job_that_never_starts_is_given_up_after_a_while(ap):
    queue = JobManager(ap, Shape(4, 3800))
    queue.add(jobs(1))
    queue.send()
    for _ in range(FAILED_ATTEMPTS_MAX):
        ap.tell("s0", EventKind.EVICTED, code=1007, text="no default image")
    queue.follow()
    queue.repair(3000.0)
    assert queue.over()["s0"].text == "it was started 10 times without success"


def test_a_schedd_that_dies_while_jobs_are_submitted_has_refused_nothing():
    """It says no reason then, as it does where it refuses."""
    gone = ("Failed to create new cluster.", "Failed to send Cluster Ad", "Failed to receive EOM")
    for said in gone:
        assert type(failure("submit", said)) is OutcomeUnknownError, said
    said = "Failed to create new cluster.SCHEDD:22:Owner may not submit"
    assert type(failure("submit", said)) is RejectedError
