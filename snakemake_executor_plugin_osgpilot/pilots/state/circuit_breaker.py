"""When to stop starting pilots that do no good, and when to try again.

A breaker opens when the last starts all failed, lets one pilot through after a while to see whether
the cause is gone (half open), and closes with the first that is of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from snakemake_executor_plugin_osgpilot.model.snapshot import Gate

FAILURES_MAX = 4
"""Starts in a row that have to fail. If one node in five is bad, four failures come about by chance
in 0.2 % of cases, two in 4 %."""

PROBE_AFTER_S, PROBE_AFTER_MAX_S = 30.0, 900.0
"""First and longest wait before a try; it doubles from try to try."""

PROBE_SHARE, PROBE_SHARE_FROM_S = 1 / 8, 300.0
"""No wait is longer than this share of the trouble so far, from so many seconds on: what it takes
to notice the end of an outage is to be little beside the outage."""

TRIES_MAX, GIVE_UP_AFTER_S = 8, 6 * 3600.0
"""After so many tries and so long, it is given up: waiting jobs are better off with an error. Most
outages are over by then, often with the next morning; until then, tries cost next to nothing."""

NODE_STRIKES_MAX, NODE_STRIKE_S = 2, 7200.0
"""A node on which so many starts failed within so many seconds is left out."""

BAD_NODES_MAX = 2
"""Failures in a row on so many nodes may be the nodes' fault; on more of them, they are not."""

DOUBT = "doubt"
"""The rule by which pilots are held back after failures that are too few to open the breaker."""

EXCUSED = frozenset({"NODE_FAIL", "PREEMPTED", "TIMEOUT", "DEADLINE", "REVOKED"})
"""Ends of an allocation that say nothing against its kind (squeue(1), JOB STATE CODES)."""


@dataclass(frozen=True)
class Breaker:
    """Failures since the last pilot that was of use; `opened_s` and `tries` once there were enough.

    `since_s` is when it opened first, `opened_s` when the last try failed.
    `chance` in [0.5, 1.5] spreads the tries of many users after an outage; `permanent` holds a
    refusal of Slurm's that no waiting cures.
    """

    failures: int = 0
    tries: int = 0
    since_s: float = 0.0
    opened_s: float | None = None
    cause: str = ""
    permanent: bool = False
    chance: float = 1.0

    def failed(self, now_s: float, cause: str, *, chance: float = 1.0) -> Breaker:
        """Return this after a start that came to nothing.

        What fails before a try is due was started before the breaker opened, and teaches nothing.
        """
        if self.opened_s is not None and now_s < self.probe_s():
            return self
        failures = self.failures + 1
        if failures < FAILURES_MAX:
            return replace(self, failures=failures, cause=cause)
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
        )

    def refused(self, now_s: float, cause: str) -> Breaker:
        """Return this after Slurm said no for good."""
        return replace(self, opened_s=now_s, cause=cause, permanent=True)

    def probe_s(self, turn: float = 0.0) -> float:
        """Return when the next try is due; now, if the breaker is closed.

        `turn` in [0, 1] is for offers that share a breaker: the later its turn, the longer it is.
        """
        if self.opened_s is None:
            return 0.0
        lasted_s = self.opened_s - self.since_s
        longest_s = min(max(PROBE_SHARE_FROM_S, PROBE_SHARE * lasted_s), PROBE_AFTER_MAX_S)
        wait_s = min(PROBE_AFTER_S * 2.0**self.tries, longest_s)
        return self.opened_s + self.chance * wait_s * (1.0 + turn / 2)

    def gate(self, now_s: float, risked: int, turn: float = 0.0) -> Gate | None:
        """Return what this breaker allows now, None for everything.

        `risked` pilots are under way of which it is not known whether they are of use.
        """
        if self.opened_s is None:
            # until one has proved to be of use, no more at risk than it takes to know
            room = FAILURES_MAX - self.failures - risked
            return Gate(room, self._reason(""), DOUBT) if self.failures else None
        if self.permanent:
            return Gate(0, self._reason("; given up"))
        left_s = self.probe_s(turn) - now_s
        if left_s > 0:
            return Gate(0, self._reason(f"; next try in {left_s:.0f} s"))
        return Gate(0 if risked else 1, self._reason("; trying one"))

    def _reason(self, then: str) -> str:
        if self.failures < FAILURES_MAX and self.permanent:
            return self.cause
        return f"{self.failures} pilot(s) in a row were of no use, the last: {self.cause}{then}"


CLOSED = Breaker()


@dataclass(frozen=True)
class Backoff:
    """Refusals in a row that time may cure, the first at `since_s`, the last at `at_s`.

    They say nothing against pilots. `chance` in [0.5, 1.5] spreads the tries of
    many users after an outage.
    """

    refusals: int = 0
    at_s: float = 0.0
    cause: str = ""
    chance: float = 1.0
    since_s: float = 0.0

    def again(self, now_s: float, cause: str, *, chance: float = 1.0) -> Backoff:
        """Return this after one more refusal."""
        since_s = self.since_s if self.refusals else now_s
        return Backoff(self.refusals + 1, now_s, cause, chance, since_s)

    @property
    def until_s(self) -> float:
        """When the next try is due; every wait is twice the one before."""
        wait_s = PROBE_AFTER_S * 2.0 ** (self.refusals - 1)
        return self.at_s + self.chance * min(wait_s, PROBE_AFTER_MAX_S)

    @property
    def hopeless(self) -> bool:
        """Whether jobs that have no pilot are better off with an error by now."""
        return self.refusals > TRIES_MAX and self.at_s - self.since_s >= GIVE_UP_AFTER_S

    def gate(self, now_s: float) -> Gate:
        """Return what may be started now."""
        if now_s < self.until_s:
            return Gate(0, f"{self.cause}; next try in {self.until_s - now_s:.0f} s")
        return Gate(1, f"{self.cause}; trying one")


@dataclass(frozen=True)
class Risk:
    """Pilots under way of which it is not known whether they are of use, by offer.

    `waiting` ones cost nothing yet.
    """

    waiting: Mapping[str, int]
    starting: Mapping[str, int]


@dataclass(frozen=True)
class Strikes:
    """Times at which starts failed, by node."""

    times_s: Mapping[str, tuple[float, ...]]

    def struck(self, node: str, now_s: float) -> Strikes:
        """Return this after one more failed start on `node`."""
        if not node:
            return self
        return Strikes({**self.times_s, node: (*self.times_s.get(node, ()), now_s)})

    def excluded(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes to leave out now."""
        return tuple(
            sorted(
                node
                for node, times_s in self.times_s.items()
                if sum(now_s - at_s < NODE_STRIKE_S for at_s in times_s) >= NODE_STRIKES_MAX
            )
        )
