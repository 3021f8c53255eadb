"""What the command of a job took, as the shell there counted that waited for it.

HTCondor looks at processes now and then, where it has no control groups as in most pilots, and
sees nothing of short ones.
"""

from __future__ import annotations

import re
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import OUTPUT_FOLDER
from snakemake_executor_plugin_osgpilot.core.history import Spent

TIMES = ".osgpilot-times"
"""In the output folder: what bash's `times` prints, then when the commands began and ended."""

_MINUTES = r"(\d+)m(\d+[.,]\d+)s"
_TIMES = re.compile(rf"{_MINUTES} {_MINUTES}\n{_MINUTES} {_MINUTES}\n(\d+[.,]\d+) (\d+[.,]\d+)\n")


def spent(job_folder: Path) -> Spent | None:
    """Return what the commands of a job took, None if that did not come back."""
    try:
        text = (job_folder / OUTPUT_FOLDER / TIMES).read_text(errors="replace")
    except OSError:
        return None
    return parse(text)


def parse(text: str) -> Spent | None:
    """Return what `TIMES` says, None if it says nothing; bash before 5.0 does not tell the time."""
    if (found := _TIMES.fullmatch(text)) is None:
        return None
    # the first line is of the shell itself
    *_, user_min, user_s, system_min, system_s, began_s, ended_s = (
        float(number.replace(",", ".")) for number in found.groups()
    )
    cpu_s = 60 * (user_min + system_min) + user_s + system_s
    return Spent(round(cpu_s, 3), round(max(0.0, ended_s - began_s), 3))
