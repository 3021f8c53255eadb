"""Wait for outputs on a shared file system, which can become visible here with a delay."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..jobs.state.job import Job

LOOK_EVERY_S = 1.0


@dataclass
class LatencyWait:
    """Ended jobs whose outputs are not visible here yet; each waits `wait_s` at most."""

    wait_s: float
    _until_s: dict[str, float] = field(default_factory=dict)
    _waiting: dict[str, Job] = field(default_factory=dict)
    _next_look_s: float = 0.0

    def keeps(self, job: Job, paths: Iterable[str], now_s: float) -> bool:
        """Return True if `job` has to be checked again, as one of `paths` is not visible yet."""
        until_s = self._until_s.setdefault(job.key, now_s + self.wait_s)
        if now_s >= until_s or not missing(paths):
            del self._until_s[job.key]
            return False
        self._waiting[job.key] = job
        return True

    def is_due(self, now_s: float) -> bool:
        """Return True if there are jobs to check again."""
        return bool(self._waiting) and now_s >= self._next_look_s

    def due(self, now_s: float) -> dict[str, Job]:
        """Return the jobs to check again, by key: all of them, every `LOOK_EVERY_S`."""
        if not self.is_due(now_s):
            return {}
        self._next_look_s = now_s + LOOK_EVERY_S
        due, self._waiting = self._waiting, {}
        return due


def missing(paths: Iterable[str]) -> list[str]:
    """Return the paths that are not visible here, for whatever reason."""
    return [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 - a Path may raise
