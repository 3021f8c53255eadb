"""Find the small files outside of the working folder that the user names by absolute paths: in the
configuration, in a parameter or in the command of a rule.

They travel with the jobs whose commands or scripts name them, like files of the working folder:
scripts of a workflow that is installed elsewhere, adapters, regions. They are found before the
first job runs, so what a job returned cannot add to them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from pathlib import Path, PurePath

from ..common.snakemake_types import Rule, Workflow
from .places import is_of_system, lies_in
from .transfer_policy import is_below

SMALL_BYTES = 4 * 1024 * 1024
"""Larger files count as data, which rules declare."""

LOOKS_MAX = 2_000
"""Maximum number of names that are looked up on the disk."""

NAMED_MAX = 200
"""Maximum number of files that are found: each is looked for in every command."""

_INSTALLED = ("/cvmfs", "/opt")
"""Folders that the nodes have, too, or in which images have software of their own."""

_END = r"\s'\"`;|&<>()$\\:,=*?{}\[\]"
_ABSOLUTE = re.compile(rf"(?<![\w./~@-])/[^{_END}]+")
_FIELD = re.compile(r"\{(workflow\.basedir|\w+)(?:![rs]|:q)?\}")


def named_files(workflow: Workflow, workdir: Path, shared: Iterable[str]) -> tuple[str, ...]:
    """Return the files; none is below a folder of `shared`, which the nodes see."""
    apart = (*shared, *_INSTALLED)
    names = dict.fromkeys(name for text in _texts(workflow) for name in _names(text))
    near = (name for name in names if _may_travel(name, str(workdir), apart))
    return tuple(islice(filter(is_small_and_public, islice(near, LOOKS_MAX)), NAMED_MAX))


def _texts(workflow: Workflow) -> Iterator[str]:
    for rule in workflow.rules:
        yield _with_globals(rule)
        yield from _values(list(rule.params))
    yield from _values(workflow.globals["config"])


def _with_globals(rule: Rule) -> str:
    """Return the command of a rule with the texts that it has from its Snakefile by name."""
    known = rule.module_globals

    def text_of(found: re.Match[str]) -> str:
        if found[1] == "workflow.basedir":
            return str(rule.workflow.basedir)
        value = known.get(found[1])
        return str(value) if isinstance(value, str | PurePath) else found[0]

    return _FIELD.sub(text_of, rule.shellcmd or "")


def _values(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        yield from chain.from_iterable(map(_values, value))
    elif isinstance(value, str | PurePath):
        yield str(value)


def _names(text: str) -> Iterator[str]:
    """Yield the absolute paths in a text, which may be one as a whole, with any characters."""
    if "/" in text and "\0" not in text:
        found = (match[0] for match in _ABSOLUTE.finditer(text))
        whole = [text] if text.startswith("/") and "\n" not in text else []
        yield from map(os.path.normpath, chain(whole, found))


def _may_travel(path: str, workdir: str, apart: tuple[str, ...]) -> bool:
    """Return False for files that are sent anyway, belong to the system, or are hidden, and for
    installed programs, which need more than themselves.
    """
    return not (
        lies_in(path, workdir)
        or is_of_system(path)
        or is_below(path, apart)
        or "/." in path
        or "/bin/" in path
    )


def is_small_and_public(path: str, below: str = "") -> bool:
    """Return False for files of data, and for those that only their owner may read and nobody may
    run: keys and passwords leave this machine only if a rule declares them, and no link leads to
    files that are hidden in the folder `below`.
    """
    try:
        found = Path(path).stat()
    except OSError:
        return False
    if "/." in os.path.realpath(path).removeprefix(below):
        return False
    is_public = found.st_mode & (stat.S_IRGRP | stat.S_IROTH | stat.S_IXUSR)
    return stat.S_ISREG(found.st_mode) and found.st_size <= SMALL_BYTES and bool(is_public)
