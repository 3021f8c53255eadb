"""What tells a job from the others of its rule, for people."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

from snakemake_executor_plugin_osgpilot.common.printable import storable

LENGTH_MAX = 200


OUTPUTS_MAX = 5
"""So many output files of a job are kept as names for it."""


def names(job: Any) -> tuple[str, ...]:
    """Return what a user may call a job by: Snakemake's number of it, and its first outputs."""
    return (str(job.jobid), *(str(path)[:LENGTH_MAX] for path in list(job.output)[:OUTPUTS_MAX]))


def label(job: Any) -> str:
    """Return a job's wildcards as Snakemake shows them; for a group, its rules with theirs.

    A long one ends in a number that tells it from others with the same beginning.
    """
    if job.is_group():
        parts = sorted(f"{part.rule} {_wildcards(part)}".strip() for part in job.jobs)
        text = "; ".join(parts)
    else:
        text = _wildcards(job)
    if len(text) <= LENGTH_MAX:
        return text
    number = blake2b(storable(text).encode(), digest_size=3).hexdigest()
    return f"{text[:LENGTH_MAX]}… {number}"


def _wildcards(job: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in job.wildcards_dict.items())
