"""One job, and how an event of the access point's log changes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import NamedTuple

from ...model.job_order import NO_OUTLOOK, Outlook
from ...model.resources import JobClass, Request, Shape
from .events import NO_USAGE, Event, EventKind, Usage
from .job_ids import is_bundled, is_lead


class JobState(Enum):
    """The state of a job according to the event log."""

    PREPARED = "prepared"
    WAITING = "waiting"
    RUNNING = "running"
    HELD = "held"
    ENDED = "ended"
    REMOVED = "removed"


_OVER = (JobState.ENDED, JobState.REMOVED)

NODE_AT_FAULT = 121
"""Exit status of wrapper.sh if the disk of the node is full."""


def place(allocation_id: str, node: str) -> str:
    """Return the name of a pilot for the user."""
    if not allocation_id:
        return "before it started"
    on = f" on {node}" if node else ""
    return f"in Slurm job {allocation_id}{on}"


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """A failed attempt not caused by the workflow, and its place.

    `code` and `subcode` are those of the hold, 0 without one.
    """

    text: str
    allocation_id: str = ""
    node: str = ""
    code: int = 0
    subcode: int = 0

    @property
    def place(self) -> str:
        """The pilot, named for the user."""
        return place(self.allocation_id, self.node)


class SharedFile(NamedTuple):
    """An input that is sent once to each pilot, by its name in the run."""

    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """One rule job (or group job) at the access point. `exit_status` is None until it ended.

    `urls` are inputs that the execution point fetches, `shared` those that are sent once to each
    pilot. `job_id` is its `cluster.proc` there.
    `identity` is the same for all attempts of one job of the workflow, empty if unknown. `busy_s`
    is the execution time over all attempts, `started_s` the start of the current one, `used_mb` the
    most memory seen in use. `since_s` is the time of the last change of state, None without an
    event; `slot` is the HTCondor slot, `usage` the resources used, known at the end. `incomplete`
    is True if it ended, but its outputs could not be used. `bundle_s` is the time that a bundle
    with it should take, 0 if it runs alone.
    `outlook` is what its place in the queue depends on.
    """

    key: str
    rule: str
    request: Request
    urls: tuple[str, ...] = ()
    state: JobState = JobState.PREPARED
    job_id: str = ""
    pilot: str = ""
    allocation_id: str = ""
    node: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    busy_s: float = 0.0
    attempts: int = 0
    used_mb: int = 0
    failed_attempts: tuple[FailedAttempt, ...] = ()
    exit_status: int | None = None
    text: str = ""
    since_s: float | None = None
    slot: str = ""
    usage: Usage = NO_USAGE
    identity: str = ""
    incomplete: bool = False
    bundle_s: float = 0.0
    shared: tuple[SharedFile, ...] = ()
    outlook: Outlook = NO_OUTLOOK

    @property
    def job_class(self) -> JobClass:
        """The class that scaling counts it in."""
        return self.request.job_class

    @property
    def is_bundled(self) -> bool:
        """True if it is a member of a bundle at the access point."""
        return is_bundled(self.job_id)

    @property
    def is_next(self) -> bool:
        """True if it is idle in the queue, and no other job comes first in its bundle."""
        return self.state is JobState.WAITING and is_lead(self.job_id)

    @property
    def over(self) -> bool:
        """True if no more events are expected."""
        return self.state in _OVER

    @property
    def succeeded(self) -> bool:
        """True if it ended with exit status 0, and its outputs are complete as far as known."""
        return self.state is JobState.ENDED and self.exit_status == 0 and not self.incomplete

    @property
    def waits(self) -> bool:
        """True if pending: it would start given capacity."""
        return self.state in (JobState.PREPARED, JobState.WAITING)

    def busy_until_s(self, at_s: float) -> float:
        """Return the execution time in seconds if the current attempt stops at `at_s`."""
        return self.busy_s + (0.0 if self.started_s is None else max(0.0, at_s - self.started_s))

    def stopped(self, at_s: float) -> Job:
        """Return this job with the execution time of the current attempt added."""
        return replace(self, busy_s=self.busy_until_s(at_s))

    def with_failed_attempt(self, text: str, code: int = 0, subcode: int = 0) -> Job:
        """Return this job with one more failed attempt."""
        attempt = FailedAttempt(text, self.allocation_id, self.node, code, subcode)
        return replace(self, failed_attempts=(*self.failed_attempts, attempt))

    def prepared(self) -> Job:
        """Return this job as before its submission; from now on it runs alone."""
        return replace(
            self,
            state=JobState.PREPARED,
            job_id="",
            exit_status=None,
            ended_s=None,
            since_s=None,
            usage=NO_USAGE,
            bundle_s=0.0,
        )

    def prepared_again(self, text: str) -> Job:
        """Return this job as before its submission, with one more failed attempt."""
        return self.prepared().with_failed_attempt(text)

    def asking_for(self, shape: Shape) -> Job:
        """Return this job with another shape in its request."""
        job_class = self.job_class._replace(shape=shape)
        return replace(self, request=replace(self.request, job_class=job_class))


_STATE = {
    EventKind.SUBMIT: JobState.WAITING,
    EventKind.EVICTED: JobState.WAITING,
    EventKind.NOT_STARTED: JobState.WAITING,
    EventKind.RELEASED: JobState.WAITING,
    EventKind.EXECUTE: JobState.RUNNING,
    EventKind.TERMINATED: JobState.ENDED,
    EventKind.ABORTED: JobState.REMOVED,
    EventKind.HELD: JobState.HELD,
}
_FROM = {EventKind.SUBMIT: JobState.PREPARED, EventKind.RELEASED: JobState.HELD}
"""Events that only count in one state of a job."""


_UNCHANGED = (
    EventKind.MATCHED,
    EventKind.DISCONNECTED,
    EventKind.RECONNECTED,
    EventKind.IMAGE_SENT,
    EventKind.APART,
)
"""Events that do not change the state of a job."""


def apply_event(job: Job, event: Event) -> Job:
    """Return `job` after `event`.

    HTCondor promises only that SUBMIT comes before the end; EXECUTE may be missing and the end may
    come twice, so a job that ended stays as it is. A release may come without its hold, and before
    the pilot has stopped the job.
    """
    if job.over or event.kind in _UNCHANGED:
        return job
    if job.state is not _FROM.get(event.kind, job.state):
        return job
    if event.kind is EventKind.USAGE:
        return replace(job, used_mb=max(job.used_mb, event.memory_mb))
    was_running = job.state is JobState.RUNNING
    # who released a job says nothing of why it was held, which its failed attempts have
    text = "" if event.kind is EventKind.RELEASED else event.reason
    state, since_s = _STATE[event.kind], event.at_s
    # one copy for an event: there are three events and more of each of many jobs
    if event.kind is EventKind.EXECUTE:
        return replace(
            job,
            state=state,
            text=text,
            since_s=since_s,
            pilot=event.pilot,
            allocation_id=event.allocation_id,
            node=event.node,
            slot=event.slot,
            started_s=event.at_s,
            attempts=job.attempts + 1,
        )
    busy_s = job.busy_until_s(event.at_s) if was_running else job.busy_s
    if event.kind is EventKind.ABORTED:
        text = f"somebody removed it from the queue ({event.text})"
    if state in _OVER:
        return replace(
            job,
            state=state,
            text=text,
            since_s=since_s,
            busy_s=busy_s,
            ended_s=event.at_s,
            exit_status=event.exit_status,
            usage=event.usage,
        )
    moved = replace(job, state=state, text=text, since_s=since_s, busy_s=busy_s)
    # an eviction before a hold has the code of the hold, which follows
    evicted = event.kind is EventKind.EVICTED and was_running and not event.before_hold
    failed = event.failed_start or event.kind in (EventKind.NOT_STARTED, EventKind.HELD)
    if evicted or failed:
        return moved.with_failed_attempt(event.reason, event.code, event.subcode)
    return moved
