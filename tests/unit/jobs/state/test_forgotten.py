"""Which idle jobs HTCondor has forgotten, and which only have to wait."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING, is_temporary
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
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
    """Look at a free pilot again and again from second 1000 on."""
    capacity, now_s = CapacityHistory(), 1000.0
    while now_s <= until_s:
        told = {"pilots": (PILOT,), **more}
        capacity = capacity.after(Snapshot(now_s, {waiting: 1}, **told), started_s or {})
        now_s += every_s
    return capacity


def due(capacity, *jobs, counts=None, known_s=1e9):
    return list(overdue(jobs or [WAITING], capacity, counts or {}, known_s))


def test_a_job_that_waits_beside_a_free_pilot_for_minutes_is_overdue():
    assert due(looks()) == ["a"]


def test_it_is_not_before_that():
    assert due(looks(until_s=1000.0 + STUCK_AFTER_S - LOOK_S)) == []


@pytest.mark.parametrize(
    ("waiting", "more"),
    [
        (SMALL, {"pilots": ()}),
        (SMALL, {"pilots": (replace(PILOT, state=PilotState.BOOTING),)}),
        (SMALL, {"pilots": (replace(PILOT, state=PilotState.DRAINING),)}),
        (SMALL, {"pilots": (replace(PILOT, ends_s=None),)}),
        (SMALL, {"shunned": {"p1": "a bad node"}}),
        (SMALL, {"others": {"p1": Shape(4, 1000)}}),
        (BIG, {"running": {"p1": (Running(SMALL, 2, 1000.0),)}}),
        (LONG, {}),
        (PINNED, {}),
    ],
    ids=[
        "no pilot", "it boots", "it leaves", "it is not known how long it lives", "it is shunned",
        "it is full of jobs of others", "it is full of our jobs", "it does not live long enough",
        "it is not of the kind the job wants",
    ],
)  # fmt: skip
def test_without_room_there_is_nothing_to_wait_beside(waiting, more):
    job = replace(WAITING, request=Request(waiting))
    assert due(looks(waiting=waiting, **more), job) == []


def test_time_of_which_nothing_is_known_does_not_count():
    assert due(looks(every_s=GAP_S + 1, until_s=1000.0 + 20 * STUCK_AFTER_S)) == []


def test_time_in_which_the_pilot_was_full_does_not_count():
    capacity, now_s = CapacityHistory(), 1000.0
    for count in range(40):
        full = {"p1": (Running(SMALL, 4, 1000.0),)} if count % 2 else {}
        capacity = capacity.after(Snapshot(now_s, {SMALL: 1}, (PILOT,), full), {})
        now_s += LOOK_S
    assert due(capacity) == []


def test_times_beside_pilots_that_come_and_go_add_up():
    capacity, now_s = CapacityHistory(), 1000.0
    for count in range(40):
        pilots = () if count % 5 == 0 else (PILOT,)
        capacity = capacity.after(Snapshot(now_s, {SMALL: 1}, pilots), {})
        now_s += LOOK_S
    assert due(capacity) == ["a"]


def test_a_start_there_says_that_htcondor_is_at_work():
    last_s = 1000.0 + 2 * STUCK_AFTER_S
    assert due(looks(started_s={"p1": last_s - 60})) == []
    assert due(looks(started_s={"p2": last_s - 60})) == ["a"]


def test_only_the_time_since_the_job_waits_counts():
    assert due(looks(), replace(WAITING, since_s=1000.0 + STUCK_AFTER_S + LOOK_S)) == []


def test_what_is_not_known_of_jobs_yet_does_not_count():
    assert due(looks(), known_s=1000.0 + STUCK_AFTER_S - 1) == []


@pytest.mark.parametrize("state", [s for s in JobState if s is not JobState.WAITING])
def test_jobs_that_do_not_wait_in_the_queue_are_not_overdue(state):
    assert due(looks(), replace(WAITING, state=state)) == []


def test_a_job_is_woken_later_each_time_and_not_for_ever():
    capacity = looks(until_s=1000.0 + 1000 * STUCK_AFTER_S)
    waits_s = []
    for times in range(REMATCHES_MAX):
        woken = {"a": RematchCount(times, 1000.0)}
        waits_s.append(
            next(s for s in range(0, 10**5, 20) if due(capacity, counts=woken, known_s=s))
        )
    assert [s - 1000 for s in waits_s] == [180, 360, 720, 1440]
    assert due(capacity, counts={"a": RematchCount(REMATCHES_MAX, 1000.0)}) == []


def test_only_what_was_offered_to_nobody_in_two_cycles_is_forgotten():
    since_s = {"a": 1000.0}
    assert stuck([WAITING], since_s, NegotiationStatus(1001.0)) == [WAITING]
    assert stuck([WAITING], since_s, NegotiationStatus(999.0)) == []
    assert stuck([WAITING], since_s, NegotiationStatus(None)) == []


def test_what_a_negotiator_found_no_slot_for_and_all_that_asks_for_the_same_is_not():
    alike, other = (replace(WAITING, key=key, job_id=f"1.{key}") for key in "bc")
    other = replace(other, request=Request(SMALL, "image.sif"))
    listed = [WAITING, alike, other]
    since_s = {job.key: 1000.0 for job in listed}
    assert stuck(listed, since_s, NegotiationStatus(2000.0, frozenset({"1.b"}))) == [other]


def test_what_the_access_point_lets_wait_for_a_moment_is_not():
    since_s = {"a": 1000.0}
    assert stuck([WAITING], since_s, NegotiationStatus(2000.0, resting=frozenset({"1.0"}))) == []


def test_what_waits_for_an_image_is_given_time_for_that():
    since_s = {"a": 1000.0}
    for blocked_s, found in ((BLOCKED_S - 1, []), (BLOCKED_S, [WAITING])):
        offers = NegotiationStatus(2000.0, blocked_for_s={"1.0": blocked_s})
        assert stuck([WAITING], since_s, offers) == found


def test_one_that_waking_does_not_help_is_submitted_anew():
    assert not needs_resubmission(WAITING, {}, NegotiationStatus(2000.0))
    assert needs_resubmission(WAITING, {"a": RematchCount(1, 1500.0)}, NegotiationStatus(2000.0))
    assert needs_resubmission(
        WAITING, {}, NegotiationStatus(2000.0, blocked_for_s={"1.0": BLOCKED_S})
    )


def test_few_are_woken_at_a_time_those_first_that_wait_for_longest():
    listed = [replace(WAITING, key=f"{n:02}", job_id=f"1.{n}") for n in range(2 * REMATCH_AT_ONCE)]
    since_s = {job.key: 2000.0 - n for n, job in enumerate(listed)}
    chosen = stuck(listed, since_s, NegotiationStatus(3000.0))
    assert chosen == list(reversed(listed))[:REMATCH_AT_ONCE]


def test_only_a_hold_with_our_mark_is_ours():
    assert is_temporary(Event(EventKind.HELD, 1.0, code=1, subcode=REMATCHING))
    assert not is_temporary(Event(EventKind.HELD, 1.0, code=1))
    assert not is_temporary(Event(EventKind.HELD, 1.0, code=34, subcode=REMATCHING))
