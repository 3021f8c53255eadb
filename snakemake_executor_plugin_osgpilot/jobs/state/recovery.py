"""Decide for each job of an interrupted run whether to adopt, replace or submit it.

The input is the journal's entries, the jobs found in the access point's queue, and the event log,
read after the queue was queried. Only jobs that neither has are submitted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ...model.resources import JobClass, Request
from .avoidance import Place
from .bundles import interrupts
from .events import Event, EventKind
from .job import Job, JobState
from .job_ids import htcondor_id, is_bundled


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that was about to be submitted, as recorded in the journal.

    `identity` is that of the job of the workflow, `digest` covers all that it was submitted with.
    `job_id` is empty if the outcome of the submission is unknown.
    """

    key: str
    identity: str
    digest: str
    rule: str
    job_class: JobClass
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """A job whose end was reported to Snakemake, reduced to what the sums over a run need.

    `job_class` is that of its last attempt. Times and place are those of its last start, `busy_s`
    is the execution time over all. `failed_on` is where it failed, for its next attempt, which has
    the same `identity`.
    """

    rule: str
    job_class: JobClass
    succeeded: bool
    busy_s: float = 0.0
    started_s: float | None = None
    ended_s: float | None = None
    pilot: str = ""
    allocation_id: str = ""
    identity: str = ""
    failed_on: Place | None = None

    @classmethod
    def of(cls, job: Job) -> Past:
        """Return the fields to keep of a job that is over."""
        failed = job.state is JobState.ENDED and not job.succeeded and job.pilot
        return cls(
            job.rule, job.job_class, job.succeeded, job.busy_s, job.started_s, job.ended_s,
            job.pilot, job.allocation_id, job.identity,
            Place(job.pilot, job.node) if failed else None,
        )  # fmt: skip


@dataclass(frozen=True)
class Leftover:
    """The jobs that a previous session left at the access point, and those that it had reported.

    `entries` are jobs in the queue, or that ended there, by identity; `gone` has the reason why
    others are submitted again. `orphans` are the ids of jobs in the queue that are of no use,
    `past` the jobs whose end was reported to Snakemake.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    orphans: tuple[str, ...] = ()
    past: tuple[Past, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> list[Job]:
        """The jobs to track again; their full request is set when they are adopted."""
        return [
            Job(
                e.key,
                e.rule,
                Request(e.job_class),
                state=JobState.WAITING,
                job_id=e.job_id,
                identity=e.identity,
            )
            for e in self.entries.values()
        ]


@dataclass(frozen=True)
class Submit:
    """The job is not there, or of no use: submit it. `why` is the reason if there was one."""

    why: str = ""


@dataclass(frozen=True)
class Adopt:
    """The job is there, unchanged: use it."""

    key: str


@dataclass(frozen=True)
class Replace:
    """The job is there, but has changed: remove it first."""

    key: str
    why: str


Decision = Submit | Adopt | Replace

NOT_SUBMITTED = "Snakemake was stopped before it was submitted"
REMOVED = "it was removed from the queue"
APART = "the bundle that it was in was interrupted"
UNREPORTED = "it is not in the queue, and neither event log nor history has its end"
CHANGED = "its command, inputs or resources have changed"
INCOMPLETE = "its folder is not complete"


def unreported(
    entries: Iterable[Entry], found: Mapping[str, str], events: Iterable[tuple[str, Event]]
) -> list[str]:
    """Return the ids of jobs that are not in the queue and have no end in the log."""
    ids, ends = _by_log(events)
    known = (ids.get(e.key) or e.job_id for e in entries if e.key not in found)
    return sorted({job_id for job_id in known if job_id and job_id not in ends})


def settled(entries: Iterable[Entry], found: Mapping[str, str]) -> list[str]:
    """Return the ids of jobs in the queue whose end was recorded, and that of no other job in the
    same bundle is awaited.
    """
    keys = {entry.key for entry in entries}
    awaited = {htcondor_id(job_id) for key, job_id in found.items() if key in keys}
    return [job_id for job_id in found.values() if htcondor_id(job_id) not in awaited]


def leftover(
    entries: Iterable[Entry], found: Mapping[str, str], events: Iterable[tuple[str, Event]]
) -> Leftover:
    """Return what is left of a run.

    `found` has the queue's jobs (key → id), `events` is the whole event log. If a key was submitted
    more than once, the latest id counts. A job that is not in the queue and has no end in the log
    is lost; one that was removed has to be submitted again, too.
    """
    ids, ends = _by_log(events)
    kept: dict[str, Entry] = {}
    gone: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: entry.key):
        job_id = found.get(entry.key) or ids.get(entry.key) or entry.job_id
        end = ends.get(job_id)
        if end is EventKind.TERMINATED or (end is None and entry.key in found):
            kept[entry.identity] = _with_id(entry, job_id)
        elif end is not None:
            gone[entry.identity] = APART if end is EventKind.APART else REMOVED
        else:
            gone[entry.identity] = UNREPORTED if job_id else NOT_SUBMITTED
    # a bundle is removed as a whole
    used = {htcondor_id(entry.job_id) for entry in kept.values()}
    keys = {entry.key for entry in kept.values()}
    orphans = tuple(
        job_id
        for key, job_id in found.items()
        if key not in keys and htcondor_id(job_id) not in used
    )
    return Leftover(kept, orphans, gone={who: why for who, why in gone.items() if who not in kept})


def _by_log(
    events: Iterable[tuple[str, Event]],
) -> tuple[dict[str, str], dict[str, EventKind]]:
    """Return the latest id of each key, and the ends of jobs by id."""
    ids: dict[str, str] = {}
    ends: dict[str, EventKind] = {}
    for job_id, event in events:
        if event.kind is EventKind.SUBMIT and event.key:
            ids[event.key] = job_id
            ends.pop(job_id, None)
        elif event.kind in (EventKind.TERMINATED, EventKind.ABORTED) or _apart(job_id, event):
            apart = _apart(job_id, event)
            ends.setdefault(job_id, EventKind.APART if apart else event.kind)
    return ids, ends


def _apart(job_id: str, event: Event) -> bool:
    return is_bundled(job_id) and interrupts(event)


def decide(
    entry: Entry | None, digest: str, *, complete: bool, ended: bool, gone: str = ""
) -> Decision:
    """Decide about a job that would be submitted with `digest` now.

    `entry` is what is left of the same job, `complete` is True if its job folder is there, `ended`
    if it is over; `gone` is the reason why nothing is left of it, if it was there before.
    """
    if entry is None:
        return Submit(gone)
    if entry.digest == digest and complete:
        return Adopt(entry.key)
    why = CHANGED if entry.digest != digest else INCOMPLETE
    return Submit(why) if ended else Replace(entry.key, why)


def _with_id(entry: Entry, job_id: str) -> Entry:
    return Entry(entry.key, entry.identity, entry.digest, entry.rule, entry.job_class, job_id)
