"""Which jobs each job had to wait for, for those who look at a run afterwards."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

from snakemake_executor_plugin_osgpilot.monitoring import records as history
from snakemake_executor_plugin_osgpilot.monitoring.records import Line

LINKS_MAX = 200_000
"""Nothing more is told then: walking the links would take longer than handing jobs over."""


class JobDependencies:
    """Remembers the key of every job that was handed over. Called on Snakemake's main thread alone,
    like all that walks the DAG.
    """

    def __init__(self, dag: Any) -> None:
        self._dag = dag
        self._keys: dict[Hashable, str] = {}
        self._new: dict[tuple[str, ...], list[str]] = {}
        self._links = 0

    def handed_over(self, job: Any, key: str) -> None:
        """Note that `job` is at the access point as `key`."""
        members = list(job.jobs) if job.is_group() else [job]
        for member in members:
            self._keys[member] = key
        if needs := self._needs(members) - {key}:
            self._new.setdefault(tuple(sorted(needs)), []).append(key)

    def told(self) -> list[Line]:
        """Return what is new since the last call, for the run's history."""
        new, self._new = self._new, {}
        return history.needed(new)

    def _needs(self, members: list[Any]) -> set[str]:
        """Return the nearest jobs before these that were handed over."""
        found: set[str] = set()
        seen: set[Hashable] = set()
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
