"""Polls at any times derive in sum the events of an event log."""

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.htcondor.polling import (
    BELIEVED_AFTER,
    JobSnapshot,
    QueuePoller,
    Status,
    derive,
)
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState, apply_event
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

JOB = Job("1", "rule", Request(JobClass(Shape(1, 500))), state=JobState.WAITING)
STATES = {
    Status.IDLE: JobState.WAITING,
    Status.HELD: JobState.HELD,
    Status.COMPLETED: JobState.ENDED,
    Status.REMOVED: JobState.REMOVED,
}

STEPS = st.sampled_from(
    ["start", "begin", "vacate", "hold", "release", "complete", "kill", "remove", "grow"]
)


def _under_way(step, now, at_s):
    """Return the changes during a start, None if the step is impossible."""
    if now.status is not Status.RUNNING:
        return None
    if step == "begin" and now.started_s is None:
        return {"started_s": at_s}
    if step == "grow":
        return {"memory_mb": now.memory_mb + 100}
    return None


def _moved(step, now):
    """Return the changes with a new state of the job, None if the step is impossible."""
    status = now.status
    if step == "start" and status is Status.IDLE:
        place = {"pilot": f"p{now.starts}", "allocation_id": f"{now.starts}"}
        return {"status": Status.RUNNING, "starts": now.starts + 1, "started_s": None, **place}
    if step == "vacate" and status is Status.RUNNING:
        return {"status": Status.IDLE, "text": "vacated"}
    if step == "hold" and status in (Status.IDLE, Status.RUNNING):
        return {"status": Status.HELD, "holds": now.holds + 1, "code": 13, "text": "held"}
    if step == "release" and status is Status.HELD:
        return {"status": Status.IDLE, "code": 0}
    if step in ("complete", "kill") and status is Status.RUNNING and now.started_s is not None:
        return {"status": Status.COMPLETED, "exit_status": 0 if step == "complete" else 137}
    if step == "remove":
        return {"status": Status.REMOVED, "text": "removed"}
    return None


def story(steps):
    """Return snapshots of a job after each possible step, and its number of failed attempts."""
    at_s, failed_attempts = 100.0, 0
    snapshots = [JobSnapshot(Status.IDLE, at_s, at_s, at_s)]
    for step in steps:
        now, at_s = snapshots[-1], at_s + 10
        if now.over:
            break
        if changed := _under_way(step, now, at_s):
            snapshots.append(replace(now, seen_s=at_s, **changed))
        elif changed := _moved(step, now):
            snapshots.append(
                replace(now, **{"seen_s": at_s, "since_s": at_s, "text": "", **changed})
            )
            failed_attempts += step in ("vacate", "hold")
    return snapshots, failed_attempts


@given(steps=st.lists(STEPS, max_size=40), data=st.data())
def test_polls_at_any_times_end_in_the_current_state(steps, data):
    snapshots, failed_attempts = story(steps)
    chosen = data.draw(st.sets(st.integers(0, len(snapshots) - 1)).map(sorted))
    looks = [snapshots[i] for i in chosen if i != len(snapshots) - 1] + [snapshots[-1]]
    every_look = len(looks) == len(snapshots)
    events, before = [], None
    for snapshot in looks:
        events += derive(before, snapshot)
        before = snapshot
    job = JOB
    for event in events:
        job = apply_event(job, event)

    last = snapshots[-1]
    began = last.started_s is not None
    want = STATES.get(last.status, JobState.RUNNING if began else JobState.WAITING)
    assert job.state is want
    assert job.exit_status == last.exit_status
    kinds = Counter(event.kind for event in events)
    assert kinds[EventKind.SUBMIT] == 1
    assert kinds[EventKind.TERMINATED] + kinds[EventKind.ABORTED] == last.over
    if last.over:
        assert events[-1].kind in (EventKind.TERMINATED, EventKind.ABORTED)
    assert job.used_mb == last.memory_mb
    # every start is known of, and none is invented
    ran_to_the_end = last.active or last.status is Status.COMPLETED
    assert job.attempts <= last.starts
    assert len(job.failed_attempts) <= failed_attempts
    assert len(job.failed_attempts) >= last.starts - ran_to_the_end - (
        last.status is Status.REMOVED
    )
    if began:
        assert (job.pilot, job.allocation_id) == (last.pilot, last.allocation_id)
        assert job.started_s == last.started_s
    if every_look:
        assert len(job.failed_attempts) == failed_attempts


@given(steps=st.lists(STEPS, max_size=40))
def test_repeated_poll_has_no_events(steps):
    for snapshot in story(steps)[0]:
        assert derive(snapshot, replace(snapshot, seen_s=snapshot.seen_s + 60)) == []


@given(
    st.lists(st.sampled_from(["queue", "history", "neither", "no answer"]), max_size=12),
    st.lists(STEPS, max_size=20),
)
def test_job_ends_once_and_only_after_an_answer(answers, steps):
    snapshots, _ = story(steps)
    poller, events, gone = QueuePoller(), [], 0
    poller.follow(["1.0"])
    for n, answer in enumerate(answers):
        if not poller:
            break
        snapshot = snapshots[min(n, len(snapshots) - 1)]
        missing = poller.missing(["1.0"] if answer == "queue" else [])
        if answer == "queue" and not snapshot.over:
            events += poller.update({"1.0": snapshot})
            gone = 0
        elif answer == "history" and snapshot.over and missing:
            events += poller.update({"1.0": snapshot})
        elif answer == "neither":
            events += poller.record_missing(missing, 1000.0 + n)
            gone += bool(missing)
    ends = [e for _, e in events if e.kind in (EventKind.TERMINATED, EventKind.ABORTED)]
    assert len(ends) <= 1
    assert bool(ends) == (not poller)
    if ends and ends[0].text.startswith("the access point has it neither"):
        assert gone >= BELIEVED_AFTER


def test_start_between_two_polls_has_no_place():
    idle = JobSnapshot(Status.IDLE, 100, 100, 100)
    again = replace(idle, seen_s=160, starts=2, status=Status.RUNNING, started_s=150, pilot="p2")
    assert [(e.kind, e.pilot) for e in derive(idle, again)] == [
        (EventKind.EXECUTE, ""),
        (EventKind.EVICTED, ""),
        (EventKind.EXECUTE, "p2"),
    ]


def test_job_that_ended_between_two_polls_has_all_events():
    idle = JobSnapshot(Status.IDLE, 100, 100, 100)
    done = JobSnapshot(
        Status.COMPLETED, 160, 100, 150, starts=1, started_s=120.0, pilot="p", allocation_id="7",
        node="n1", exit_status=3, memory_mb=20,
    )  # fmt: skip
    assert derive(idle, done) == [
        Event(EventKind.EXECUTE, 120, pilot="p", allocation_id="7", node="n1"),
        Event(EventKind.USAGE, 160, memory_mb=20),
        Event(EventKind.TERMINATED, 150, exit_status=3),
    ]
