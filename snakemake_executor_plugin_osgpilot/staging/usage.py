"""What the command of a job took, as the shell there counted that waited for it.

HTCondor looks at processes now and then, where it has no control groups as in most pilots, and
sees nothing of short ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from snakemake_executor_plugin_osgpilot.jobs.state.events import CommandUsage
from snakemake_executor_plugin_osgpilot.staging.returned_files import came, read_small

TIMES = ".osgpilot-times"
"""In the output folder: what bash's `times` prints, then when the commands began and ended. Empty
while they run, so that none of an earlier attempt is left."""

_MAX_BYTES = 1024

_NUMBER = r"([0-9]{1,12}[.,][0-9]{1,9})"
_MINUTES = rf"([0-9]{{1,9}})m{_NUMBER}s"
_TIMES = re.compile(rf"{_MINUTES} {_MINUTES}\n{_MINUTES} {_MINUTES}\n{_NUMBER} {_NUMBER}\n")


def spent(job_folder: Path) -> CommandUsage | None:
    """Return what the commands of a job took, None if that did not come back."""
    return parse(_told(job_folder))


def command_ended(job_folder: Path) -> bool:
    """Whether wrapper.sh saw its commands end."""
    return bool(_told(job_folder))


def _told(job_folder: Path) -> str:
    try:
        told = read_small(came(job_folder) / TIMES, _MAX_BYTES)
    except OSError:
        return ""
    return told.decode("ascii", errors="replace")


def parse(text: str) -> CommandUsage | None:
    """Return what `TIMES` says, None if it says nothing; bash before 5.0 does not tell the time."""
    if (found := _TIMES.fullmatch(text)) is None:
        return None
    # the first line is of the shell itself
    *_, user_min, user_s, system_min, system_s, began_s, ended_s = (
        float(number.replace(",", ".")) for number in found.groups()
    )
    cpu_s = 60 * (user_min + system_min) + user_s + system_s
    return CommandUsage(round(cpu_s, 3), round(max(0.0, ended_s - began_s), 3))
