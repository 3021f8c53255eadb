"""Account for the core-milliseconds of one pilot, updated with every change."""

from __future__ import annotations

from .model import Charged


class CoreHourAccount:
    """Counts from the moment a pilot takes jobs until it ends; integers, so that sums are exact.

    `taken` cores are claimed for jobs. What is not taken while others are is loose: `tail` until
    another job starts, `fragmentation` then. A claim without a job in execution is fragmentation.
    """

    __slots__ = (
        "_boot", "_cores", "_failed", "_fragmentation", "_idle", "_loose", "_rework", "_since_ms",
        "_useful", "taken",
    )  # fmt: skip

    def __init__(self, cores: int) -> None:
        self._cores = cores
        self.taken = 0
        self._since_ms = 0
        self._boot = self._idle = self._loose = self._fragmentation = 0
        self._useful = self._rework = self._failed = 0

    def came_up(self, started_ms: int, now_ms: int) -> None:
        """Note that the pilot takes jobs from now on."""
        self._boot = self._cores * (now_ms - started_ms)
        self._since_ms = now_ms

    def never_came_up(self, started_ms: int, now_ms: int, *, failed: bool) -> None:
        """Note that the pilot ended before it took jobs: it failed, or was not wanted any more."""
        lost = self._cores * (now_ms - started_ms)
        if failed:
            self._failed = lost
        else:
            self._boot = lost

    def settle(self, now_ms: int) -> None:
        """Add up what was not taken until now. Has to come before every change of `taken`."""
        passed_ms = now_ms - self._since_ms
        if self.taken:
            self._loose += (self._cores - self.taken) * passed_ms
        else:
            self._idle += self._cores * passed_ms
        self._since_ms = now_ms

    def starts(self, cores: int, lead_ms: int, now_ms: int) -> None:
        """Note a job that starts on `cores`, taken or about to be, and executes after `lead_ms`."""
        self.settle(now_ms)
        self._fragmentation += self._loose + cores * lead_ms
        self._loose = 0

    def ended(self, cores: int, runtime_ms: int) -> None:
        """Note that a job on `cores` came to its end."""
        self._useful += cores * runtime_ms

    def cut_short(self, cores: int, executes_ms: int, now_ms: int) -> None:
        """Note that a job on `cores` that executes from `executes_ms` on is cut short now."""
        if now_ms < executes_ms:
            self._fragmentation -= cores * (executes_ms - now_ms)
        else:
            self._rework += cores * (now_ms - executes_ms)

    def charged(self) -> Charged:
        """Return what everything went to."""
        return Charged(
            self._useful, self._boot, self._idle, self._fragmentation, self._loose,
            self._failed, self._rework,
        )  # fmt: skip
