"""Format durations for people. Pure: the planner uses it."""

from __future__ import annotations


def rough(seconds: float) -> float:
    """Return a duration rounded to the precision of an estimate."""
    for until_s, step_s in ((60, 10), (600, 30), (3600, 300), (36000, 600)):
        if seconds < until_s:
            return step_s * round(seconds / step_s)
    return 3600 * round(seconds / 3600)


def duration(seconds: float) -> str:
    """Return a duration in its two largest units, whole minutes from ten on."""
    seconds = max(0, round(seconds))
    if 600 <= seconds < 3600:
        return f"{seconds // 60} min"
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
