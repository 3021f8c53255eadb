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
from pathlib import Path
from typing import Any

from ..common.snakemake_types import SingleJob, Workflow
from ..errors import InputError
from .payload import label, members
from .places import absolute_of, leads_out, lies_in


@dataclass
class OutsideFolders:
    """The folders that the user named, as absolute paths."""

    workdir: Path
    folders: set[str] = field(default_factory=set)

    def learn(self, workflow: Workflow) -> None:
        """Note the folders that a workflow names before its first job runs."""
        for path in _named_in(workflow.globals["config"]):
            self._note(path)
            self._note(os.path.dirname(path))  # noqa: PTH120
        for rule in workflow.rules:
            patterns = (*rule.input, *rule.output, *rule.log)
            for pattern in (text for text in patterns if isinstance(text, str)):
                fixed = str(pattern).partition("{")[0]
                self._note(os.path.dirname(fixed))  # noqa: PTH120
        for job in workflow.dag.jobs:
            if not any(map(climbs, job.wildcards_dict.values())):
                for path in map(str, (*job.input, *job.output, *job.log)):
                    if path.startswith("/") or ".." in path:
                        self._note(os.path.dirname(path))  # noqa: PTH120

    def check(self, job: SingleJob, paths: Iterable[str]) -> None:
        """Raise `InputError` if one of the paths of `job` lies in none of these folders."""
        for path in paths:
            if leads_out(path, self.workdir) and not self._is_named(path):
                who = label(job)
                values = [v for part in members(job) for v in part.wildcards_dict.values()]
                raise InputError(
                    f"{who}: {path} lies outside the working folder, and "
                    + (
                        "a wildcard leads there"
                        if any(map(climbs, values))
                        else "the workflow named its folder only after jobs had run"
                    )
                    + "; what jobs returned must not choose such a place: name the folder in the "
                    "configuration or in the rule itself"
                )

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


def climbs(value: str) -> bool:
    """Return True if a wildcard's value can lead out of the folder that the rule names."""
    return value.startswith("/") or ".." in value.split("/")


def _named_in(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping):
        config = list(config.values())
    if isinstance(config, list | tuple):
        for value in config:
            yield from _named_in(value)
    elif isinstance(config, str) and "\0" not in config and "/" in config:
        yield config
