"""What tells a job from the others of its rule, for people."""

from __future__ import annotations

from typing import Any

LENGTH_MAX = 200


def label(job: Any) -> str:
    """Return a job's wildcards as Snakemake shows them; for a group, what it consists of."""
    if job.is_group():
        text = ", ".join(sorted({str(part.rule) for part in job.jobs}))
    else:
        text = ", ".join(f"{name}={value}" for name, value in job.wildcards_dict.items())
    return text[:LENGTH_MAX]
