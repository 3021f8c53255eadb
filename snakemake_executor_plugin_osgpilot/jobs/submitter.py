"""Submit jobs in batches, as far as the queue has room, and settle what became of them."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple, Protocol

from ..errors import OutcomeUnknownError, QueueFullError, RejectedError
from ..model.resources import Request
from .access_point import AccessPoint, JobFolders, JobJournal, Submission
from .state.job import Job
from .state.submission import Batch, SubmissionThrottle
from .state.tracker import JobTracker


class QueueQuota(Protocol):
    """Limits the jobs in the queue where several runs share the limit."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        """Return how many of `unsent` jobs a run with `queued` ones may submit now.

        `ask` is called with both and the number of jobs that the other runs have in the queue.
        """


class Unshared:
    """The quota of a run that shares its limits with no other."""

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        return ask(queued, unsent, 0)


class NoFolders:
    """Stands for the folders of jobs that need none."""

    def write(self, keys: Iterable[str]) -> Mapping[str, str]:
        return {}

    def clear(self, keys: Iterable[str]) -> None:
        pass


class _Part(NamedTuple):
    """Jobs to submit in one request: the keys in each job of HTCondor, and places that failed
    them.
    """

    request: Request
    jobs: Sequence[tuple[str, ...]]
    kept_off: tuple[str, ...] = ()

    @property
    def keys(self) -> list[str]:
        return [key for own in self.jobs for key in own]


class JobSubmitter:
    """Submits the unsent jobs of `tracker`; what is refused or unanswered stays in there.

    `lock` guards the tracker, and is never held during a request to the access point.
    """

    def __init__(
        self, access_point: AccessPoint, tracker: JobTracker, lock: threading.Lock,
        throttle: SubmissionThrottle, journal: JobJournal | None, quota: QueueQuota,
        folders: JobFolders,
    ) -> None:  # fmt: skip
        self._access_point, self._tracker, self._lock = access_point, tracker, lock
        self._throttle, self._quota = throttle, quota
        self._journal, self._folders = journal, folders

    def run(self) -> int:
        """Submit what is to be submitted now, by request; return how many jobs that were.

        After a submission without an answer, the queue is searched for its jobs before they are
        submitted again. Raises `OutcomeUnknownError`; nothing is lost then, the next call
        continues.
        """
        if self._tracker.in_doubt:
            found = self._access_point.find()
            with self._lock:
                self._tracker.settle(found)
        with self._lock:
            parts = self._parts()
        sent = 0
        try:
            while parts:
                sent += self._send(parts.pop(0))
        except QueueFullError:
            pass
        finally:
            with self._lock:
                self._tracker.put_back(key for part in parts for key in part.keys)
                self._throttle.sent(self._tracker.unsent)
        return sent

    def _parts(self) -> list[_Part]:
        """Return the submissions to make now."""
        tracker = self._tracker
        unsent = tracker.sendable
        # asked even without jobs to submit, so that other runs may use the room
        room = self._quota.room(tracker.queued, unsent, self._throttle.room)
        if not (room and unsent):
            return []
        batches = tracker.take_unsent(room)
        try:
            return self._in_parts(batches)
        except BaseException:
            # in an error here, nothing is lost
            tracker.put_back(key for batch in batches for keys in batch.jobs for key in keys)
            raise

    def _in_parts(self, batches: Iterable[Batch]) -> list[_Part]:
        alone: defaultdict[Request, list[str]] = defaultdict(list)
        bundles: defaultdict[Request, list[tuple[str, ...]]] = defaultdict(list)
        for kind, jobs in batches:
            alone[kind.request] += [keys[0] for keys in jobs if len(keys) == 1]
            bundles[kind.request] += [keys for keys in jobs if len(keys) > 1]
        parts: dict[tuple[Request, int, tuple[str, ...]], list[tuple[str, ...]]] = {}
        for request, single in alone.items():
            for number, batch in enumerate(self._throttle.batches(single)):
                for key in batch:
                    kept_off = self._tracker.kept_off(key)
                    parts.setdefault((request, number, kept_off), []).append((key,))
        singles = [_Part(request, jobs, off) for (request, _, off), jobs in parts.items()]
        return singles + [_Part(request, jobs) for request, jobs in bundles.items() if jobs]

    def _send(self, part: _Part) -> int:
        tracker = self._tracker
        with self._lock:
            jobs = tracker.begin_submission(part.keys)
        unfit = self._folders.write(job.key for job in jobs)
        with self._lock:
            for key, why in unfit.items():
                tracker.not_sent([key], why)
        if not (jobs := [job for job in jobs if job.key not in unfit]):
            return 0
        keys = [job.key for job in jobs]
        submission = self._submission(part, jobs)
        try:
            if self._journal:
                self._journal.intend(keys)
            retried = (job for job in jobs if job.failed_attempts or tracker.left_bundle(job))
            self._folders.clear(job.key for job in retried)
            ids = self._access_point.submit(submission)
        except QueueFullError as full:
            with self._lock:
                tracker.not_sent(keys)
                self._throttle.refused(full.room, tracker.queued, str(full), at_once=full.at_once)
            raise
        except RejectedError as refusal:
            with self._lock:
                tracker.not_sent(keys, str(refusal))
            return 0
        with self._lock:
            tracker.submitted(ids)
        # event log and queue have the ids, too, and the next write repeats them
        with suppress(OutcomeUnknownError):
            if self._journal:
                self._journal.submitted(ids)
        return len(ids)

    def _submission(self, part: _Part, jobs: Sequence[Job]) -> Submission:
        """Return the submission of those `jobs` of a part that are still to be submitted."""
        tracker = self._tracker
        submission = Submission(
            tuple(job.key for job in jobs),
            part.request,
            tracker.avoided_pilots,
            {job.key: job.urls for job in jobs if job.urls},
            tracker.apart,
            tracker.largest,
            part.kept_off,
            {job.key: job.shared for job in jobs if job.shared},
            priorities=tracker.priorities.sending(jobs),
        )
        if all(len(keys) == 1 for keys in part.jobs):
            return submission
        left = set(submission.keys)
        bundles = (tuple(key for key in keys if key in left) for keys in part.jobs)
        longest_s = max(job.bundle_s for job in jobs)
        return replace(submission, bundles=tuple(filter(None, bundles)), bundle_s=longest_s)
