"""The priorities of jobs at the access point, changed as runtimes are learned."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

from ...model.job_order import priority, urgency
from ...model.resources import Shape
from ...model.runtime_by_size import RuntimesBySize, Sample
from .job import Job, JobState
from .job_ids import is_bundled
from .table import JobTable


class JobPriorities:
    """Chooses priorities from what is known of runtimes; `_there` has those in the queue, by key.

    `largest` is the shape of the biggest pilot, `_changed` are rules whose jobs may have to change.
    """

    def __init__(self, table: JobTable, largest: Shape, runtimes: RuntimesBySize) -> None:
        self._table, self._largest, self._runtimes = table, largest, runtimes
        self._there: dict[str, int] = {}
        self._changed: set[str] = set()

    def of(self, job: Job) -> int:
        """Return the priority that a job should have now."""
        outlook, ratio = job.outlook, 1.0
        if outlook.input_bytes is not None:
            ratio = self._runtimes.effect(job.rule).ratio(outlook.input_bytes)
        level = urgency(outlook.expected_s * ratio + outlook.after_s)
        return priority(job.job_class.shape, self._largest, level, outlook.rule_priority)

    def basis(self, rule: str) -> object:
        """Return what the priorities of a rule's jobs depend on: another object once it changes."""
        return self._runtimes.effect(rule)

    def forget(self, key: str) -> None:
        """Drop what is known of a job that is not submitted again, or under another key."""
        self._there.pop(key, None)

    def sending(self, jobs: Iterable[Job]) -> dict[str, int]:
        """Return the priorities with which jobs are to be submitted, by key."""
        chosen = {job.key: self.of(job) for job in jobs}
        self._there |= chosen
        return chosen

    def ended(self, job: Job) -> None:
        """Learn from a job that ended, if it succeeded."""
        self.forget(job.key)
        size = job.outlook.input_bytes
        if not job.succeeded or size is None or job.started_s is None or job.ended_s is None:
            return
        if self._runtimes.note(job.rule, Sample(size, job.ended_s - job.started_s)):
            self._changed.add(job.rule)

    def due(self) -> dict[int, list[str]]:
        """Return the ids of waiting jobs by the priority to give them, where it is another.

        Bundles keep theirs: they are of short jobs, and soon gone.
        """
        if not self._changed:
            return {}
        due: defaultdict[int, list[str]] = defaultdict(list)
        for job in self._table:
            if job.rule in self._changed and job.state is JobState.WAITING and _may_change(job):
                new = self.of(job)
                if self._there.get(job.key) != new:
                    due[new].append(job.job_id)
        if not due:
            self._changed.clear()
        return dict(due)

    def done(self, value: int, keys: Collection[str]) -> None:
        """Record that jobs in the queue have this priority."""
        self._there |= {key: value for key in keys if not self._table[key].over}

    def samples(self) -> Mapping[str, list[Sample]]:
        """Return the runtimes known by size of inputs, for later runs."""
        return self._runtimes.samples()


def _may_change(job: Job) -> bool:
    """Return False if its rule sets the priority at the access point itself, or in a bundle."""
    return not is_bundled(job.job_id) and not any(
        name.lower() == "priority" for name, _ in job.request.extras
    )
