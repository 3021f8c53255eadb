"""Why a pilot failed, from the end of its log."""

from __future__ import annotations

ERROR = "osgpilot: error: "
"""The line with which pilot.sh ends when it knows the reason."""

TEXT_MAX = 400


def explained(failure: str, tail: str) -> str:
    """Return `failure`, Slurm's word for the end of an allocation, with the reason from its log.

    That is the last line with an error of pilot.sh; without one, the last lines.
    """
    lines = [line for line in (" ".join(each.split()) for each in tail.splitlines()) if line]
    errors = [line.removeprefix(ERROR) for line in lines if line.startswith(ERROR)]
    if errors:
        return f"{failure}: {errors[-1][:TEXT_MAX]}"
    if not lines:
        return f"{failure}, and left no log"
    return f"{failure}, its log ends: {' '.join(lines)[-TEXT_MAX:]}"
