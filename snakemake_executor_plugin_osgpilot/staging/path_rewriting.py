"""Places of this machine that a command names, as the execution point has them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_osgpilot.staging.payload import HERE
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy, is_below

_MORE = r"(?:/[^\s'\"`;|&<>()$\\:,]*)?"
"""What may follow a folder in a path; a path with other characters is not taken for a file."""


@dataclass(frozen=True)
class Places:
    """The working folder, and where Snakemake keeps copies of the workflow's sources.

    Commands get to name them by `workflow.basedir`, `os.getcwd()` or `workflow.source_path()`.
    """

    workdir: Path
    copies: str
    shared: bool

    def as_there(self, command: str) -> tuple[str, tuple[str, ...]]:
        """Return `command` as it is to run there, and the files that it names so.

        The files are relative to the working folder; nothing else brings them there.
        """
        # the copy of a source has its absolute path
        command = command.replace(f"{self.copies}/file/", "/")
        here = str(self.workdir)
        if self.shared or here == "/" or here not in command:
            return command, ()
        files: dict[str, None] = {}

        def moved(found: re.Match[str]) -> str:
            path = os.path.normpath(found[0])
            if not os.path.lexists(path):
                return found[0]
            below = os.path.relpath(path, here)
            if Path(path).is_file():
                files[below] = None
            return HERE if below == "." else f"{HERE}/{below}"

        pattern = rf"(?<![\w./-]){re.escape(here)}(?![\w.-]){_MORE}"
        return re.sub(pattern, moved, command), tuple(files)


def places_of(workflow: Any, traffic: TransferPolicy) -> Places:
    """Return the places of the workflow that runs in the current folder."""
    workdir = Path.cwd()
    copies = str(workflow.sourcecache.runtime_cache_path)
    return Places(workdir, copies, is_below(str(workdir), traffic.shared_prefixes))
