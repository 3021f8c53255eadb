"""Format points in time, in the local time zone; apart from `durations`, which is pure."""

from __future__ import annotations

import time


def clock(at_s: float) -> str:
    """Return the time of day."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def date(at_s: float) -> str:
    """Return the date and the time of day."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_s))
