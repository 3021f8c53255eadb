"""All jobs of a run and the sums over them, kept up to date with every change, so that reading
them costs nothing that grows with the number of jobs.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from ...model.resources import JobClass, Request
from .avoidance import PLACES_MAX, Place
from .job import NODE_AT_FAULT, Job, JobState
from .recovery import Past
from .rule_sums import RuleSums

QUEUED = (JobState.WAITING, JobState.RUNNING, JobState.HELD)
"""The states of a job that is in the access point's queue."""

QUICK_S = 60.0
"""A job that fails sooner than this may have hit a node on which every job fails."""

RECENT_MAX = 30
"""Number of last jobs on a pilot that count for its state now."""


_Kind = TypeVar("_Kind", JobClass, Request)


@dataclass(slots=True)
class PilotOutcomes:
    """Ends of jobs on one pilot by rule; `recent` are the last ones in order, True if a job failed
    quickly.
    """

    ended: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    recent: deque[tuple[str, bool]] = field(default_factory=lambda: deque(maxlen=RECENT_MAX))

    @property
    def rules(self) -> set[str]:
        """The rules of the last jobs."""
        return {rule for rule, _ in self.recent}

    def add(self, rule: str, *, failed: bool) -> None:
        """Record the end of a job."""
        self.ended[rule] += 1
        if failed:
            self.failed[rule] += 1
        self.recent.append((rule, failed))


class JobTable:
    """Jobs by key, waiting jobs by class, queued ones by request, running jobs, sums by rule.

    By pilot: `served` has the time of the first job start, `started` that of the latest one,
    `nodes` the node, `outcomes` the ends of jobs; `judged` is True if they are evaluated.
    By rule: `idle` counts the jobs of HTCondor that wait in the queue, `rule_started_s` has the
    latest start of a job. `failed_on` has the places on which a job failed, by identity.
    `runtimes_s` are runtimes of jobs that succeeded, `changes` each job as of its last change of
    state; readers empty both. `span_s` has the times of the first and the last event of a job,
    `retries` counts the jobs that were submitted again after a failure.
    """

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._states: Counter[JobState] = Counter()
        self.waiting: Counter[JobClass] = Counter()
        self.queued: Counter[Request] = Counter()
        self.executing: dict[str, Job] = {}
        self.idle: Counter[str] = Counter()
        self.rule_started_s: dict[str, float] = {}
        self.rules: defaultdict[str, RuleSums] = defaultdict(RuleSums)
        self.served: dict[str, float] = {}
        self.started: dict[str, float] = {}
        self.outcomes: defaultdict[str, PilotOutcomes] = defaultdict(PilotOutcomes)
        self.judged = True
        self.nodes: dict[str, str] = {}
        self.failed_on: dict[str, tuple[Place, ...]] = {}
        self.runtimes_s: list[tuple[JobClass, float]] = []
        self.changes: list[Job] = []
        self.span_s: tuple[float, float] | None = None
        self._failed: set[str] = set()
        self.retries = 0

    def __getitem__(self, key: str) -> Job:
        return self._jobs[key]

    def __contains__(self, key: str) -> bool:
        return key in self._jobs

    def get(self, key: str) -> Job | None:
        return self._jobs.get(key)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def count(self, *states: JobState) -> int:
        """Return the number of jobs in one of these states."""
        return sum(self._states[state] for state in states)

    def counts(self) -> dict[str, int]:
        """Return the number of jobs that wait (or are held), run, succeeded, and failed.

        One that failed and was submitted again did not fail: that is a retry.
        """
        return {
            "waiting": self.waiting.total() + self.count(JobState.HELD),
            "running": len(self.executing),
            "done": sum(sums.done for sums in self.rules.values()),
            "failed": sum(sums.failed for sums in self.rules.values()) - self.retries,
            "retries": self.retries,
        }

    def mark(self, at_s: float | None) -> None:
        """Record the time of an event of a job."""
        if at_s is not None:
            first_s, last_s = self.span_s or (at_s, at_s)
            self.span_s = min(first_s, at_s), max(last_s, at_s)

    def put(self, job: Job) -> Job:
        """Insert `job`, or replace the one with its key; return it."""
        before = self._jobs.get(job.key)
        if before is not None:
            self._count(before, -1)
        self._jobs[job.key] = job
        self._count(job, 1)
        if before is None:
            self._note_retry(job.identity)
        if job.over and not job.succeeded:
            self._failed.add(job.identity)
        if before is None or before.state is not job.state:
            self.changes.append(job)
        if job.state is JobState.ENDED and (before is None or not before.over):
            self._record_end(job)
        if job.pilot:
            self.served.setdefault(job.pilot, job.started_s or 0.0)
            latest_s = self.started.get(job.pilot, 0.0)
            self.started[job.pilot] = max(latest_s, job.started_s or 0.0)
            self.nodes[job.pilot] = job.node
            latest_s = self.rule_started_s.get(job.rule, 0.0)
            self.rule_started_s[job.rule] = max(latest_s, job.started_s or 0.0)
            self.rules[job.rule].allocations.add(job.allocation_id)
        return job

    def remember(self, past: Past) -> None:
        """Count a job of a previous session that is not tracked any more."""
        sums = self.rules[past.rule]
        sums.jobs += 1
        sums.cores += past.job_class.shape.cores
        sums.done += past.succeeded
        sums.failed += not past.succeeded
        sums.past_core_s += past.busy_s * past.job_class.shape.cores
        if past.pilot:
            sums.allocations.add(past.allocation_id)
            since_s = past.started_s or 0.0
            self.served[past.pilot] = min(since_s, self.served.get(past.pilot, since_s))
        self._note_retry(past.identity)
        if not past.succeeded:
            self._failed.add(past.identity)
        if past.succeeded:
            self.failed_on.pop(past.identity, None)
        elif past.failed_on is not None:
            self.failed_at(past.identity, past.failed_on)

    def _note_retry(self, identity: str) -> None:
        """Count a job as retried if one of the same identity has failed."""
        if identity and identity in self._failed:
            self._failed.discard(identity)
            self.retries += 1

    def drop(self, key: str) -> None:
        """Remove a job that is no longer part of the run."""
        self._count(self._jobs.pop(key), -1)

    def failed_there(self, job: Job) -> None:
        """Record that a job failed on its pilot."""
        if job.pilot:
            self.failed_at(job.identity, Place(job.pilot, job.node))

    def failed_at(self, identity: str, place: Place) -> None:
        """Record that a job failed at a place."""
        if identity:
            before = (each for each in self.failed_on.get(identity, ()) if each != place)
            self.failed_on[identity] = (*before, place)[-PLACES_MAX:]

    def _record_end(self, job: Job) -> None:
        if job.succeeded:
            self.failed_on.pop(job.identity, None)
        else:
            self.failed_there(job)
        if job.started_s is None or job.ended_s is None:
            return
        runtime_s = job.ended_s - job.started_s
        if job.exit_status == NODE_AT_FAULT:
            # its pilot accepts no jobs until there is room again
            return
        failed = not job.succeeded and runtime_s < QUICK_S
        self.outcomes[job.pilot].add(job.rule, failed=failed)
        self.judged = False
        if job.succeeded:
            self.runtimes_s.append((job.job_class, runtime_s))

    def _count(self, job: Job, by: int) -> None:
        self._states[job.state] += by
        if job.state in QUEUED:
            _add(self.queued, job.request, by)
        if job.is_next:
            self.idle[job.rule] += by
        if job.waits:
            _add(self.waiting, job.job_class, by)
        elif job.state is JobState.RUNNING:
            if by > 0:
                self.executing[job.key] = job
            else:
                del self.executing[job.key]
        cores, sums = job.job_class.shape.cores, self.rules[job.rule]
        sums.jobs += by
        sums.cores += by * cores
        sums.done += by * job.succeeded
        sums.failed += by * (job.over and not job.succeeded)
        sums.past_core_s += by * job.busy_s * cores
        if job.state is JobState.RUNNING and job.started_s is not None:
            sums.running_cores += by * cores
            sums.running_since_core_s += by * job.started_s * cores


def _add(counter: Counter[_Kind], kind: _Kind, by: int) -> None:
    counter[kind] += by
    if not counter[kind]:
        del counter[kind]
