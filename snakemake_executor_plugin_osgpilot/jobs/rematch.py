"""Jobs that HTCondor has forgotten: held and released, so that it thinks of them again; if that
does not help, submitted anew.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.common.durations import duration
from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.jobs.access_point import AccessPoint
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import (
    CapacityHistory,
    RematchCount,
    forgotten,
    is_to_be_renewed,
    overdue,
)
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker

LOOK_EVERY_S = 60.0
"""Access point and negotiators serve everybody, and nothing here is urgent."""


class Rematcher:
    """Looks for forgotten jobs in `registry`. `lock` guards it, and is never held while the access
    point is asked. `beside` is set by who looks after the pilots.
    """

    def __init__(
        self, access_point: AccessPoint, registry: JobTracker, lock: threading.Lock
    ) -> None:
        self._access_point, self._registry, self._lock = access_point, registry, lock
        self._wakes: dict[str, RematchCount] = {}
        self._due_s = float("-inf")
        self._told: list[str] = []
        self.beside = CapacityHistory()

    def news(self) -> list[str]:
        """Return the keys of the jobs that were woken since the last call."""
        told, self._told = self._told, []
        return told

    def run(self, now_s: float) -> None:
        """Wake what is to be woken, and release what was left on hold by that.

        Raises `OutcomeUnknownError` or `RejectedError`; it is tried again after a while then.
        """
        self._let_go()
        if now_s >= self._due_s and self.beside.spans:
            self._due_s = now_s + LOOK_EVERY_S
            self._look(now_s)

    def _let_go(self) -> None:
        """Release jobs whose release was not told: perhaps somebody died before it."""
        if ids := tuple(self._registry.waking):
            # one that is not held any more cannot be released
            with suppress(RejectedError):
                self._access_point.release(ids, None)
            with self._lock:
                self._registry.waking.difference_update(ids)

    def _look(self, now_s: float) -> None:
        beside = self.beside
        with self._lock:
            jobs = [j for j in self._registry.ledger if j.waits and j.job_class in beside.spans]
        known_s = min(now_s, beside.looked_s, self._access_point.told_until_s)
        since_s = overdue(jobs, beside, self._wakes, known_s)
        if not since_s:
            return
        offers = self._access_point.offers(min(since_s.values()))
        wake: list[Job] = []
        anew: list[Job] = []
        for job in forgotten(jobs, since_s, offers):
            (anew if is_to_be_renewed(job, self._wakes, offers) else wake).append(job)
        self._renew(anew)
        self._done(anew, "they are taken out and submitted anew", since_s, now_s)
        if wake:
            self._access_point.wake([job.job_id for job in wake])
            remedy = "held and released, so that it thinks of them again"
            self._done(wake, remedy, since_s, now_s)

    def _renew(self, jobs: list[Job]) -> None:
        with self._lock:
            for job in jobs:
                # none of its starts was in vain; its image comes with it this time
                alone = replace(job.request, common=False)
                self._registry.ledger.put(replace(job.prepared(), request=alone))
                self._registry.withdrawals[job.job_id] = job.key

    def _done(
        self, jobs: list[Job], remedy: str, since_s: Mapping[str, float], now_s: float
    ) -> None:
        """Note what was done for jobs, and say it."""
        self._told += [job.key for job in jobs]
        with self._lock:
            for job in jobs:
                times = self._wakes[job.key].times if job.key in self._wakes else 0
                self._wakes[job.key] = RematchCount(times + 1, now_s)
                waited = duration(now_s - since_s[job.key])
                self._registry.notices[
                    f"{job.rule}: HTCondor has offered them to nobody for {waited} although a "
                    f"pilot has room; {remedy}"
                ] += 1
