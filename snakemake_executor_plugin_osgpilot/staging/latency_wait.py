"""Outputs on a shared file system may be seen here only some time after they were made."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snakemake_executor_plugin_osgpilot.jobs.state.job import Job

LOOK_EVERY_S = 1.0


@dataclass
class LatencyWait:
    """Ended jobs that wait for their outputs to be seen here, each for `wait_s` at most."""

    wait_s: float
    _until_s: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, Job] = field(default_factory=dict)
    _next_look_s: float = 0.0

    def keeps(self, job: Job, paths: Iterable[str], now_s: float) -> bool:
        """Whether to look at a job again later, as one of `paths` is not seen here yet."""
        until_s = self._until_s.setdefault(job.key, now_s + self.wait_s)
        if now_s >= until_s or not missing(paths):
            del self._until_s[job.key]
            return False
        self._waiting[job.key] = job
        return True

    def is_due(self, now_s: float) -> bool:
        """Whether there are jobs to look at again."""
        return bool(self._waiting) and now_s >= self._next_look_s

    def due(self, now_s: float) -> dict[str, Job]:
        """Return the jobs to look at again, by key; all at a time, not more often than needed."""
        if not self.is_due(now_s):
            return {}
        self._next_look_s = now_s + LOOK_EVERY_S
        due, self._waiting = self._waiting, {}
        return due


def missing(paths: Iterable[str]) -> list[str]:
    """Return those that cannot be seen here, for whatever reason."""
    return [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 - a Path may raise
