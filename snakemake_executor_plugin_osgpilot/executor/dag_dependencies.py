"""Job dependencies, recorded for reports."""

from __future__ import annotations

from collections.abc import Iterable

from ..common.snakemake_types import AnyJob, Dag, SingleJob, single_jobs
from ..monitoring import records as history
from ..monitoring.line_check import Line

LINKS_MAX = 200_000
"""Nothing more is recorded then: walking the links would take longer than submitting jobs."""


class JobDependencies:
    """Remembers the keys of all jobs that were handed over. Use it on Snakemake's main thread only,
    like everything that walks the DAG.
    """

    def __init__(self, dag: Dag) -> None:
        self._dag = dag
        self._keys: dict[SingleJob, str] = {}
        self._links = 0

    def of(self, jobs: Iterable[tuple[AnyJob, str]]) -> list[Line]:
        """Return history lines with the keys of the jobs that each of `jobs` (with its key) needed.

        Call it with jobs in the order in which Snakemake hands them over.
        """
        found: dict[tuple[str, ...], list[str]] = {}
        for job, key in jobs:
            members = list(single_jobs(job))
            for member in members:
                self._keys[member] = key
            if needs := self._needs(members) - {key}:
                found.setdefault(tuple(sorted(needs)), []).append(key)
        return history.needed(found)

    def _needs(self, members: list[SingleJob]) -> set[str]:
        """Return the keys of the nearest jobs upstream that were handed over."""
        found: set[str] = set()
        seen: set[SingleJob] = set()
        to_see = list(members)
        while to_see and self._links < LINKS_MAX:
            for job in self._dag.job_dependencies(to_see.pop()):
                self._links += 1
                if job in seen:
                    continue
                seen.add(job)
                if job in self._keys:
                    found.add(self._keys[job])
                else:
                    to_see.append(job)
        return found
