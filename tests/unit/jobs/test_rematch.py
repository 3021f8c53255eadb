"""Stuck jobs are held and released; the temporary hold is not a failed attempt."""

import math

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.rematch import LOOK_EVERY_S
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import (
    FAILED_ATTEMPTS_MAX,
    REMATCHING,
)
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Leftover
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import (
    BLOCKED_S,
    REMATCHES_MAX,
    STUCK_AFTER_S,
    CapacityHistory,
    NegotiationStatus,
    Span,
)
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Seen
from unit.monitoring.test_history import RecordedWorld
from unit.run.test_controller import SMALL

BEGUN_S = 3000.0
DUE_S = BEGUN_S + STUCK_AFTER_S
OURS = {"code": 1, "subcode": REMATCHING, "text": "osgpilot: temporary hold to trigger rematching"}


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    made = JobManager(ap, Shape(4, 3800))
    made.add([Job(key, "map", Request(SMALL)) for key in "ab"])
    made.send()
    made.set_capacity(capacity(10**6))
    return made


def capacity(until_s):
    return CapacityHistory({SMALL: (Span(BEGUN_S, until_s),)}, {}, until_s)


def test_stuck_jobs_are_rematched_in_one_request_with_a_notice(queue, ap):
    queue.repair(DUE_S - 1)
    assert ap.woken == []
    queue.repair(DUE_S + LOOK_EVERY_S)
    assert ap.woken == [("1.0", "1.1")]
    assert ap.asked_since_s == [BEGUN_S]
    assert queue.notices() == [
        "2 jobs of rule map: HTCondor did not offer them to the negotiator for 4 min although a "
        "pilot has room; held and released to trigger rematching"
    ]


def test_time_after_the_last_look_does_not_count_in_rematch(queue, ap):
    queue.set_capacity(capacity(DUE_S - 1))
    queue.repair(DUE_S + 1000)
    queue.set_capacity(capacity(DUE_S))
    ap.complete_until_s = DUE_S - 1
    queue.repair(DUE_S + 2000)
    assert ap.asked_since_s == []
    ap.complete_until_s = math.inf
    queue.repair(DUE_S + 3000)
    assert len(ap.woken) == 1


def test_negotiation_status_is_queried_at_most_once_a_minute(queue, ap):
    ap.offered = NegotiationStatus(None)
    for half_s in range(240):
        queue.repair(DUE_S + half_s / 2)
    assert len(ap.asked_since_s) == 2
    assert ap.woken == []


def test_job_still_stuck_is_resubmitted_without_a_failed_attempt(queue, ap):
    queue.repair(DUE_S)
    queue.repair(DUE_S + 2 * STUCK_AFTER_S)
    assert ap.woken == [("1.0", "1.1")]
    queue.repair(DUE_S + 2 * STUCK_AFTER_S + 1)
    assert ap.removed == ["1.0", "1.1"]
    assert queue.view().waiting == {SMALL: 2}
    queue.send()
    (again,) = ap.submissions[1:]
    assert (again.keys, again.request.common) == (("a", "b"), False)
    assert [job.failed_attempts for job in queue.jobs("ab")] == [(), ()]
    assert queue.notices()[1:] == [
        "2 jobs of rule map: HTCondor did not offer them to the negotiator for 6 min although a "
        "pilot has room; resubmitted"
    ]
    ap.unread.append(("1.0", Event(EventKind.ABORTED, 4000.0)))
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [(key, job.succeeded) for key, job in queue.over().items()] == [("a", True)]


def test_job_blocked_too_long_is_resubmitted_at_once(queue, ap):
    ap.offered = NegotiationStatus(math.inf, blocked_for_s={"1.0": BLOCKED_S, "1.1": BLOCKED_S - 1})
    queue.repair(DUE_S)
    queue.repair(DUE_S + 1)
    assert (ap.woken, ap.removed) == ([], ["1.0"])


def test_rematching_stops_at_its_limit(queue, ap):
    for minute in range(10**3):
        queue.repair(DUE_S + 60 * minute)
        queue.send()
    assert len(ap.woken) == 1
    assert len(ap.submissions) == REMATCHES_MAX


def test_unanswered_negotiation_query_is_repeated_later(queue, ap):
    ap.fails = OutcomeUnknownError("the schedd is away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(DUE_S)
    queue.repair(DUE_S + 1)
    queue.repair(10**5)
    assert ap.woken == [("1.0", "1.1")]


def test_temporary_hold_is_no_failed_attempt(queue, ap):
    for turn in range(2 * FAILED_ATTEMPTS_MAX):
        ap.tell("a", EventKind.HELD, 4000.0 + turn, **OURS)
        ap.tell("a", EventKind.RELEASED, 4000.5 + turn)
        queue.follow()
        queue.repair(100.0)
    assert queue.view().waiting == {SMALL: 2}
    assert (ap.released, ap.removed, queue.notices(), queue.over()) == ([], [], [], {})
    (job,) = queue.jobs(["a"])
    assert (job.state, job.failed_attempts) == (JobState.WAITING, ())
    assert len(queue.changes()) == 4  # they were added and sent


def test_temporary_hold_without_release_is_released(queue, ap):
    ap.tell("a", EventKind.HELD, **OURS)
    queue.follow()
    assert queue.view().waiting == {SMALL: 2}
    queue.repair(100.0)
    queue.repair(101.0)
    assert ap.released == [(("1.0",), None)]


def test_rejected_release_of_a_temporary_hold_is_ignored(queue, ap):
    ap.tell("a", EventKind.HELD, **OURS)
    queue.follow()
    ap.fails = RejectedError("no such job on hold")
    queue.repair(100.0)
    assert queue.over() == {}


def test_user_hold_after_a_temporary_hold_stays(queue, ap):
    ap.tell("a", EventKind.HELD, **OURS)
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.HELD, code=1, text="by the user")
    queue.follow()
    queue.repair(100.0)
    assert ap.released == []
    assert queue.notices() == [
        "1 job of rule map: was put on hold by hand (by the user); it waits for condor_release"
    ]


def test_next_session_releases_temporary_holds(ap):
    queue = JobManager(ap, Shape(4, 3800))
    entry = Entry("1", "a", "digest", "map", JobClass(Shape(1, 500)), "5.1")
    log = [
        ("5.1", Event(EventKind.SUBMIT, 2000.0, key="1")),
        ("5.1", Event(EventKind.HELD, 2001.0, **OURS)),
    ]
    queue.restore(Leftover({"a": entry}), log)
    queue.repair(3000.0)
    assert ap.released == [(("5.1",), None)]
    assert queue.view().waiting == {SMALL: 1}


def test_controller_rematches_stuck_jobs_and_records_it(tmp_path, logged):
    recorded = RecordedWorld(tmp_path)
    recorded.add("a")
    recorded.tick()
    (allocation,) = recorded.slurm.submitted
    recorded.slurm.show(
        Seen.RUNNING, started_s=recorded.clock.at_s, ends_s=recorded.clock.at_s + 3600
    )
    recorded.ap.known = {allocation.name: {}}
    for _ in range(20):
        recorded.tick()
    assert recorded.ap.woken == [("1.0",)]
    assert len([line for line in logged.info if "held and released" in line]) == 1
    assert len(recorded.replayed.jobs["a"].woken_s) == 1
    assert recorded.replayed.state_of(recorded.replayed.jobs["a"]) == "waiting"


def test_no_job_is_rematched_while_starts_are_suspended(tmp_path):
    recorded = RecordedWorld(tmp_path)
    recorded.add("a", *(f"b{n}" for n in range(12)))
    recorded.tick()
    recorded.slurm.show(
        Seen.RUNNING, started_s=recorded.clock.at_s, ends_s=recorded.clock.at_s + 3600
    )
    recorded.ap.known = {each.name: {} for each in recorded.slurm.submitted}
    for n in range(12):
        recorded.ap.tell(f"b{n}", EventKind.NOT_STARTED, recorded.clock.at_s)
    for _ in range(20):
        recorded.tick()
    assert recorded.ap.paused
    assert recorded.ap.woken == []
