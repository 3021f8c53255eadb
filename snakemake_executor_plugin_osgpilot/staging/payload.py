"""A job as files."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from snakemake.common.tbdstring import TBDString

from ..common.snakemake_types import AnyJob, GroupJob, SingleJob
from ..errors import InputError
from .places import is_plain, passes, place_of, problem_of, working_folder
from .transfer_policy import is_below

if TYPE_CHECKING:
    from .ensured_outputs import Ensured
    from .steps import Schedule

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
    path), `shared_prefixes` the folders that both see. `with_snakefiles` is true if the Snakefiles,
    and what they read, travel with the job. `modules` is None if no modules of Snakemake travel,
    else those that scripts name beside the usual ones (`snakemake_modules`). With a `schedule`,
    there are its steps in place of `scripts`; `benchmarks` are the files for what steps took, by
    number of the step. `ensured` are outputs with conditions. `storage` is a script that fetches
    files in storage before the others and stores them afterwards (`storage.py`). `passed` are
    folders that a path of the job goes through, as `a` in `a/../b`, and `unknown` absolute paths in
    its scripts that are here and do not travel.
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
    modules: tuple[str, ...] | None = None
    schedule: Schedule | None = None
    benchmarks: tuple[tuple[int, str], ...] = ()
    ensured: tuple[Ensured, ...] = ()
    storage: str = ""
    passed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def is_named(self) -> bool:
        """True if the scripts use absolute paths of this machine."""
        steps = self.schedule.steps if self.schedule else ()
        scripts = (*self.scripts, *(script for step in steps for script in step.scripts))
        return any(ROOT_MARK in script for script in scripts)

    def placed(self, job: AnyJob) -> Payload:
        """Return this payload with paths as they lie in the job's folder, not as the rule names
        them. Raises `InputError` for a path that cannot be had there.
        """
        measured = tuple(path for _, path in self.benchmarks)
        back = (*self.outputs, *self.logs, *measured)
        there = (*self.inputs, *back, *self.internal)
        check_places(job, [path for path in there if not is_below(path, self.shared_prefixes)])
        if all(map(is_plain, (*there, *self.touched, *self.protected, *self.folders))):
            return self
        workdir = working_folder()

        def place(path: str) -> str:
            return path if is_below(path, self.shared_prefixes) else place_of(path, workdir)

        def placed(paths: Iterable[str]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(map(place, paths)))

        named = ("inputs", "outputs", "logs", "touched", "internal", "protected", "folders")
        moved: dict[str, Any] = {name: placed(getattr(self, name)) for name in named}
        passed = dict.fromkeys(
            place_of(each, workdir) for path in (*self.inputs, *back) for each in passes(path)
        )
        return replace(
            self,
            passed=tuple(passed),
            benchmarks=tuple((number, place(path)) for number, path in self.benchmarks),
            ensured=tuple(replace(each, path=place(each.path)) for each in self.ensured),
            schedule=self.schedule and self.schedule.placed(placed),
            **moved,
        )

    def after_submission(self) -> Payload:
        """Return only the fields needed after submission; kept in memory for every job."""
        return replace(self, scripts=(), inputs=(), urls=(), schedule=None, storage="")


def tops(paths: Iterable[str]) -> tuple[str, ...]:
    """Return the paths that lie in none of the others."""
    found: dict[str, str] = {}
    for path in paths:
        found.setdefault(os.path.normpath(path), path)
    return tuple(
        path
        for normal, path in found.items()
        if not any(folder in found for folder in _folders_around(normal))
    )


def lies_in_any(path: str, folders: Collection[str]) -> bool:
    """Return True if `path` is one of these normalized paths, or below it."""
    normal = os.path.normpath(path)
    return normal in folders or any(folder in folders for folder in _folders_around(normal))


def _folders_around(path: str) -> Iterator[str]:
    """Yield the folders that a normalized path lies in, the innermost first."""
    folder = path.rpartition("/")[0]
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]


def check_places(job: AnyJob, paths: Iterable[str]) -> None:
    """Raise `InputError` for a path of `job` that cannot be had in its folder."""
    workdir = working_folder()
    for path in paths:
        if problem := problem_of(path, workdir):
            raise InputError(f"{label(job)}: {path} {problem}")


def members(job: AnyJob) -> list[SingleJob]:
    """Return the single jobs of `job` in an order in which they can run one after the other.

    It is the same in every session: what is submitted again has to be recognized. Snakemake's own
    order within a level of a group is not.
    """
    if not job.is_group():
        return [cast("SingleJob", job)]
    levels = cast("GroupJob", job).toposorted
    return [part for level in levels for part in sorted(level, key=_rule_and_wildcards)]


def _rule_and_wildcards(job: SingleJob) -> tuple[str, list[tuple[str, str]]]:
    return str(job.rule), sorted(job.wildcards_dict.items())


def label(job: AnyJob) -> str:
    """Return the name of `job` in messages."""
    return f"group job {job.name}" if job.is_group() else f"rule {members(job)[0].rule}"


def flagged(file: str, flag: str) -> bool:
    """Return True if `file` has a flag of Snakemake: temp, touch, protected or ensure."""
    return bool((getattr(file, "flags", None) or {}).get(flag))


def needed_from_outside(job: AnyJob) -> list[str]:
    """Return the inputs of a job or group job that it does not make itself.

    An output that is to be updated (`update()`) is one, if it is there already.
    """
    parts = members(job)
    outputs = [file for part in parts for file in part.output]
    made = {str(file) for file in outputs}
    given = [file for part in parts for file in part.input if str(file) not in made]
    updated = (file for file in outputs if flagged(file, "update"))
    return given + [file for file in updated if Path(str(file)).exists()]


def exports(environment: Mapping[str, str]) -> str:
    """Return shell lines that set these variables, whatever their values contain."""
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in environment.items())


def unknown(value: object) -> bool:
    """Return True if a resource depends on the results of other jobs."""
    return isinstance(value, TBDString)
