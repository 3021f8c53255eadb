"""Results of `glob_wildcards()` in the Snakefile, for the Snakemake on the execution point.

There are only the inputs of one job there. Without this, a list of samples made at the top of a
Snakefile would be empty there, and a rule that merges them would merge nothing, without an error.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..common import private_files as private
from ..common.snakemake_compat import record_globs

FOUND = "globbed.json"
"""In the run folder and with the workflow's sources: pattern → names and values of wildcards."""

_found: dict[str, tuple[list[str], list[list[str]]]] = {}


def record() -> None:
    """Record from now on what `glob_wildcards()` finds; call it before a Snakefile is parsed."""
    record_globs(note)


def note(pattern: str, names: list[str], values: list[list[str]]) -> None:
    """Record the values that `pattern` matched, for each of the `names` of its wildcards."""
    _found[pattern] = (names, values)


def write(path: Path) -> bool:
    """Write all results so far to `path`; return False if there are none.

    A file with the same content stays untouched: jobs of an earlier session travel with it.
    """
    text = json.dumps(_found, sort_keys=True)
    if _found and not (path.exists() and path.read_text() == text):
        private.write(path, text)
    return bool(_found)
