"""Decide which jobs are submitted next, and how many: the list of unsent jobs and its limits."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping

from ...model.resources import UNBOUNDED, Request
from .job import JobState
from .table import JobTable

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


class SubmitQueue:
    """Keys of jobs: `unsent` are to be submitted, of those `in_doubt` the outcome is unknown.

    `apart` is True if jobs to submit are to be spread, see `balance.apart`. `paused_there` and
    `apart_there` are the settings of all jobs in the access point's queue, None if unknown.
    """

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self.unsent: list[str] = []
        self.in_doubt: list[str] = []
        self.apart = False
        self.paused_there: bool | None = False
        self.apart_there: bool | None = False

    def forget_settings(self) -> None:
        """Record that jobs in the queue may have any settings."""
        self.paused_there = self.apart_there = None

    def take(self, room: int = UNBOUNDED) -> dict[Request, list[str]]:
        """Take up to `room` jobs off the list; return their keys by request."""
        kinds: defaultdict[Request, list[str]] = defaultdict(list)
        unsent = [key for key in self.unsent if self._is_prepared(key)]
        for key in unsent:
            kinds[self._table[key].request].append(key)
        taken = shares(kinds, self._table.queued, room)
        self.unsent = without(unsent, taken)
        return taken

    def put_first(self, keys: Iterable[str]) -> None:
        """Put jobs that were taken, and wait for now, before the others."""
        self.unsent[:0] = keys

    def sending(self, keys: Iterable[str]) -> list[str]:
        """Return those of these jobs that are still to be submitted, and mark them in doubt."""
        now = [key for key in keys if self._is_prepared(key)]
        self.in_doubt += now
        return now

    def answered(self, keys: Container[str]) -> None:
        """Record that the outcome for these jobs is known."""
        self.in_doubt = [key for key in self.in_doubt if key not in keys]

    def clear(self) -> None:
        """Drop all jobs."""
        self.unsent.clear()
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

    def batches(self, taken: Mapping[Request, list[str]]) -> list[tuple[Request, list[str]]]:
        """Split jobs into submissions."""
        return [
            (request, keys[start : start + self.batch_max])
            for request, keys in taken.items()
            for start in range(0, len(keys), self.batch_max)
        ]

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


def shares(
    unsent: Mapping[Request, list[str]], queued: Mapping[Request, int], room: int
) -> dict[Request, list[str]]:
    """Return the keys of `unsent` to submit into `room`; of each request the oldest.

    The requests with the fewest jobs in the queue come first, up to an equal number of each: jobs
    that no pilot fits must not keep out those that would run.
    """
    if sum(map(len, unsent.values())) <= room:
        return dict(unsent)

    def up_to(level: int) -> dict[Request, int]:
        return {
            request: min(len(keys), max(0, level - queued.get(request, 0)))
            for request, keys in unsent.items()
        }

    highest = max(queued.get(request, 0) + len(keys) for request, keys in unsent.items())
    level = bisect_right(range(1, highest + 1), room, key=lambda at: sum(up_to(at).values()))
    counts = up_to(level)
    left = room - sum(counts.values())
    for request, count in up_to(level + 1).items():
        extra = min(left, count - counts[request])
        counts[request] += extra
        left -= extra
    return {request: unsent[request][:count] for request, count in counts.items() if count}


def without(unsent: Iterable[str], taken: Mapping[Request, list[str]]) -> list[str]:
    """Return the keys of `unsent` that were not taken, in their order."""
    gone = {key for keys in taken.values() for key in keys}
    return [key for key in unsent if key not in gone]
