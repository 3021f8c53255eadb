"""Circuit breaker and backoff for pilot submission.

A breaker opens after consecutive failures, admits one pilot after a while to probe whether the
cause has passed (half open), any number once that one has outlived those that failed, and closes
with the first pilot that runs a job.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ...common.counting import count_of
from ...model.snapshot import Gate

FAILURES_MAX = 4
"""Consecutive failures that open a breaker. If one node in five is faulty, four failures happen by
chance in 0.2 % of cases, two in 4 %."""

PROBE_AFTER_S, PROBE_AFTER_MAX_S = 30.0, 900.0
"""Shortest and longest wait before a probe; it doubles from probe to probe."""

PROBE_SHARE, PROBE_SHARE_FROM_S = 1 / 8, 300.0
"""Maximum wait as a share of the outage so far, beyond this many seconds: an outage's end is to be
noticed within a fraction of its duration."""

TRIES_MAX, GIVE_UP_AFTER_S = 8, 6 * 3600.0
"""Give up after this many probes and this long: then an error serves waiting jobs better. Most
outages have passed by then, often by the next morning; probes cost next to nothing."""

OUTLIVES_BY, OUTLIVES_MIN_S = 1.25, 60.0
"""A probe that has lasted longer than all failed pilots by this factor, and at least this long, has
passed the point where they failed; that it still boots does not hold up the others any longer."""

NODE_STRIKES_MAX, NODE_STRIKE_S = 2, 7200.0
"""A node with this many failed starts within this many seconds is excluded."""

BAD_NODES_MAX = 2
"""Consecutive failures on up to this many nodes may be the nodes' fault; on more, they are not."""

DOUBT = "doubt"
"""The rule that limits launches after failures that are too few to open the breaker."""

EXCUSED = frozenset({"NODE_FAIL", "PREEMPTED", "TIMEOUT", "DEADLINE", "REVOKED"})
"""Ends of an allocation that do not count against its type (squeue(1), JOB STATE CODES)."""


@dataclass(frozen=True)
class Breaker:
    """Failures since the last pilot that ran a job; `opened_s` and `tries` once it has opened.

    `since_s` is when it opened first, `opened_s` when the last probe failed. `chance` in [0.5, 1.5]
    is jitter for the probes of many users after an outage; `permanent` means that waiting cannot
    help. `lasted_s` is the longest time from start to end of a failed pilot, 0 if none is known.
    """

    failures: int = 0
    tries: int = 0
    since_s: float = 0.0
    opened_s: float | None = None
    cause: str = ""
    permanent: bool = False
    chance: float = 1.0
    lasted_s: float = 0.0

    def failed(
        self, now_s: float, cause: str, *, chance: float = 1.0, lasted_s: float = 0.0
    ) -> Breaker:
        """Return the breaker after one more pilot failed, `lasted_s` after its start.

        A failure before the next probe is due was launched before the breaker opened, and does not
        count.
        """
        longest_s = max(self.lasted_s, lasted_s)
        if self.opened_s is not None and now_s < self.probe_s():
            return replace(self, lasted_s=longest_s)
        failures = self.failures + 1
        if failures < FAILURES_MAX:
            return replace(self, failures=failures, cause=cause, lasted_s=longest_s)
        since_s = now_s if self.opened_s is None else self.since_s
        tries = self.tries + (self.opened_s is not None)
        return replace(
            self,
            failures=failures,
            tries=tries,
            since_s=since_s,
            opened_s=now_s,
            cause=cause,
            permanent=tries >= TRIES_MAX and now_s - since_s >= GIVE_UP_AFTER_S,
            chance=chance,
            lasted_s=longest_s,
        )

    def refused(self, now_s: float, cause: str) -> Breaker:
        """Return the breaker after a permanent rejection by Slurm."""
        return replace(self, opened_s=now_s, cause=cause, permanent=True)

    def probe_s(self, turn: float = 0.0) -> float:
        """Return when the next probe is due; now, if the breaker is closed.

        `turn` in [0, 1] orders pilot types that share a breaker: a larger one waits longer.
        """
        if self.opened_s is None:
            return 0.0
        lasted_s = self.opened_s - self.since_s
        longest_s = min(max(PROBE_SHARE_FROM_S, PROBE_SHARE * lasted_s), PROBE_AFTER_MAX_S)
        wait_s = min(PROBE_AFTER_S * 2.0**self.tries, longest_s)
        return self.opened_s + self.chance * wait_s * (1.0 + turn / 2)

    def outlived(self, starts_s: Iterable[float], now_s: float) -> bool:
        """Return True if one of the pilots that started then is a probe, and has passed the point
        where others failed.
        """
        if self.opened_s is None or self.permanent or not self.lasted_s:
            return False
        proven_s = now_s - max(OUTLIVES_MIN_S, OUTLIVES_BY * self.lasted_s)
        return any(self.opened_s <= start_s < proven_s for start_s in starts_s)

    def gate(self, now_s: float, risked: int, turn: float = 0.0) -> Gate | None:
        """Return the launches that this breaker allows now, None for no limit.

        `risked` is the number of live pilots that have not run a job yet.
        """
        if self.opened_s is None:
            # until one has run a job, risk no more than it takes to open
            room = FAILURES_MAX - self.failures - risked
            return Gate(room, self._reason(""), DOUBT) if self.failures else None
        if self.permanent:
            return Gate(0, self._reason("; given up"))
        left_s = self.probe_s(turn) - now_s
        if left_s > 0:
            return Gate(0, self._reason(f"; next retry in {left_s:.0f} s"))
        return Gate(0 if risked else 1, self._reason("; retrying with one"))

    def _reason(self, then: str) -> str:
        if self.failures < FAILURES_MAX and self.permanent:
            return self.cause
        pilots = count_of(self.failures, "consecutive pilot")
        return f"{pilots} ran no job, the last: {self.cause}{then}"


CLOSED = Breaker()


@dataclass(frozen=True)
class Backoff:
    """Consecutive temporary rejections by Slurm, the first at `since_s`, the last at `at_s`.

    They do not count against pilots. `chance` in [0.5, 1.5] is jitter for the retries of many users
    after an outage.
    """

    rejections: int = 0
    at_s: float = 0.0
    cause: str = ""
    chance: float = 1.0
    since_s: float = 0.0

    def again(self, now_s: float, cause: str, *, chance: float = 1.0) -> Backoff:
        """Return the backoff after one more rejection."""
        since_s = self.since_s if self.rejections else now_s
        return Backoff(self.rejections + 1, now_s, cause, chance, since_s)

    @property
    def until_s(self) -> float:
        """The time of the next retry; each wait is twice the previous one."""
        wait_s = PROBE_AFTER_S * 2.0 ** (self.rejections - 1)
        return self.at_s + self.chance * min(wait_s, PROBE_AFTER_MAX_S)

    @property
    def exhausted(self) -> bool:
        """True if jobs without a pilot should fail by now."""
        return self.rejections > TRIES_MAX and self.at_s - self.since_s >= GIVE_UP_AFTER_S

    def gate(self, now_s: float) -> Gate:
        """Return the launches allowed now."""
        if now_s < self.until_s:
            return Gate(0, f"{self.cause}; next retry in {self.until_s - now_s:.0f} s")
        return Gate(1, f"{self.cause}; retrying with one")


@dataclass(frozen=True)
class Risk:
    """Live pilots that have not run a job yet, by type; `waiting` ones cost nothing yet.

    `starts_s` is when those started that may still run one.
    """

    waiting: Mapping[str, int]
    starting: Mapping[str, int]
    starts_s: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Strikes:
    """Times of failed starts, by node."""

    times_s: Mapping[str, tuple[float, ...]]

    def struck(self, node: str, now_s: float) -> Strikes:
        """Return the strikes after one more failed start on `node`."""
        if not node:
            return self
        return Strikes({**self.times_s, node: (*self.times_s.get(node, ()), now_s)})

    def excluded(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes to exclude now."""
        return tuple(
            sorted(
                node
                for node, times_s in self.times_s.items()
                if sum(now_s - at_s < NODE_STRIKE_S for at_s in times_s) >= NODE_STRIKES_MAX
            )
        )
