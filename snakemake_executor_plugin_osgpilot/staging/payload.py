"""A job as files: the same for both ways of running it on the execution point."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from snakemake.common.tbdstring import TBDString

from ..errors import InputError
from .places import passes, place_of, problem_of
from .transfer_policy import is_below

HERE = "/@osgpilot-here@"
"""Placeholder in scripts for the folder in which the job runs, which is known only there."""

ROOT_MARK = "/@osgpilot-root@"
"""Placeholder in scripts before an absolute path of this machine: wrapper.sh removes it where the
job has its files at that path, and puts the folder with these (`places.ROOT`) there otherwise."""

TMPDIR = f"{HERE}/osgpilot-tmp"
"""Value of `resources.tmpdir` on the execution point, unless the rule sets it."""

TMPDIR_VARIABLES = ("TMPDIR", "TMP", "TEMPDIR", "TEMP")
"""Variables that Snakemake sets to `resources.tmpdir` (snakemake.shell)."""


@dataclass(frozen=True, slots=True)
class Payload:
    """Scripts that run one after the other, and paths as they lie in the job's folder (`places`).

    `touched` are outputs that exist by declaration (`touch()`) once the commands succeeded,
    `internal` ones that only members of the group use and that stay there, `protected` ones that
    are write-protected once they are in place, `folders` those declared as `directory()`. `shared`
    are outputs on a file system that both sides see, `urls` inputs that HTCondor fetches (URL and
    path), `shared_prefixes` the folders that both see. `with_snakefiles` is true if the Snakefiles
    travel with the job. With `by_name` the job needs files at their absolute paths, since its
    scripts name these where nothing can be rewritten. `passed` are folders that a path of the job
    goes through, as `a` in `a/../b`, and `unknown` absolute paths in its scripts that are here and
    do not travel.
    """

    scripts: tuple[str, ...]
    interpreter: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    logs: tuple[str, ...]
    touched: tuple[str, ...] = ()
    internal: tuple[str, ...] = ()
    protected: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    urls: tuple[tuple[str, str], ...] = ()
    shared_prefixes: tuple[str, ...] = ()
    with_snakefiles: bool = False
    by_name: bool = False
    passed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """True if the scripts use absolute paths of this machine."""
        return self.by_name or any(ROOT_MARK in script for script in self.scripts)

    def placed(self, job: Any) -> Payload:
        """Return this payload with paths as they lie in the job's folder, not as the rule names
        them. Raises `InputError` for a path that cannot be had there.
        """
        check_places(job, (*self.inputs, *self.outputs, *self.internal, *self.logs))
        workdir = Path.cwd()

        def place(path: str) -> str:
            return path if is_below(path, self.shared_prefixes) else place_of(path, workdir)

        moved: dict[str, Any] = {
            name: tuple(dict.fromkeys(map(place, getattr(self, name))))
            for name in ("inputs", "outputs", "logs", "touched", "internal", "protected", "folders")
        }
        named = (*self.inputs, *self.outputs, *self.logs)
        passed = dict.fromkeys(place_of(each, workdir) for path in named for each in passes(path))
        return replace(self, passed=tuple(passed), **moved)

    def after_submission(self) -> Payload:
        """Return only the fields needed after submission; kept in memory for every job."""
        return replace(self, scripts=(), inputs=(), urls=())


def tops(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie in none of the others."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(os.path.normpath(path), path)
    return tuple(
        path
        for normal, path in found.items()
        if not any(str(outer) in found for outer in PurePosixPath(normal).parents)
    )


def check_places(job: Any, paths: Iterable[str]) -> None:
    """Raise `InputError` for a path of `job` that cannot be had in its folder."""
    for path in paths:
        if problem := problem_of(path, Path.cwd()):
            raise InputError(f"{label(job)}: {path} {problem}")


def members(job: Any) -> list[Any]:
    """Return the single jobs of `job` in an order in which they can run one after the other."""
    return [part for level in job.toposorted for part in level] if job.is_group() else [job]


def label(job: Any) -> str:
    """Return the name of `job` in messages."""
    return f"group job {job.name}" if job.is_group() else f"rule {job.rule}"


def flagged(file: Any, flag: str) -> bool:
    """Return True if `file` has a flag of Snakemake: temp, touch, protected or ensure."""
    return bool((getattr(file, "flags", None) or {}).get(flag))


def needed_from_outside(job: Any) -> list[Any]:
    """Return the inputs of a job or group job that it does not make itself.

    An output that is to be updated (`update()`) is one, if it is there already.
    """
    parts = members(job)
    outputs = [file for part in parts for file in part.output]
    made = {str(file) for file in outputs}
    given = [file for part in parts for file in part.input if str(file) not in made]
    updated = (file for file in outputs if flagged(file, "update"))
    return given + [file for file in updated if Path(str(file)).exists()]


def stays_within(job: Any, file: Any) -> bool:
    """Return True if only members of a group make and use `file`, and it is temporary."""
    passing = ("temp", "pipe", "service")
    if not job.is_group() or not any(flagged(file, flag) for flag in passing):
        return False
    return str(file) not in {str(wanted) for wanted in job.output}


def exports(environment: Mapping[str, str]) -> str:
    """Return shell lines that set these variables, whatever their values contain."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def unknown(value: object) -> bool:
    """Return True if a resource depends on the results of other jobs."""
    return isinstance(value, TBDString)
