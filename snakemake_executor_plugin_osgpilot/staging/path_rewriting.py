"""Rewrite paths of this machine in a command to paths on the execution point."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .payload import HERE
from .transfer_policy import TransferPolicy, is_below

_MORE = r"(?:/[^\s'\"`;|&<>()$\\:,]*)?"
"""The rest of a path after a folder; a path with other characters is not rewritten as a file."""


@dataclass(frozen=True)
class PathRewriter:
    """Rewrites paths to the working folder, and to Snakemake's copies of the workflow's sources.

    Commands contain them because of `workflow.basedir`, `os.getcwd()` or `workflow.source_path()`.
    """

    workdir: Path
    copies: str
    shared: bool

    def rewritten(self, command: str) -> tuple[str, tuple[str, ...]]:
        """Return `command` with the paths rewritten, and the files that these paths name.

        The files are relative to the working folder; they have to be sent as inputs.
        """
        # the path of a copy ends in the absolute path of the source
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

    def value(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return `rewritten` for a text that may be a path as a whole, with any characters."""
        here = str(self.workdir)
        path = os.path.normpath(text.removeprefix(f"{self.copies}/file"))
        if self.shared or text.count(here) != 1 or not Path(path).is_relative_to(here):
            return self.rewritten(text)
        below = os.path.relpath(path, here)
        there = HERE if below == "." else f"{HERE}/{below}"
        return there, (below,) if Path(path).is_file() else ()


def rewriter_of(workflow: Any, traffic: TransferPolicy) -> PathRewriter:
    """Return the rewriter for the workflow that runs in the current folder."""
    workdir = Path.cwd()
    copies = str(workflow.sourcecache.runtime_cache_path)
    return PathRewriter(workdir, copies, is_below(str(workdir), traffic.shared_prefixes))
