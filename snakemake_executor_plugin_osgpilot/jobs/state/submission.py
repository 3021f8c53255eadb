"""Decide which jobs are submitted next, and how many: the list of unsent jobs and its limits."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ...model.resources import UNBOUNDED, Request
from .bundling import Bundler, Kind
from .job import Job, JobState
from .priorities import JobPriorities
from .table import JobTable
from .unsent import UnsentJobs

QUEUED_MAX = 10_000
"""Jobs that one user may have in the queue of an access point of the OSPool (OSPool documentation,
overview/references/policy.md)."""

BATCH_MAX = 5000
"""Jobs submitted at once. An access point accepts 20,000 (HTCondor manual,
MAX_JOBS_PER_SUBMISSION) and does nothing else meanwhile."""

STEP = 20
"""Jobs that had no room are submitted when this fraction of the queue is free, not one by one."""

ASK_AGAIN_S = 60.0
"""An access point that was full is asked for more room after this time."""


class Batch(NamedTuple):
    """Jobs of one kind to submit now; the keys in each job of HTCondor."""

    kind: Kind
    jobs: list[tuple[str, ...]]


class SubmitQueue:
    """Keys of the jobs to submit, by kind: the oldest first, or for bundles the most urgent.

    `has_failed` is to be set when a job fails that may be among them. Of those `in_doubt` the
    outcome of the submission is unknown. `apart` is True if jobs to submit
    are to be spread, see `balance.apart`; `apart_there` is the setting of all jobs in the access
    point's queue, None if unknown.
    """

    def __init__(self, table: JobTable, bundler: Bundler, priorities: JobPriorities) -> None:
        self._table, self._bundler, self._priorities = table, bundler, priorities
        self._unsent: dict[Kind, UnsentJobs] = {}
        self.has_failed = False
        self.in_doubt: dict[str, None] = {}
        self.apart = False
        self.apart_there: bool | None = False

    def __len__(self) -> int:
        self._drop_failed()
        return sum(map(len, self._unsent.values()))

    def add(self, jobs: Iterable[Job]) -> None:
        """Append jobs."""
        for job in jobs:
            kind = self._bundler.kind_of(job)
            if kind not in self._unsent:
                self._unsent[kind] = UnsentJobs(self._rank if kind.bundle_s else None)
            self._unsent[kind].add(job.key)

    def wanted(self, now_s: float) -> int:
        """Return how many jobs are to be submitted now if there is room for all; other ones wait to
        be bundled.
        """
        return sum(map(sum, self._sizes(UNBOUNDED, now_s).values()))

    def _sizes(self, room: int, now_s: float) -> dict[Kind, list[int]]:
        self._drop_failed()
        numbers = {kind: len(keys) for kind, keys in self._unsent.items()}
        return self._bundler.sizes(numbers, room, now_s)

    def take(self, room: int, now_s: float) -> list[Batch]:
        """Take the jobs off the list that are to be submitted now, `room` of them at most."""
        sizes = self._sizes(room, now_s)
        wanted = {kind: sum(own) for kind, own in sizes.items()}
        counts = shares(wanted, self._table.queued, room)
        return [self._batch(kind, count, sizes[kind]) for kind, count in counts.items()]

    def _batch(self, kind: Kind, count: int, sizes: Iterable[int]) -> Batch:
        """Take up to `count` jobs of a kind."""
        unsent = self._unsent[kind]
        taken = unsent.take(count, self._priorities.basis(kind.rule))
        if not unsent:
            del self._unsent[kind]
        return Batch(kind, cut(filter(self._is_prepared, taken), sizes))

    def _drop_failed(self) -> None:
        if not self.has_failed:
            return
        self.has_failed = False
        for kind in list(self._unsent):
            self._unsent[kind].keep(self._is_prepared)
            if not self._unsent[kind]:
                del self._unsent[kind]

    def _rank(self, key: str) -> int:
        return -self._priorities.of(self._table[key])

    def sending(self, keys: Iterable[str]) -> list[str]:
        """Return those of these jobs that are still to be submitted, and mark them in doubt."""
        now = [key for key in keys if self._is_prepared(key)]
        self.in_doubt |= dict.fromkeys(now)
        return now

    def answered(self, keys: Iterable[str]) -> None:
        """Record that the outcome for these jobs is known."""
        for key in keys:
            self.in_doubt.pop(key, None)

    def clear(self) -> None:
        """Drop all jobs."""
        self._unsent.clear()
        self.in_doubt.clear()

    def _is_prepared(self, key: str) -> bool:
        return self._table[key].state is JobState.PREPARED


class SubmissionThrottle:
    """Limit the jobs in the access point's queue. `notices` are messages for the user.

    When the access point refuses jobs as it is full, the number it has then is the limit for a
    while, so that jobs are submitted as others leave and no request is wasted.
    """

    def __init__(self, queued_max: int = QUEUED_MAX) -> None:
        self._queued_max = queued_max
        self._full_at: int | None = None
        self._again_s: float | None = None
        self._full = self._held_back = False
        self.batch_max = BATCH_MAX
        self.notices: list[str] = []

    def room(self, queued: int, unsent: int, elsewhere: int = 0) -> int:
        """Return how many of `unsent` jobs may be submitted beside `queued` ones of this run.

        `elsewhere` is the number of jobs that other runs of the same workflow have in the queue.
        """
        most = self._queued_max - elsewhere
        if self._full_at is not None:
            most = min(most, self._full_at)
        room = max(0, most - queued)
        if room >= unsent:
            return room
        if not self._held_back and not self._full:
            self._held_back = True
            self.notices.append(
                f"the queue gets no more than {self._queued_max} jobs of this workflow at a time "
                f"(--osgpilot-max-queued): {unsent - room} wait here until others have left it"
            )
        return room if room >= max(1, most // STEP) else 0

    def batches(self, keys: Sequence[str]) -> list[Sequence[str]]:
        """Split jobs into submissions."""
        starts = range(0, len(keys), self.batch_max)
        return [keys[start : start + self.batch_max] for start in starts]

    def sent(self, unsent: int) -> None:
        """Record that jobs were submitted and `unsent` are left."""
        if not unsent:
            self._held_back = False
        if not unsent and self._full and self._full_at is None:
            self._full = False
            self.notices.append("the access point has room for all jobs again")

    def refused(self, room: int, queued: int, why: str, *, at_once: bool) -> None:
        """Record that the access point accepts only `room` jobs beside `queued` ones of this run.

        With `at_once`, that is the limit of one submission.
        """
        if at_once and room:
            self.batch_max = room
            return
        self._full_at, self._again_s = queued + room, None
        if not self._full:
            self._full = True
            self.notices.append(
                f"{why}; the others wait here, and it is asked again every {ASK_AGAIN_S:.0f} s"
            )

    def tick(self, now_s: float) -> None:
        """Lift the limit of an access point that was full when it is time to ask again."""
        if self._full_at is None:
            return
        if self._again_s is None:
            self._again_s = now_s + ASK_AGAIN_S
        elif now_s >= self._again_s:
            self._full_at = None


def shares(unsent: Mapping[Kind, int], queued: Mapping[Request, int], room: int) -> dict[Kind, int]:
    """Return how many of the `unsent` jobs of each kind to submit into `room`.

    The kinds whose requests have the fewest jobs in the queue come first, up to an equal number of
    each: jobs that no pilot fits must not keep out those that would run.
    """
    if sum(unsent.values()) <= room:
        return {kind: count for kind, count in unsent.items() if count}

    def up_to(level: int) -> dict[Kind, int]:
        return {
            kind: min(count, max(0, level - queued.get(kind.request, 0)))
            for kind, count in unsent.items()
        }

    highest = max(queued.get(kind.request, 0) + count for kind, count in unsent.items())
    level = bisect_right(range(1, highest + 1), room, key=lambda at: sum(up_to(at).values()))
    counts = up_to(level)
    left = room - sum(counts.values())
    for kind, count in up_to(level + 1).items():
        extra = min(left, count - counts[kind])
        counts[kind] += extra
        left -= extra
    return {kind: count for kind, count in counts.items() if count}


def cut(keys: Iterable[str], sizes: Iterable[int]) -> list[tuple[str, ...]]:
    """Return the keys in parts of these sizes, as far as there are any."""
    rest = iter(keys)
    return [part for size in sizes if (part := tuple(islice(rest, size)))]
