"""What an event of the access point's log means for a job."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request


class JobState(Enum):
    """Where a job is, as far as the event log has told."""

    PREPARED = "prepared"
    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    ENDED = "ended"
    REMOVED = "removed"


class EventKind(Enum):
    """The events that change a job; all others are of no consequence to us."""

    SUBMIT = "submit"
    EXECUTE = "execute"
    EVICTED = "evicted"
    TERMINATED = "terminated"
    ABORTED = "aborted"
    HELD = "held"
    RELEASED = "released"


@dataclass(frozen=True)
class Event:
    """One event. `pilot` and `allocation_id` come with EXECUTE, `exit_status` with TERMINATED."""

    kind: EventKind
    at_s: float
    pilot: str = ""
    allocation_id: str = ""
    exit_status: int | None = None
    text: str = ""


@dataclass(frozen=True)
class Job:
    """One rule job (or group job) at the access point. `exit_status` is None until it ended.

    `urls` are inputs that the execution point fetches. `busy_s` is the time in execution over all
    attempts, `started_s` the start of the present one.
    """

    key: str
    rule: str
    request: Request
    urls: tuple[str, ...] = ()
    state: JobState = JobState.PREPARED
    pilot: str = ""
    allocation_id: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    busy_s: float = 0.0
    attempts: int = 0
    exit_status: int | None = None
    text: str = ""

    @property
    def job_class(self) -> JobClass:
        """What scaling looks at."""
        return self.request.job_class

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it by itself."""
        return self.state in (JobState.ENDED, JobState.REMOVED, JobState.HELD)


_STATE = {
    EventKind.SUBMIT: JobState.WAITING,
    EventKind.EVICTED: JobState.WAITING,
    EventKind.RELEASED: JobState.WAITING,
    EventKind.EXECUTE: JobState.RUNNING,
    EventKind.TERMINATED: JobState.ENDED,
    EventKind.ABORTED: JobState.REMOVED,
    EventKind.HELD: JobState.HELD,
}


def fold(job: Job, event: Event) -> Job:
    """Return `job` after `event`.

    HTCondor promises only that SUBMIT comes before the end; EXECUTE may be missing and the end may
    be told twice, so a job that ended stays as it is.
    """
    if job.state in (JobState.ENDED, JobState.REMOVED):
        return job
    if event.kind is EventKind.SUBMIT and job.state is not JobState.PREPARED:
        return job
    moved = replace(job, state=_STATE[event.kind], text=event.text)
    if event.kind is EventKind.EXECUTE:
        return replace(
            moved,
            pilot=event.pilot,
            allocation_id=event.allocation_id,
            started_s=event.at_s,
            attempts=job.attempts + 1,
        )
    if job.state is JobState.RUNNING and job.started_s is not None:
        moved = replace(moved, busy_s=job.busy_s + max(0.0, event.at_s - job.started_s))
    if event.kind is EventKind.TERMINATED:
        return replace(moved, ended_s=event.at_s, exit_status=event.exit_status)
    if event.kind is EventKind.ABORTED:
        return replace(moved, ended_s=event.at_s)
    return moved
