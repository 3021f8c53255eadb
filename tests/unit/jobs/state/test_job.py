"""A job after events of the log."""

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState, apply_event
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.monitoring import records

JOB = Job("000001", "map", Request(JobClass(Shape(1, 500))))


def after(*events):
    job = JOB
    for event in events:
        job = apply_event(job, event)
    return job


SUBMIT = Event(EventKind.SUBMIT, 1.0)
EXECUTE = Event(EventKind.EXECUTE, 10.0, pilot="p1", allocation_id="7")
END = Event(EventKind.TERMINATED, 15.0, exit_status=0)


def test_job_runs_from_submission_to_end():
    job = after(SUBMIT, EXECUTE, END)
    assert (job.state, job.exit_status, job.busy_s) == (JobState.ENDED, 0, 5.0)
    assert (job.pilot, job.allocation_id) == ("p1", "7")


def test_evicted_job_waits_again_and_keeps_its_busy_time():
    job = after(SUBMIT, EXECUTE, Event(EventKind.EVICTED, 12.0))
    assert (job.state, job.busy_s) == (JobState.WAITING, 2.0)
    again = apply_event(apply_event(job, Event(EventKind.EXECUTE, 20.0, pilot="p2")), END)
    assert (again.pilot, again.attempts) == ("p2", 2)


def test_late_submit_event_changes_nothing():
    assert after(EXECUTE, SUBMIT).state is JobState.RUNNING


def test_end_without_a_start_counts():
    assert after(SUBMIT, END).state is JobState.ENDED


def test_repeated_end_changes_nothing():
    twice = Event(EventKind.TERMINATED, 99.0, exit_status=1)
    assert after(SUBMIT, EXECUTE, END, twice) == after(SUBMIT, EXECUTE, END)


def test_held_job_waits_again_after_its_release():
    held = after(SUBMIT, Event(EventKind.HELD, 2.0, text="disk full"))
    assert (held.state, held.text, held.over) == (JobState.HELD, "disk full", False)
    released = apply_event(held, Event(EventKind.RELEASED, 3.0, text="via condor_release"))
    assert released.state is JobState.WAITING
    assert records.moved([released], 4.0, str)[0]["jobs"][0][2] == "disk full"


def test_release_without_a_hold_changes_nothing():
    """A schedd that was asked for both at once may write the second event alone, and late."""
    release = Event(EventKind.RELEASED, 11.0, text="via condor_release")
    waits = after(SUBMIT, EXECUTE, Event(EventKind.EVICTED, 10.5, text="the pilot was lost"))
    for before in (after(SUBMIT), waits, after(SUBMIT, EXECUTE)):
        assert apply_event(before, release) == before


def test_job_released_before_it_stopped_counts_as_running():
    """Both orders were seen (25.14): the first where both are asked for at once."""
    evicted = Event(EventKind.EVICTED, 12.0, code=1, text="by the user")
    held = Event(EventKind.HELD, 12.0, code=1, text="by the user")
    at_once = after(SUBMIT, EXECUTE, Event(EventKind.RELEASED, 11.0))
    assert at_once.state is JobState.RUNNING
    at_once = apply_event(at_once, evicted)
    assert (at_once.state, at_once.failed_attempts, at_once.busy_s) == (JobState.WAITING, (), 2.0)
    slowly = after(SUBMIT, EXECUTE, evicted, held, Event(EventKind.RELEASED, 13.0))
    assert (slowly.state, len(slowly.failed_attempts), slowly.busy_s) == (JobState.WAITING, 1, 2.0)
