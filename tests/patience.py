"""Wait for conditions on a machine that is busy with other tests."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

LOOK_EVERY_S = 0.5


def until(condition: Callable[[], object], what: str, patience_s: float) -> None:
    """Wait until a condition holds; raises `AssertionError` if it does not.

    `patience_s` is enough on a machine with a core to spare; with twice as many processes that
    want to run as there are cores, it is twice that time.
    """
    begun_s = time.monotonic()
    while not condition():
        waited_s = time.monotonic() - begun_s
        assert waited_s < patience_s * crowding(), f"waited {waited_s:.0f} s for {what}"
        time.sleep(LOOK_EVERY_S)


def crowding() -> float:
    """Return the number of processes that want to run for each core, 1 at least."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
