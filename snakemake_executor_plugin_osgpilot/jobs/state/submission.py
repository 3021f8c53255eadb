"""How many jobs go to the access point, and which of those that wait with us go first."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping

from snakemake_executor_plugin_osgpilot.model.resources import Request

QUEUED_MAX = 10_000
"""Jobs that one user may have in the queue of an access point of the OSPool (OSPool documentation,
overview/references/policy.md)."""

BATCH_MAX = 5000
"""Jobs submitted at once. An access point takes 20,000 (HTCondor manual, MAX_JOBS_PER_SUBMISSION)
and does nothing else meanwhile."""

STEP = 20
"""Jobs that were held back go in when this part of the queue has become free, not one by one."""

ASK_AGAIN_S = 60.0
"""An access point that was full is asked for more room after this time."""


class SubmissionThrottle:
    """How many jobs the access point may be given now. `notices` is what there is to say of it.

    When it refused for want of room, what it had then is taken as its limit for a while, so that
    jobs go in as others leave and nothing is asked in vain.
    """

    def __init__(self, queued_max: int = QUEUED_MAX) -> None:
        self._queued_max = queued_max
        self._full_at: int | None = None
        self._again_s: float | None = None
        self._full = self._held_back = False
        self.batch_max = BATCH_MAX
        self.notices: list[str] = []

    def room(self, queued: int, unsent: int, elsewhere: int = 0) -> int:
        """Return how many of `unsent` jobs may go in while `queued` of ours are there.

        `elsewhere` is how many other runs of the same workflow have in the queue.
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
        """Return what goes in one submission each."""
        return [
            (request, keys[start : start + self.batch_max])
            for request, keys in taken.items()
            for start in range(0, len(keys), self.batch_max)
        ]

    def sent(self, unsent: int) -> None:
        """Take in that jobs went in, and that `unsent` are left."""
        if not unsent:
            self._held_back = False
        if not unsent and self._full and self._full_at is None:
            self._full = False
            self.notices.append("the access point has room for all jobs again")

    def refused(self, room: int, queued: int, why: str, *, at_once: bool) -> None:
        """Take in that the access point takes no more than `room` jobs beside `queued` of ours.

        `at_once` says that so many are the most it takes in one submission.
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
        """Have an access point that was full asked again when it is time to."""
        if self._full_at is None:
            return
        if self._again_s is None:
            self._again_s = now_s + ASK_AGAIN_S
        elif now_s >= self._again_s:
            self._full_at = None


def shares(
    unsent: Mapping[Request, list[str]], queued: Mapping[Request, int], room: int
) -> dict[Request, list[str]]:
    """Return which keys of `unsent` go in when there is `room`; of each request the oldest.

    The requests of which the fewest jobs are in the queue come first, up to an equal number of
    each: jobs that find no pilot must not keep those out that would.
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
