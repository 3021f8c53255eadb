"""Which jobs are followed by looking at the queue, and what has been told of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from snakemake_executor_plugin_osgpilot.htcondor.polling import (
    JobSnapshot,
    Status,
    derive,
    vanished,
)
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event

BELIEVED_AFTER = 3
"""Answered looks, at the queue and the history, after which a job is gone that is in neither."""

Told = list[tuple[str, Event]]


class QueuePoller:
    """Jobs by `cluster.proc`, with what was known of each when something was last told of it."""

    def __init__(self) -> None:
        self._known: dict[str, JobSnapshot | None] = {}
        self._missed: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is a job to look for."""
        return bool(self._known)

    def follow(self, job_ids: Iterable[str]) -> None:
        """Look for these jobs from now on."""
        for job_id in job_ids:
            self._known.setdefault(job_id, None)

    def leave(self, job_ids: Iterable[str] | None) -> None:
        """Look for these jobs no more (None: for no job)."""
        for job_id in list(self._known) if job_ids is None else job_ids:
            self._known.pop(job_id, None)
            self._missed.pop(job_id, None)

    def missing(self, seen: Iterable[str]) -> list[str]:
        """Return the jobs that an answered look at the queue did not show."""
        shown = set(seen)
        for job_id in shown:
            self._missed.pop(job_id, None)
        return [job_id for job_id in self._known if job_id not in shown]

    def tell(self, seen: Mapping[str, JobSnapshot]) -> Told:
        """Take in what was seen; return what that tells. What ended is followed no more.

        A job that is being removed is still there: its pilot has to confirm it.
        """
        told: Told = []
        for job_id, sight in seen.items():
            told += [(job_id, event) for event in derive(self._known.get(job_id), sight)]
            self._known[job_id] = sight
        self.leave([job_id for job_id, sight in seen.items() if sight.over])
        return told

    def miss(self, job_ids: Iterable[str], now_s: float) -> Told:
        """Take in that jobs are neither in the queue nor in the history."""
        told: Told = []
        for job_id in job_ids:
            self._missed[job_id] += 1
            if self._missed[job_id] >= BELIEVED_AFTER:
                last = self._known[job_id] or JobSnapshot(Status.IDLE, now_s, now_s, now_s)
                told += [(job_id, event) for event in vanished(last, now_s)]
                self.leave([job_id])
        return told
