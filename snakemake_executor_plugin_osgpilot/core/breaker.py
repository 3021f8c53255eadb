"""When to stop starting pilots that do no good, and when to try again.

One breaker for each offer. It opens when the last starts all failed, lets one pilot through after a
while to see whether the cause is gone (half open), and closes with the first that is of use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from snakemake_executor_plugin_osgpilot.core.snapshot import Gate

FAILURES_MAX = 4
"""Starts in a row that have to fail. If one node in five is bad, four failures come about by chance
in 0.2 % of cases, two in 4 %."""

PROBE_AFTER_S, PROBE_AFTER_MAX_S = 30.0, 900.0
"""First and longest wait before a try; it doubles from try to try."""

TRIES_MAX = 8
"""After so many tries, about an hour, it is given up: waiting jobs are better off with an error."""

NODE_STRIKES_MAX, NODE_STRIKE_S = 2, 7200.0
"""A node on which so many starts failed within so many seconds is left out."""

DOUBT = "doubt"
"""The rule by which pilots are held back after failures that are too few to open the breaker."""

EXCUSED = frozenset({"NODE_FAIL", "PREEMPTED", "TIMEOUT", "DEADLINE", "REVOKED"})
"""Ends of an allocation that say nothing against its kind (squeue(1), JOB STATE CODES)."""


@dataclass(frozen=True)
class Breaker:
    """Failures since the last pilot that was of use; `opened_s` and `tries` once there were enough.

    `chance` in [0.5, 1.5] spreads the tries of many users after an outage; `permanent` holds a
    refusal of Slurm's that no waiting cures.
    """

    failures: int = 0
    tries: int = 0
    opened_s: float | None = None
    cause: str = ""
    permanent: bool = False
    chance: float = 1.0

    def failed(self, now_s: float, cause: str, *, chance: float = 1.0) -> Breaker:
        """Return this after a start that came to nothing.

        What fails before a try is due was started before the breaker opened, and teaches nothing.
        """
        if self.opened_s is not None and now_s < self.probe_s:
            return self
        failures = self.failures + 1
        if failures < FAILURES_MAX:
            return replace(self, failures=failures, cause=cause)
        tries = self.tries + (self.opened_s is not None)
        return replace(
            self,
            failures=failures,
            tries=tries,
            opened_s=now_s,
            cause=cause,
            permanent=tries >= TRIES_MAX,
            chance=chance,
        )

    def refused(self, now_s: float, cause: str) -> Breaker:
        """Return this after Slurm said no for good."""
        return replace(self, opened_s=now_s, cause=cause, permanent=True)

    @property
    def probe_s(self) -> float:
        """Return when the next try is due; now, if the breaker is closed."""
        if self.opened_s is None:
            return 0.0
        wait_s = min(PROBE_AFTER_S * 2.0**self.tries, PROBE_AFTER_MAX_S)
        return self.opened_s + self.chance * wait_s

    def gate(self, now_s: float, live: int) -> Gate | None:
        """Return what this breaker allows now, None for everything; `live` pilots are under way."""
        if self.opened_s is None:
            # until one has proved to be of use, no more at risk than it takes to know
            room = FAILURES_MAX - self.failures - live
            return Gate(room, self._reason(""), DOUBT) if self.failures else None
        if self.permanent:
            return Gate(0, self._reason("; given up"))
        if now_s < self.probe_s:
            return Gate(0, self._reason(f"; next try in {self.probe_s - now_s:.0f} s"))
        return Gate(0 if live else 1, self._reason("; trying one"))

    def _reason(self, then: str) -> str:
        if self.failures < FAILURES_MAX and self.permanent:
            return self.cause
        return f"{self.failures} pilot(s) in a row were of no use, the last: {self.cause}{then}"


CLOSED = Breaker()


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
