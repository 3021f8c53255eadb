"""The folders outside of the working folder whose files jobs may read and write.

What an execution point sends back may end up in names, if a checkpoint writes a list of them, say.
So a path outside of the working folder is used only if the user named its folder: in a rule, in
the configuration, or in the workflow as it is before any job has run. What comes up later has to
lie there, and so does all that a wildcard leads out of the working folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from snakemake.sourcecache import LocalSourceFile

from ..common.snakemake_types import SingleJob, SourceFile, Workflow
from ..errors import InputError
from .payload import label, members
from .places import absolute_of, leads_out, lies_in
from .transfer_policy import is_copied_source, original_of


@dataclass
class OutsideFolders:
    """The folders that the user named, as absolute paths."""

    workdir: Path
    folders: set[str] = field(default_factory=set)
    sources: tuple[str, ...] = ()
    """Where `workflow.source_path` finds files."""

    def learn(self, workflow: Workflow) -> None:
        """Note the folders that a workflow names before its first job runs."""
        self.sources = source_folders(workflow)
        for path in _named_in(workflow.globals["config"]):
            self._note(path)
            self._note(os.path.dirname(path))  # noqa: PTH120
        for rule in workflow.rules:
            patterns = (*rule.input, *rule.output, *rule.log)
            for pattern in (text for text in patterns if isinstance(text, str)):
                fixed = original_of(pattern).partition("{")[0]
                self._note(os.path.dirname(fixed))  # noqa: PTH120
        for job in workflow.dag.jobs:
            if not any(map(climbs, job.wildcards_dict.values())):
                for path in map(original_of, (*job.input, *job.output, *job.log)):
                    if path.startswith("/") or ".." in path:
                        self._note(os.path.dirname(path))  # noqa: PTH120

    def check(self, job: SingleJob, paths: Iterable[str]) -> None:
        """Raise `InputError` if one of the paths of `job` lies in none of these folders."""
        values = [v for part in members(job) for v in part.wildcards_dict.values()]
        is_led = any(map(climbs, values))
        sources = set() if is_led else set(self._sources(job))
        for path in paths:
            if leads_out(path, self.workdir) and path not in sources and not self._is_named(path):
                who = label(job)
                raise InputError(
                    f"{who}: {path} lies outside the working folder, and "
                    + (
                        "a wildcard leads there"
                        if is_led
                        else "the workflow named its folder only after jobs had run"
                    )
                    + "; what jobs returned must not choose such a place: name the folder in the "
                    "configuration or in the rule itself"
                )

    def _sources(self, job: SingleJob) -> Iterator[str]:
        """Yield the inputs of a job that `workflow.source_path` returned, of the workflow's own."""
        for part in members(job):
            for path in map(original_of, filter(is_copied_source, part.input)):
                if is_source(absolute_of(path, self.workdir), self.sources):
                    yield path

    def _note(self, path: str) -> None:
        if path and leads_out(path, self.workdir):
            self.folders.add(absolute_of(path, self.workdir))

    def _is_named(self, path: str) -> bool:
        absolute = absolute_of(path, self.workdir)
        folder = os.path.dirname(absolute)  # noqa: PTH120
        if folder in self.folders:
            return True
        around = (each for each in self.folders if lies_in(absolute, each))
        return any("/." not in absolute.removeprefix(each.rstrip("/")) for each in around)


def source_folders(workflow: Workflow) -> tuple[str, ...]:
    """Return the folders with sources of a workflow outside of the working folder, sorted.

    These are those of its Snakefiles, and those in which Snakemake keeps what is from the web.
    """
    cache = workflow.sourcecache
    caches = {str(cache.cache_path), str(cache.runtime_cache_path)}
    return tuple(sorted(caches | _folders_of(tuple(workflow.included))))


@lru_cache(maxsize=8)
def _folders_of(snakefiles: tuple[SourceFile, ...]) -> frozenset[str]:
    """Return the folders of those Snakefiles that are on this machine."""
    found = set()
    for snakefile in snakefiles:
        located = hasattr(snakefile, "get_path_or_uri")
        if not located or isinstance(snakefile, LocalSourceFile):
            path = snakefile.get_path_or_uri(secret_free=True) if located else str(snakefile)
            found.add(os.path.dirname(os.path.abspath(path)))  # noqa: PTH100, PTH120
    return frozenset(found)


def is_source(path: str, folders: Iterable[str]) -> bool:
    """Return True if an absolute path lies in one of the folders, and is not hidden there."""
    around = (each for each in folders if lies_in(path, each))
    return any("/." not in path.removeprefix(each) for each in around)


def climbs(value: str) -> bool:
    """Return True if a wildcard's value can lead out of the folder that the rule names."""
    return value.startswith("/") or ".." in value.split("/")


def _named_in(config: object) -> Iterator[str]:
    if isinstance(config, Mapping):
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from _named_in(value)
    elif isinstance(config, str) and "\0" not in config and "/" in config:
        yield config
