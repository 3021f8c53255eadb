"""The clock of this machine."""

from __future__ import annotations

import time


class SystemClock:
    """Implements `model.clock.WaitingClock`."""

    def now_s(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
