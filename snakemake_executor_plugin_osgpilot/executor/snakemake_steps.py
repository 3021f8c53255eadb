"""Snakemake's view of a workflow as a whole: its count of jobs, and how it was started."""

from __future__ import annotations

import platform
import shlex
import sys
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Any

from ..monitoring.progress import Steps

DISTRIBUTION = "snakemake-executor-plugin-osgpilot"


class SnakemakeSteps:
    """Reads the counts of the scheduler of a workflow (`JobScheduler`, 9.27.1).

    Snakemake calls its jobs steps: local ones and the members of groups count, too.
    """

    def __init__(self, workflow: Any) -> None:
        self._workflow = workflow

    def __call__(self) -> Steps | None:
        """Return the counts, None before the scheduler exists. Any thread may call this."""
        scheduler = self._workflow.scheduler
        if scheduler is None:
            return None
        failed = sum(map(len, list(scheduler.failed)))
        return Steps(scheduler.finished_jobs, len(self._workflow.dag), failed)


NOTIFY = "--osgpilot-notify"
"""An option whose value may have a secret."""


def _is_secret(before: str, argument: str) -> bool:
    return before == NOTIFY or argument.startswith(f"{NOTIFY}=")


def about(workflow: Any) -> dict[str, str]:
    """Return what a report says of a workflow, by name.

    With `--until`, there is `until`: Snakemake's count of steps includes those that come after it.
    """
    program, *arguments = sys.argv
    name = PurePath(program).name
    shown = ("…" if _is_secret(*pair) else pair[1] for pair in pairwise(["", *arguments]))
    until = ", ".join(sorted({*workflow.dag.untilrules, *map(str, workflow.dag.untilfiles)}))
    command = [name if name != "__main__.py" else "snakemake", *shown]
    return {
        "workflow": str(workflow.main_snakefile),
        "folder": str(Path.cwd()),
        "command": shlex.join(command),
        "osgpilot": version(DISTRIBUTION),
        "Snakemake": version("snakemake"),
        "Python": platform.python_version(),
        "HTCondor": version("htcondor"),
        **({"until": until} if until else {}),
    }
