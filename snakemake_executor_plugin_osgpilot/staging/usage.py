"""CPU and wall time of a job's command, measured by the shell that started it.

Without control groups, as in most pilots, HTCondor samples processes periodically and misses short
ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from ..jobs.state.events import CommandUsage
from .returned_files import came, read_small

TIMES = ".osgpilot-times"
"""In the output folder: the output of bash's `times`, then the times when the commands began and
ended. Empty while they run, so that no file of an earlier attempt is left."""

_MAX_BYTES = 1024

_NUMBER = r"([0-9]{1,12}[.,][0-9]{1,9})"
_MINUTES = rf"([0-9]{{1,9}})m{_NUMBER}s"
_TIMES = re.compile(rf"{_MINUTES} {_MINUTES}\n{_MINUTES} {_MINUTES}\n{_NUMBER} {_NUMBER}\n")


def spent(job_folder: Path) -> CommandUsage | None:
    """Return the usage of a job's commands, None if it did not come back."""
    return parse(_read_times(job_folder))


def command_ended(job_folder: Path) -> bool:
    """Return True if wrapper.sh saw the commands end."""
    return bool(_read_times(job_folder))


def _read_times(job_folder: Path) -> str:
    try:
        content = read_small(came(job_folder) / TIMES, _MAX_BYTES)
    except OSError:
        return ""
    return content.decode("ascii", errors="replace")


def parse(text: str) -> CommandUsage | None:
    """Return the usage from `TIMES`, None if it has none; bash before 5.0 has no clock."""
    if (found := _TIMES.fullmatch(text)) is None:
        return None
    # the first line is the usage of the shell itself
    *_, user_min, user_s, system_min, system_s, began_s, ended_s = (
        float(number.replace(",", ".")) for number in found.groups()
    )
    cpu_s = 60 * (user_min + system_min) + user_s + system_s
    return CommandUsage(round(cpu_s, 3), round(max(0.0, ended_s - began_s), 3))
