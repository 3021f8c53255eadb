"""Conditions on outputs (`ensure()`), checked here when they are in place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ..common.snakemake_types import AnyJob, SingleJob
from ..errors import InputError
from .payload import members
from .places import source_of
from .returned_files import JobFailedError


@dataclass(frozen=True, slots=True)
class Ensured:
    """An output that must not be empty, or has this checksum (unless `algorithm` is empty)."""

    path: str
    non_empty: bool
    algorithm: str
    checksum: str


def ensured_of(job: AnyJob) -> tuple[Ensured, ...]:
    """Return the conditions of a job or group job. Raises `InputError` if one cannot be had."""
    found = []
    for part in members(job):
        for file in part.output:
            condition = (getattr(file, "flags", None) or {}).get("ensure")
            if condition:
                checksum = condition["checksum"]
                if callable(checksum):
                    checksum = _called(checksum, part)
                algorithm = condition["checksum_algorithm"] or ""
                found.append(
                    Ensured(str(file), condition["non_empty"], algorithm, str(checksum or ""))
                )
    return tuple(found)


def _called(checksum: Callable[[object], object], job: SingleJob) -> object:
    try:
        return checksum(job.wildcards)
    except Exception as error:
        raise InputError(
            f"rule {job.rule.name}: its function for the checksum of ensure() fails: {error}"
        ) from error


def check(conditions: Iterable[Ensured], workdir: Path) -> None:
    """Raise `JobFailedError`, in Snakemake's words, unless the outputs meet their conditions."""
    wanted = [(each, source_of(each.path, workdir)) for each in conditions]
    empty = [each.path for each, path in wanted if each.non_empty and path.stat().st_size == 0]
    if empty:
        raise JobFailedError(
            "Detected unexpected empty output files. Something went wrong in the rule without an "
            f"error being reported: {', '.join(empty)}"
        )
    wrong = [each.path for each, path in wanted if each.algorithm and not _matches(path, each)]
    if wrong:
        raise JobFailedError(
            "Output files have checksums that differ from the expected ones defined in the "
            f"workflow: {', '.join(wrong)}"
        )


def _matches(path: Path, condition: Ensured) -> bool:
    # in a folder there is nothing to be summed up; Snakemake finds it different, too
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, condition.algorithm).hexdigest() == condition.checksum
