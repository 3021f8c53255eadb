"""Jobs that HTCondor has forgotten: held and released, so that it thinks of them again."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress

from snakemake_executor_plugin_osgpilot.core.forgotten import Beside, Wakes, forgotten, overdue
from snakemake_executor_plugin_osgpilot.core.jobs import Job
from snakemake_executor_plugin_osgpilot.core.progress import duration
from snakemake_executor_plugin_osgpilot.core.registry import Registry
from snakemake_executor_plugin_osgpilot.errors import Refused
from snakemake_executor_plugin_osgpilot.ports import AccessPoint

LOOK_EVERY_S = 60.0
"""Access point and negotiators serve everybody, and nothing here is urgent."""


class Waker:
    """Looks for forgotten jobs in `registry`. `lock` guards it, and is never held while the access
    point is asked. `beside` is set by who looks after the pilots.
    """

    def __init__(self, access_point: AccessPoint, registry: Registry, lock: threading.Lock) -> None:
        self._access_point, self._registry, self._lock = access_point, registry, lock
        self._wakes: dict[str, Wakes] = {}
        self._due_s = float("-inf")
        self._told: list[str] = []
        self.beside = Beside()

    def news(self) -> list[str]:
        """Return the keys of the jobs that were woken since the last call."""
        told, self._told = self._told, []
        return told

    def run(self, now_s: float) -> None:
        """Wake what is to be woken, and release what was left on hold by that.

        Raises `Unanswered` or `Refused`; it is tried again after a while then.
        """
        self._let_go()
        if now_s >= self._due_s and self.beside.spans:
            self._due_s = now_s + LOOK_EVERY_S
            self._look(now_s)

    def _let_go(self) -> None:
        """Release jobs whose release was not told: perhaps somebody died before it."""
        if ids := tuple(self._registry.waking):
            # one that is not held any more cannot be released
            with suppress(Refused):
                self._access_point.release(ids, None)
            with self._lock:
                self._registry.waking.difference_update(ids)

    def _look(self, now_s: float) -> None:
        beside = self.beside
        with self._lock:
            jobs = [j for j in self._registry.ledger if j.waits and j.job_class in beside.spans]
        known_s = min(now_s, beside.looked_s, self._access_point.told_until_s)
        since_s = overdue(jobs, beside, self._wakes, known_s)
        if since_s:
            offers = self._access_point.offers(min(since_s.values()))
            if chosen := forgotten(jobs, since_s, offers):
                self._wake(chosen, now_s, now_s - max(since_s[job.key] for job in chosen))

    def _wake(self, jobs: list[Job], now_s: float, for_s: float) -> None:
        for job in jobs:
            times = self._wakes[job.key].times if job.key in self._wakes else 0
            self._wakes[job.key] = Wakes(times + 1, now_s)
        self._access_point.wake([job.job_id for job in jobs])
        self._told += [job.key for job in jobs]
        text = (
            f"HTCondor has offered them to nobody for {duration(for_s)} although a pilot has room; "
            "held and released, so that it thinks of them again"
        )
        with self._lock:
            self._registry.notices += Counter(f"{job.rule}: {text}" for job in jobs)
