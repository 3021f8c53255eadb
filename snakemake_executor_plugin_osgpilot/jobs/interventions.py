"""What is to be done at the access point about jobs in trouble, many jobs in one call."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from snakemake_executor_plugin_osgpilot.errors import RejectedError
from snakemake_executor_plugin_osgpilot.jobs.access_point import AccessPoint
from snakemake_executor_plugin_osgpilot.jobs.state.lost_pilots import ASK_AFTER_S
from snakemake_executor_plugin_osgpilot.jobs.state.submission import SubmissionThrottle
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker
from snakemake_executor_plugin_osgpilot.model import memory_balance as balance
from snakemake_executor_plugin_osgpilot.model.intervals import ASK_POOL_EVERY_S

Errand = Callable[[float], None]


class JobInterventions:
    """Does what `registry` wants done; what was not answered is done again.

    `lock` guards the registry, and is never held while the access point is asked. `more` are
    errands to do besides.
    """

    def __init__(
        self,
        access_point: AccessPoint,
        registry: JobTracker,
        feeder: SubmissionThrottle,
        lock: threading.Lock,
        *more: Errand,
    ) -> None:
        self._access_point, self._registry = access_point, registry
        self._feeder, self._lock = feeder, lock
        self._asked_s = float("-inf")
        self._errands: deque[Errand] = deque(
            (
                *(self._pause, self._warn_of_lost, self._take_out, self._release),
                *(self._look_for_cut_off, self._withdraw, self._keep_apart, *more),
            )
        )

    def run(self, now_s: float) -> None:
        """Do what is due.

        Raises `RejectedError` when all were tried, if some were refused. Raises
        `OutcomeUnknownError` at once, for each may wait for its deadline; the next call begins with
        those that were not tried.
        """
        refused: dict[str, None] = {}
        for _ in range(len(self._errands)):
            errand = self._errands[0]
            self._errands.rotate(-1)
            try:
                errand(now_s)
            except RejectedError as refusal:
                refused[str(refusal)] = None
        if refused:
            raise RejectedError("; ".join(sorted(refused)))

    def _pause(self, _now_s: float) -> None:
        """Keep the jobs in the queue from starting while the brake is on."""
        registry = self._registry
        brake, outbox = registry.brake, registry.outbox
        before = outbox.paused_there
        if brake.on is not before or registry.pause_again:
            self._access_point.set_paused(paused=brake.on)
            outbox.paused_there, registry.pause_again = brake.on, False
            if brake.on is not before and (brake.on or before):
                self._feeder.notices.append(brake.reason or "jobs are started again")
        if registry.untried:
            self._access_point.let_start(sorted(registry.trial))
            registry.untried = False

    def _keep_apart(self, _now_s: float) -> None:
        """Have heavy jobs leave one another the room that others wait for."""
        registry, outbox = self._registry, self._registry.outbox
        with self._lock:
            waiting = registry.ledger.waiting
            # what is sent meanwhile is told the same
            outbox.apart = balance.apart(waiting, registry.largest, before=outbox.apart)
        if outbox.apart is not outbox.apart_there:
            self._access_point.keep_apart(apart=outbox.apart)
            outbox.apart_there = outbox.apart

    def _warn_of_lost(self, _now_s: float) -> None:
        lost = self._registry.lost
        with self._lock:
            # a pilot that vanishes while the access point is asked is told the next time
            untold, lost.untold, avoid = lost.untold, False, lost.avoid
        if not untold:
            return
        try:
            self._access_point.avoid(avoid)
        except BaseException:
            lost.untold = True
            raise

    def _look_for_cut_off(self, now_s: float) -> None:
        """Ask the pool for jobs that lost touch with a pilot a while ago, if there are any."""
        cut_off = self._registry.lost.cut_off.values()
        since_s = min((each.at_s for each in cut_off), default=now_s)
        if now_s - since_s < ASK_AFTER_S or now_s - self._asked_s < ASK_POOL_EVERY_S:
            return
        self._asked_s = now_s
        occupied = self._access_point.occupied()
        with self._lock:
            self._registry.lose_cut_off(occupied, now_s)

    def _take_out(self, _now_s: float) -> None:
        if ids := tuple(self._registry.removals):
            # what cannot be removed must not stop the workflow; its outputs go nowhere any more
            with suppress(RejectedError):
                self._access_point.remove(ids, "osgpilot: given up on, or left over from before")
            with self._lock:
                self._registry.removed(ids)

    def _withdraw(self, _now_s: float) -> None:
        if ids := tuple(self._registry.withdrawals):
            self._access_point.remove(ids, "osgpilot: it is submitted anew")
            self._access_point.forget(ids)
            with self._lock:
                self._registry.withdrawn(ids)

    def _release(self, now_s: float) -> None:
        with self._lock:
            due = self._registry.releases.due(now_s)
        for shape, jobs in due.items():
            try:
                self._access_point.release([job.job_id for job in jobs], shape)
            except RejectedError as refusal:
                with self._lock:
                    for job in jobs:
                        self._registry.give_up(job, f"it cannot be released: {refusal}")
            else:
                with self._lock:
                    self._registry.releases.done(jobs, shape)
