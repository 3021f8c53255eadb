"""Record the results of `glob_wildcards()` in the Snakefile, and replay them where jobs run.

There, only the inputs of one job exist. Without the record, a list of samples made at the top of a
Snakefile would be empty, and a rule that merges them would merge nothing, without an error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_osgpilot.common import private_files as private

FOUND = "globbed.json"
"""In the run folder and with the workflow's sources: pattern → names and values of wildcards."""

_found: dict[str, tuple[list[str], list[list[str]]]] = {}


def listen() -> None:
    """Record results of `glob_wildcards()` from now on; called before a Snakefile is parsed."""
    io, workflow = sys.modules.get("snakemake.io"), sys.modules.get("snakemake.workflow")
    if io is None or workflow is None or hasattr(io.glob_wildcards, "notes"):
        return
    noted = _noting(io.glob_wildcards)
    for module in (io, workflow):
        module.glob_wildcards = noted  # type: ignore[attr-defined]


def _noting(glob_wildcards: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(glob_wildcards)
    def noted(pattern: Any, files: Any = None, followlinks: bool = False) -> Any:
        found = glob_wildcards(pattern, files, followlinks)
        if files is None and not getattr(pattern, "flags", None):
            _found[str(pattern)] = (list(found._fields), [list(values) for values in found])
        return found

    noted.notes = True  # type: ignore[attr-defined]
    return noted


def write(path: Path) -> bool:
    """Write the results so far to `path`; return True if there are any.

    A file with the same content is kept: jobs of a previous session depend on it.
    """
    text = json.dumps(_found, sort_keys=True)
    if _found and not (path.exists() and path.read_text() == text):
        private.write(path, text)
    return bool(_found)
