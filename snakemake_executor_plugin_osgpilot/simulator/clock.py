"""Virtual time in whole milliseconds, on SimPy's queue of events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy

MS = 1000
"""Milliseconds in a second. They are whole numbers, so that sums of times are exact."""


class Clock(simpy.Environment):
    """Implements `model.clock.WaitingClock`. Time goes from event to event."""

    def __init__(self) -> None:
        super().__init__(initial_time=0)

    @property
    def now(self) -> int:
        """Milliseconds since the start."""
        return self._now  # type: ignore[return-value]  # only whole delays are ever added

    def now_s(self) -> float:
        return self.now / MS

    def sleep(self, seconds: float) -> None:
        """Let events of so many seconds happen; not to be called from one of them."""
        self.run(until=self.now + round(seconds * MS))

    def after(self, delay_ms: int, act: Callable[[], None]) -> None:
        """Do `act` in so many milliseconds."""
        self.tell(delay_ms, lambda _: act(), None)

    def tell(self, delay_ms: int, listener: Callable[[Any], None], value: object) -> None:
        """Call `listener` with an event of this `value` after `delay_ms`."""
        event = simpy.Timeout(self, delay_ms, value)
        event.callbacks.append(listener)
