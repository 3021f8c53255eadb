"""Tell which shell commands run programs of the Python environment that Snakemake runs in."""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator
from functools import cache, lru_cache
from importlib.metadata import entry_points
from pathlib import PurePath

from ..common.snakemake_types import SingleJob

_NEXT_COMMAND = re.compile(r"[\n;&|()`]|\{\{|\}\}")
_ASSIGNMENT = re.compile(r"\w+\+?=")
_PYTHON = re.compile(r"python(3(\.\d+)?)?")

_RUNNERS = {"command", "env", "exec", "nice", "nohup", "time", "timeout", "xargs"}
"""Commands that run the one which their arguments name."""

_KEYWORDS = {"!", "do", "elif", "else", "if", "then", "until", "while", "{"}


def calls_python(job: SingleJob) -> bool:
    """Return True if the job's shell command runs Python, or a program of a Python package here.

    In a local run these are those of the environment of Snakemake.
    """
    command = job.rule.shellcmd or ""
    return bool(command) and _runs_python(command)


@lru_cache(maxsize=1000)
def _runs_python(command: str) -> bool:
    return runs_any_of(command, sys.prefix, _scripts())


def runs_any_of(command: str, prefix: str, scripts: Collection[str]) -> bool:
    """Return True if `command` runs Python, one of `scripts`, or a program below `prefix`."""
    return any(
        _PYTHON.fullmatch(program) or program in scripts or f"{prefix}/bin" == _folder(program)
        for program in programs(command)
    )


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
