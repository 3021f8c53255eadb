"""Run the body of a `run:` without a Snakefile there: the compiled function travels by value.

With it travels what it refers to: functions, classes and values of the Snakefile. Modules of the
workflow travel as sources, installed ones are there by name. `run_entry.py` calls the body.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import sys
import zlib
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path

from ..common.atomic_write import write_atomically
from ..common.cache_folder import key_of
from ..common.snakemake_compat import body_arguments, shell_settings
from ..common.snakemake_types import Resources, Rule, SingleJob, Workflow
from ..runtime_image.environment import ENVIRONMENT
from .body_pickler import SourceName, pickled
from .module_sources import own_folders, places
from .path_rewriting import PathRewriter
from .payload import HERE
from .portable_pickle import MARKS

FILE = "osgpilot-run"
"""Followed by a number of the job's own, as the members of a group may run at the same time."""

_OTHER_KINDS = ("script", "notebook", "wrapper", "cwl", "template_engine")


def has_body(rule: Rule) -> bool:
    """Return True if the rule has a `run:`."""
    return rule.shellcmd is None and not any(getattr(rule, kind, None) for kind in _OTHER_KINDS)


@dataclass
class Bodies:
    """The bodies of one workflow, each pickled once.

    A body sees the values that its Snakefile had when the rule's first job was prepared. A large
    one, for example with a table, is a file in `run_folder` that travels with each job.
    """

    workflow: Workflow
    run_folder: Path
    _known: dict[tuple[str, ...], tuple[str, str, frozenset[str]]] = field(default_factory=dict)

    @cached_property
    def _path(self) -> list[str]:
        workdir = Path.cwd()
        return list(places(own_folders(self.workflow), workdir).values())

    def check(self, rule: Rule, paths: PathRewriter) -> None:
        """Raise `InputError` if the rule's body uses something that cannot travel."""
        self._of(rule, paths)

    def _of(self, rule: Rule, paths: PathRewriter) -> tuple[str, str, frozenset[str]]:
        """Return the body as text, the line maps of its Snakefiles, and the marks in both."""
        # paths that are marked differ where jobs of the rule have files in different folders
        known = (rule.name, *paths.folders, "", *paths.files)
        if known not in self._known:
            body, pickler = pickled(rule.run_func, rule, paths)
            maps = self.workflow.linemaps
            lines = {SourceName(file): maps[file] for file in pickler.snakefiles if file in maps}
            linemaps, of_maps = pickled(lines, rule, paths)
            self._known[known] = body, linemaps, frozenset(pickler.seen | of_maps.seen)
        return self._known[known]

    def lines(
        self, job: SingleJob, resources: Resources, paths: PathRewriter, *, packed: bool
    ) -> tuple[str, tuple[str, ...]]:
        """Return shell lines that call the body with the job's values, and the files that these
        values name by absolute paths.

        `packed` is true if it runs in the packed Python environment. Raises `InputError` if
        something cannot travel.
        """
        rule = job.rule
        body, linemaps, marks = self._of(rule, paths)
        # a plan is made in a temporary folder, from which nothing travels
        travels = self.run_folder.is_relative_to(paths.workdir)
        file = self._file(body) if travels and len(body) > INLINE_MAX else ""
        arguments = body_arguments(job, resources)
        arguments["basedir"] = SourceName(arguments["basedir"])
        values, pickler = pickled(arguments, rule, paths)
        content = {
            "rule": rule.name,
            "python": ".".join(map(str, sys.version_info[:2])),
            "cloudpickle": "" if packed else _cloudpickle(),
            "path": [f"{HERE}/{place}" for place in self._path],
            "marks": [mark if mark in marks | pickler.seen else "" for mark in MARKS],
            "shell": shell_settings(),
            "workdir": str(paths.workdir),
            "body": "" if file else body,
            "file": file,
            "linemaps": linemaps,
            "job": values,
        }
        start = _START.format(
            environment=with_environment(),
            check="" if packed else CHECK,
            content=shlex.quote(json.dumps(content)),
            entry=shlex.quote(_entry()),
            file=FILE,
        )
        return start, (*pickler.files, *([file] if file else []))

    def _file(self, body: str) -> str:
        """Return the file with a large body, relative to the working folder."""
        path = self.run_folder / f"{key_of(body)}.body"
        if not path.exists():
            # a file with the same content stays untouched: jobs of an earlier session have it
            write_atomically(path, body)
        return os.path.relpath(path)


INLINE_MAX = 256 * 1024
"""Larger bodies are files: the access point's disk has room for a copy for each waiting job."""

_START = """\
{environment}{check}printf %s {content} > "{file}.$$" || exit
python -c {entry} "{file}.$$"
"""


def with_environment() -> str:
    """Return shell lines that put the packed Python environment first, if the image is that."""
    home = 'HOME="$PWD/osgpilot-home" && mkdir -p "$HOME" || exit'
    return f'export PATH="{ENVIRONMENT}/bin:$PATH" {home}\n'


CHECK = """\
python -c 'import sys, importlib.util as u; sys.exit(u.find_spec("snakemake") is None)' || {
    echo "osgpilot: this image has no Snakemake; name one with osgpilot_runtime_image" >&2
    exit 1
}
"""


@cache
def _entry() -> str:
    return files(__package__).joinpath("run_entry.py").read_text()


@cache
def _cloudpickle() -> str:
    """Return the source of cloudpickle's only module."""
    source = files("cloudpickle").joinpath("cloudpickle.py").read_bytes()
    return base64.b64encode(zlib.compress(source)).decode()
