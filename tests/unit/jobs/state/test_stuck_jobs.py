"""Idle jobs that are stuck, in contrast to those that only have to wait."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING, is_temporary
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState, SharedFile
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import (
    BLOCKED_S,
    GAP_S,
    REMATCH_AT_ONCE,
    REMATCHES_MAX,
    STUCK_AFTER_S,
    CapacityHistory,
    NegotiationStatus,
    RematchCount,
    needs_resubmission,
    overdue,
    stuck,
)
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    Request,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot

SMALL, BIG = JobClass(Shape(1, 512), 300), JobClass(Shape(3, 512))
LONG, PINNED = JobClass(Shape(1, 512), 40_000), JobClass(Shape(1, 512), 0, ("gpu/4c",))
PILOT = Pilot("p1", Shape(4, 3800), PilotState.READY, "compute/4c", ends_s=20_000.0)
LOOK_S = 20.0
WAITING = Job("a", "map", Request(SMALL), state=JobState.WAITING, job_id="1.0", since_s=1000.0)


def looks(
    *, until_s=1000.0 + 2 * STUCK_AFTER_S, every_s=LOOK_S, started_s=None, waiting=SMALL, **more
):
    """Return the history of looks at a free pilot from second 1000 on."""
    capacity, now_s = CapacityHistory(), 1000.0
    while now_s <= until_s:
        state = {"pilots": (PILOT,), **more}
        capacity = capacity.after(Snapshot(now_s, {waiting: 1}, **state), started_s or {})
        now_s += every_s
    return capacity


def due(capacity, *jobs, counts=None, known_s=1e9):
    return list(overdue(jobs or [WAITING], capacity, counts or {}, known_s))


def test_job_is_overdue_after_minutes_with_room():
    assert due(looks()) == ["a"]


def test_job_is_not_overdue_earlier():
    assert due(looks(until_s=1000.0 + STUCK_AFTER_S - LOOK_S)) == []


@pytest.mark.parametrize(
    ("waiting", "more"),
    [
        (SMALL, {"pilots": ()}),
        (SMALL, {"pilots": (replace(PILOT, state=PilotState.BOOTING),)}),
        (SMALL, {"pilots": (replace(PILOT, state=PilotState.DRAINING),)}),
        (SMALL, {"pilots": (replace(PILOT, ends_s=None),)}),
        (SMALL, {"blocked": {"p1": "a bad node"}}),
        (SMALL, {"others": {"p1": Shape(4, 1000)}}),
        (BIG, {"running": {"p1": (Running(SMALL, 2, 1000.0),)}}),
        (LONG, {}),
        (PINNED, {}),
    ],
    ids=[
        "no pilot", "it boots", "it leaves", "its end is unknown", "it is blocked",
        "it is full of jobs of others", "it is full of our jobs", "it does not live long enough",
        "it is not of the kind the job wants",
    ],
)  # fmt: skip
def test_job_without_room_is_not_overdue(waiting, more):
    job = replace(WAITING, request=Request(waiting))
    assert due(looks(waiting=waiting, **more), job) == []


def test_time_between_distant_looks_does_not_count():
    assert due(looks(every_s=GAP_S + 1, until_s=1000.0 + 20 * STUCK_AFTER_S)) == []


def test_time_with_a_full_pilot_does_not_count():
    capacity, now_s = CapacityHistory(), 1000.0
    for count in range(40):
        full = {"p1": (Running(SMALL, 4, 1000.0),)} if count % 2 else {}
        capacity = capacity.after(Snapshot(now_s, {SMALL: 1}, (PILOT,), full), {})
        now_s += LOOK_S
    assert due(capacity) == []


def test_times_with_room_on_different_pilots_add_up():
    capacity, now_s = CapacityHistory(), 1000.0
    for count in range(40):
        pilots = () if count % 5 == 0 else (PILOT,)
        capacity = capacity.after(Snapshot(now_s, {SMALL: 1}, pilots), {})
        now_s += LOOK_S
    assert due(capacity) == ["a"]


def test_job_start_on_the_free_pilot_restarts_the_time():
    last_s = 1000.0 + 2 * STUCK_AFTER_S
    assert due(looks(started_s={"p1": last_s - 60})) == []
    assert due(looks(started_s={"p2": last_s - 60})) == ["a"]


def test_time_before_the_job_waited_does_not_count():
    assert due(looks(), replace(WAITING, since_s=1000.0 + STUCK_AFTER_S + LOOK_S)) == []


def test_time_without_known_events_does_not_count():
    assert due(looks(), known_s=1000.0 + STUCK_AFTER_S - 1) == []


@pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.WAITING])
def test_jobs_not_idle_in_the_queue_are_not_overdue(state):
    assert due(looks(), replace(WAITING, state=state)) == []


def test_rematching_backs_off_up_to_a_limit():
    capacity = looks(until_s=1000.0 + 1000 * STUCK_AFTER_S)
    waits_s = []
    for times in range(REMATCHES_MAX):
        counts = {"a": RematchCount(times, 1000.0)}
        waits_s.append(
            next(s for s in range(0, 10**5, 20) if due(capacity, counts=counts, known_s=s))
        )
    assert [s - 1000 for s in waits_s] == [180, 360, 720, 1440]
    assert due(capacity, counts={"a": RematchCount(REMATCHES_MAX, 1000.0)}) == []


def test_job_is_stuck_after_two_cycles_without_an_offer():
    since_s = {"a": 1000.0}
    assert stuck([WAITING], since_s, NegotiationStatus(1001.0)) == [WAITING]
    assert stuck([WAITING], since_s, NegotiationStatus(999.0)) == []
    assert stuck([WAITING], since_s, NegotiationStatus(None)) == []


def test_refused_jobs_and_equal_requests_are_not_stuck():
    alike, other = (replace(WAITING, key=key, job_id=f"1.{key}") for key in "bc")
    other = replace(other, request=Request(SMALL, "image.sif"))
    listed = [WAITING, alike, other]
    since_s = {job.key: 1000.0 for job in listed}
    assert stuck(listed, since_s, NegotiationStatus(2000.0, frozenset({"1.b"}))) == [other]


def test_delayed_job_is_not_stuck():
    since_s = {"a": 1000.0}
    assert stuck([WAITING], since_s, NegotiationStatus(2000.0, resting=frozenset({"1.0"}))) == []


def test_blocked_job_is_stuck_only_after_a_while():
    since_s = {"a": 1000.0}
    for blocked_s, found in ((BLOCKED_S - 1, []), (BLOCKED_S, [WAITING])):
        offers = NegotiationStatus(2000.0, blocked_for_s={"1.0": blocked_s})
        assert stuck([WAITING], since_s, offers) == found


def test_a_job_with_large_shared_inputs_may_be_blocked_for_longer():
    job = replace(WAITING, shared=(SharedFile("genome", 8_000_000_000),))
    for blocked_s, found in ((BLOCKED_S + 3999, []), (BLOCKED_S + 4000, [job])):
        offers = NegotiationStatus(2000.0, blocked_for_s={"1.0": blocked_s})
        assert stuck([job], {"a": 1000.0}, offers) == found


def test_rematched_job_that_is_stuck_again_needs_resubmission():
    assert not needs_resubmission(WAITING, {}, NegotiationStatus(2000.0))
    assert needs_resubmission(WAITING, {"a": RematchCount(1, 1500.0)}, NegotiationStatus(2000.0))
    assert needs_resubmission(
        WAITING, {}, NegotiationStatus(2000.0, blocked_for_s={"1.0": BLOCKED_S})
    )


def test_oldest_stuck_jobs_come_first_up_to_a_limit():
    listed = [replace(WAITING, key=f"{n:02}", job_id=f"1.{n}") for n in range(2 * REMATCH_AT_ONCE)]
    since_s = {job.key: 2000.0 - n for n, job in enumerate(listed)}
    chosen = stuck(listed, since_s, NegotiationStatus(3000.0))
    assert chosen == list(reversed(listed))[:REMATCH_AT_ONCE]


def test_only_a_hold_with_the_subcode_is_temporary():
    assert is_temporary(Event(EventKind.HELD, 1.0, code=1, subcode=REMATCHING))
    assert not is_temporary(Event(EventKind.HELD, 1.0, code=1))
    assert not is_temporary(Event(EventKind.HELD, 1.0, code=34, subcode=REMATCHING))
