"""Limits and order of submissions."""

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


def test_jobs_over_the_queue_limit_wait_as_demand(ap):
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


def test_jobs_without_a_pilot_do_not_block_others(ap):
    queue = JobManager(ap, Shape(4, 3800), queued_max=10)
    queue.add(jobs(100, BIG, "b"))
    queue.send()
    queue.add(jobs(4))
    end(ap, queue, "b0", "b1")
    assert queue.send() == 2
    assert {"s0", "s1"} < set(ap.queued)


def test_unsent_jobs_are_submitted_in_steps(ap):
    queue = JobManager(ap, Shape(4, 3800), queued_max=100)
    queue.add(jobs(300))
    queue.send()
    end(ap, queue, "s0")
    assert queue.send() == 0
    end(ap, queue, *(f"s{n}" for n in range(1, 5)))
    assert queue.send() == 5


def test_full_access_point_gets_jobs_as_others_leave(ap):
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


def test_full_access_point_is_asked_again_after_a_delay(ap):
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


def test_batch_size_follows_the_access_point_limit(ap):
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
def test_full_queue_is_distinct_from_rejection(message, room, at_once):
    error = failure("submit", message)
    assert isinstance(error, QueueFullError)
    assert (error.room, error.at_once) == (room, at_once)
    assert "Schedd says" not in str(error)


def test_submit_requirement_is_reported_with_its_reason():
    message = "Unable to commit transaction, SCHEDD:2:project X cannot connect, ask us"
    error = failure("submit", message)
    assert isinstance(error, RejectedError)
    assert str(error).endswith("refuses it: project X cannot connect, ask us")


def test_transient_failure_counts_as_unknown_outcome():
    assert isinstance(failure("submit", "Failed to connect to schedd."), OutcomeUnknownError)


def strike(ap, queue, count, at_s):
    """As a pilot's check before a job ends, by HTCondor's version: event 007, or 004 with 1007."""
    for n in range(count // 2):
        ap.tell(f"s{n % 2}", EventKind.NOT_STARTED, at_s=at_s, text="hook failed")
    for n in range(count - count // 2):
        ap.tell(f"s{n % 2}", EventKind.EVICTED, at_s=at_s, code=1007, text="hook failed")
    queue.follow()


def test_too_many_failed_starts_suspend_new_ones(ap):
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
    assert "shadow exceptions" in queue.view().starts_paused
    queue.repair(3000.0 + WINDOW_S)
    assert not ap.paused
    assert queue.send() == 1
    assert queue.view().starts_paused == ""
    assert queue.notices() == ["jobs are started again"]


def test_limiter_stays_on_until_few_failures_are_recent():
    limiter = StartFailureLimiter()
    for n in range(EXCEPTIONS_MAX):
        limiter = limiter.after_failure(60.0 * n)
    limiter = limiter.at(60.0 * EXCEPTIONS_MAX)
    assert limiter.on
    assert limiter.at(WINDOW_S + 60.0).on
    assert not limiter.at(WINDOW_S + 60.0 * (EXCEPTIONS_MAX - 4)).on


def test_job_that_never_starts_fails(ap):
    queue = JobManager(ap, Shape(4, 3800))
    queue.add(jobs(1))
    queue.send()
    for _ in range(FAILED_ATTEMPTS_MAX):
        ap.tell("s0", EventKind.EVICTED, code=1007, text="no default image")
    queue.follow()
    queue.repair(3000.0)
    assert "10 times without success" in queue.over()["s0"].text


def test_schedd_crash_during_submission_is_no_rejection():
    """A rejection has a reason, a crash has none."""
    gone = ("Failed to create new cluster.", "Failed to send Cluster Ad", "Failed to receive EOM")
    for message in gone:
        assert type(failure("submit", message)) is OutcomeUnknownError, message
    message = "Failed to create new cluster.SCHEDD:22:Owner may not submit"
    assert type(failure("submit", message)) is RejectedError
