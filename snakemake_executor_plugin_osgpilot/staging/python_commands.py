"""Tell which shell commands run programs of the Python environment that Snakemake runs in."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import Path, PurePath

from ..common.snakemake_types import SingleJob

_NEXT_COMMAND = re.compile(r"[\n;&|()`]|\{\{|\}\}")
_ASSIGNMENT = re.compile(r"\w+\+?=")
_PYTHON = re.compile(r"python(3(\.\d+)?)?")

_RUNNERS = {"command", "env", "exec", "nice", "nohup", "time", "timeout", "xargs"}
"""Commands that run the one which their arguments name."""

_BASEDIR = "{workflow.basedir}"
_SHEBANG = re.compile(rb"#!\s*(\S*/)?env\s+(-S\s+)?python[0-9.]*\s")
"""How a script begins that asks for the first Python of the PATH."""

_KEYWORDS = {"!", "do", "elif", "else", "if", "then", "until", "while", "{"}


def calls_python(job: SingleJob) -> bool:
    """Return True if the job's shell command runs Python, or a program of a Python package here.

    In a local run these are those of the environment of Snakemake.
    """
    command = job.rule.shellcmd or ""
    basedir = str(job.rule.workflow.basedir) if _BASEDIR in command else ""
    return bool(command) and _runs_python(command, basedir)


@lru_cache(maxsize=1000)
def _runs_python(command: str, basedir: str) -> bool:
    return runs_any_of(command, sys.prefix, _scripts()) or runs_python_script(command, basedir)


def runs_any_of(command: str, prefix: str, scripts: Collection[str]) -> bool:
    """Return True if `command` runs Python, one of `scripts`, or a program below `prefix`."""
    return any(
        _PYTHON.fullmatch(program) or program in scripts or f"{prefix}/bin" == _folder(program)
        for program in programs(command)
    )


def runs_python_script(command: str, basedir: str) -> bool:
    """Return True if `command` runs a script by its path that begins with `#!/usr/bin/env python`.

    `basedir` is the folder of the main Snakefile.
    """
    paths = (program.replace(_BASEDIR, basedir) for program in programs(command))
    return any("/" in path and _is_python_script(Path(path)) for path in paths)


def _is_python_script(path: Path) -> bool:
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return _SHEBANG.match(file.read(100)) is not None
    except (OSError, ValueError):
        return False


def programs(command: str) -> Iterator[str]:
    """Yield the programs that a rule's shell command runs, before its values are put in.

    It is no parser of shells: a text in quotes that looks like a command counts as one.
    """
    for part in _NEXT_COMMAND.split(command):
        is_run = False
        for word in part.split():
            if word in _KEYWORDS or _ASSIGNMENT.match(word):
                continue
            if word in _RUNNERS:
                is_run = True
            elif not (is_run and (word.startswith("-") or word[0].isdigit())):
                yield word.strip("\"'")
                break


def _folder(program: str) -> str:
    return str(PurePath(program).parent)


@cache
def _scripts() -> frozenset[str]:
    """Return the names of the programs that Python packages of this environment install."""
    return frozenset(each.name for each in entry_points(group="console_scripts"))
