"""The interface to the clock."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """The only source of time; seconds since the epoch."""

    def now_s(self) -> float: ...


class WaitingClock(Clock, Protocol):
    """A clock that can wait."""

    def sleep(self, seconds: float) -> None: ...
