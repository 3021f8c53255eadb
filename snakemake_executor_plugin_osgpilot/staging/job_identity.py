"""Identify jobs: for the journal across restarts, and for people by a label."""

from __future__ import annotations

import os
from functools import lru_cache
from hashlib import blake2b

from ..common.printable import storable
from ..common.snakemake_types import AnyJob, SingleJob, single_jobs
from ..model.resources import Request
from .payload import members
from .preparer import Prepared

LENGTH_MAX = 200
"""Longer labels and names are cut."""

OUTPUTS_MAX = 5
"""Maximum number of output files recorded as names of a job."""


def identity(job: AnyJob) -> str:
    """Return a digest of the rule, wildcards and outputs of a job (of a group, of all members).

    It is the same in every process and session. Snakemake's job number depends on which other jobs
    have to run, and its markers of incomplete files are gone under `--rerun-incomplete`.
    """
    parts = sorted(
        "\0".join(
            (
                str(part.rule),
                *(f"{name}={value}" for name, value in sorted(part.wildcards_dict.items())),
                *map(str, part.output),
            )
        )
        for part in members(job)
    )
    return _digest("\0\0".join(parts))


def outputs_of(job: AnyJob) -> list[str]:
    """Return the outputs of a job, or of all members of a group."""
    return [str(path) for part in members(job) for path in part.output]


def digest(prepared: Prepared) -> str:
    """Return a digest of all that determines how a job is submitted and its outputs committed."""
    parts = (prepared.archive.digest, _text_of(prepared.request), repr(prepared.kept))
    return _digest("\0".join(parts))


@lru_cache(maxsize=1000)
def _text_of(request: Request) -> str:
    return repr(request)


def _digest(text: str) -> str:
    return blake2b(os.fsencode(text), digest_size=16).hexdigest()


def names(job: AnyJob) -> tuple[str, ...]:
    """Return names by which a user may refer to a job: its Snakemake number, its first outputs."""
    return (str(job.jobid), *(str(path)[:LENGTH_MAX] for path in list(job.output)[:OUTPUTS_MAX]))


def label(job: AnyJob) -> str:
    """Return a job's wildcards as Snakemake shows them; for a group, its rules with theirs.

    A long label is cut and ends in a digest that keeps it unique.
    """
    if job.is_group():
        parts = sorted(f"{part.rule} {_wildcards(part)}".strip() for part in single_jobs(job))
        text = "; ".join(parts)
    else:
        text = _wildcards(members(job)[0])
    if len(text) <= LENGTH_MAX:
        return text
    number = blake2b(storable(text).encode(), digest_size=3).hexdigest()
    return f"{text[:LENGTH_MAX]}… {number}"


def _wildcards(job: SingleJob) -> str:
    return ", ".join(f"{name}={value}" for name, value in job.wildcards_dict.items())
