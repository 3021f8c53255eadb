"""Events derived from two snapshots of a job."""

from dataclasses import replace

from snakemake_executor_plugin_osgpilot.htcondor.polling import JobSnapshot, Status, derive
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind

MATCHED = JobSnapshot(Status.RUNNING, 100.0, 50.0, 90.0, starts=1)


def failed_starts(now: JobSnapshot) -> int:
    return sum(event.failed_start for event in derive(MATCHED, now))


def test_attempt_with_a_reason_counts_as_failed_start():
    now = JobSnapshot(Status.IDLE, 120.0, 50.0, 110.0, starts=1, text="cannot make the container")
    assert failed_starts(now) == 1


def test_attempt_without_a_reason_is_no_failed_start():
    """The access point was restarted: neither job nor pilot is at fault."""
    assert failed_starts(JobSnapshot(Status.IDLE, 120.0, 50.0, 110.0, starts=1)) == 0
    assert failed_starts(JobSnapshot(Status.RUNNING, 120.0, 50.0, 110.0, starts=2)) == 0


def matched(before: JobSnapshot | None, now: JobSnapshot) -> list[str]:
    """Return the pilots of MATCHED events."""
    return [event.pilot for event in derive(before, now) if event.kind is EventKind.MATCHED]


def test_start_under_way_is_reported_once_with_its_pilot():
    on_p1 = replace(MATCHED, pilot="p1")
    assert matched(None, on_p1) == ["p1"]
    assert matched(on_p1, replace(on_p1, seen_s=110.0)) == []
    assert matched(on_p1, replace(on_p1, started_s=105.0)) == []


def test_next_start_is_reported_with_its_own_pilot():
    on_p1 = replace(MATCHED, pilot="p1")
    assert matched(on_p1, replace(on_p1, starts=2, pilot="p2")) == ["p2"]
    assert matched(replace(on_p1, started_s=95.0), replace(on_p1, starts=2)) == ["p1"]
    # its shadow is not there yet
    assert matched(on_p1, replace(on_p1, pilot="")) == [""]


def test_job_that_does_not_start_has_no_pilot():
    for status in (Status.IDLE, Status.HELD, Status.COMPLETED):
        assert matched(None, replace(MATCHED, status=status, pilot="p1")) == []
