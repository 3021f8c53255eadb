"""The ids of jobs: HTCondor's `cluster.proc`, followed by `/number` for a member of a bundle."""

from __future__ import annotations

from collections.abc import Iterable

NUMBER = "/"


def is_bundled(job_id: str) -> bool:
    """Return True if the id is that of a member of a bundle."""
    return NUMBER in job_id


def is_lead(job_id: str) -> bool:
    """Return True unless the id is that of a member of a bundle other than the first."""
    return not is_bundled(job_id) or job_id.endswith(f"{NUMBER}0")


def htcondor_id(job_id: str) -> str:
    """Return the `cluster.proc` of a job: for a member of a bundle, that of the bundle."""
    return job_id.partition(NUMBER)[0]


def htcondor_ids(job_ids: Iterable[str]) -> list[str]:
    """Return the `cluster.proc` of these jobs, each once."""
    return list(dict.fromkeys(map(htcondor_id, job_ids)))
