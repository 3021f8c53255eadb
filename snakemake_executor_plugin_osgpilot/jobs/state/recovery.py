"""A run that was cut short is taken up again: what became of its jobs, and what each of them needs.

Known are the journal's entries, what the access point's queue had, and the event log, read after
the queue was asked. Only what neither knows is submitted anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from snakemake_executor_plugin_osgpilot.jobs.state.avoidance import Place
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request


@dataclass(frozen=True, slots=True)
class Entry:
    """A job that was about to be submitted, as the journal has it.

    `identity` says which job of the workflow it is, `digest` all that it was submitted with.
    `job_id` is empty where the answer to the submission is not known.
    """

    key: str
    identity: str
    digest: str
    rule: str
    job_class: JobClass
    job_id: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """What the sums over a run need of a job of whose end Snakemake knows.

    `job_class` is what it asked for in its last try. Times and place are those of its last start,
    `busy_s` is the time in execution over all. `failed_on` is where it failed, for its next try,
    which has the same `identity`.
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
        """Return what is to be kept of a job that is over."""
        failed = job.state is JobState.ENDED and not job.succeeded and job.pilot
        return cls(
            job.rule, job.job_class, job.succeeded, job.busy_s, job.started_s, job.ended_s,
            job.pilot, job.allocation_id, job.identity,
            Place(job.pilot, job.node) if failed else None,
        )  # fmt: skip


@dataclass(frozen=True)
class Leftover:
    """What an earlier life of the run left at the access point, and what it had done.

    `entries` are jobs in the queue, or that ended there, by identity; `gone` says of others why
    they are submitted again. `strays` are the ids of jobs in the queue that are of no use any more,
    `past` the jobs that Snakemake was told the end of.
    """

    entries: Mapping[str, Entry] = field(default_factory=dict)
    strays: tuple[str, ...] = ()
    past: tuple[Past, ...] = ()
    gone: Mapping[str, str] = field(default_factory=dict)

    @property
    def jobs(self) -> list[Job]:
        """The jobs to be followed again; what they ask for in detail is said when they are used."""
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
    """The job is not there, or of no use: submit it. `why` says so where there was one."""

    why: str = ""


@dataclass(frozen=True)
class Adopt:
    """The job is there as it would be submitted now: use it."""

    key: str


@dataclass(frozen=True)
class Replace:
    """The job is there, but not as it would be submitted now: take it out first."""

    key: str
    why: str


Verdict = Submit | Adopt | Replace

NOT_SUBMITTED = "Snakemake was stopped before it was submitted"
REMOVED = "it was removed from the queue"
UNTOLD = "it is not in the queue, and neither event log nor history tells how it ended"
CHANGED = "its command, inputs or resources are not what they were"
NOT_WHOLE = "its folder is not complete"


def untold(
    entries: Iterable[Entry], found: Mapping[str, str], told: Iterable[tuple[str, Event]]
) -> list[str]:
    """Return the ids of jobs that are not in the queue and whose end the log does not tell."""
    ids, ends = _by_log(told)
    known = (ids.get(e.key) or e.job_id for e in entries if e.key not in found)
    return sorted({job_id for job_id in known if job_id and job_id not in ends})


def left(
    entries: Iterable[Entry], found: Mapping[str, str], told: Iterable[tuple[str, Event]]
) -> Leftover:
    """Return what is left of a run.

    `found` has the queue's jobs (key → id), `told` the whole event log. Where a key was submitted
    more than once, the latest id counts. A job that the log does not end and that is not in the
    queue is lost; one that was removed has to be submitted anew, too.
    """
    ids, ends = _by_log(told)
    kept: dict[str, Entry] = {}
    gone: dict[str, str] = {}
    for entry in sorted(entries, key=lambda entry: entry.key):
        job_id = found.get(entry.key) or ids.get(entry.key) or entry.job_id
        end = ends.get(job_id)
        if end is EventKind.TERMINATED or (end is None and entry.key in found):
            kept[entry.identity] = _with_id(entry, job_id)
        elif end is not None:
            gone[entry.identity] = REMOVED
        else:
            gone[entry.identity] = UNTOLD if job_id else NOT_SUBMITTED
    used = {entry.key for entry in kept.values()}
    strays = tuple(job_id for key, job_id in found.items() if key not in used)
    return Leftover(kept, strays, gone={who: why for who, why in gone.items() if who not in kept})


def _by_log(
    told: Iterable[tuple[str, Event]],
) -> tuple[dict[str, str], dict[str, EventKind]]:
    """Return the latest id of each key, and how jobs (by id) ended."""
    ids: dict[str, str] = {}
    ends: dict[str, EventKind] = {}
    for job_id, event in told:
        if event.kind is EventKind.SUBMIT and event.key:
            ids[event.key] = job_id
            ends.pop(job_id, None)
        elif event.kind in (EventKind.TERMINATED, EventKind.ABORTED):
            ends.setdefault(job_id, event.kind)
    return ids, ends


def decide(
    entry: Entry | None, digest: str, *, complete: bool, ended: bool, gone: str = ""
) -> Verdict:
    """Return what to do with a job that would be submitted with `digest` now.

    `entry` is what is left of the same job, `complete` says whether its job folder is there,
    `ended` whether it is over; `gone` says why nothing is left of it, if it was there before.
    """
    if entry is None:
        return Submit(gone)
    if entry.digest == digest and complete:
        return Adopt(entry.key)
    why = CHANGED if entry.digest != digest else NOT_WHOLE
    return Submit(why) if ended else Replace(entry.key, why)


def _with_id(entry: Entry, job_id: str) -> Entry:
    return Entry(entry.key, entry.identity, entry.digest, entry.rule, entry.job_class, job_id)
