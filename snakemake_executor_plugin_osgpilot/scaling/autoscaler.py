"""Gathers what a plan may know: Slurm's view, the pool's, the queue's, the DAG's, experience."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import BRAKE
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import CapacityHistory
from snakemake_executor_plugin_osgpilot.jobs.state.view import View
from snakemake_executor_plugin_osgpilot.model.clock import Clock
from snakemake_executor_plugin_osgpilot.model.intervals import ASK_POOL_EVERY_S
from snakemake_executor_plugin_osgpilot.model.plan import Plan
from snakemake_executor_plugin_osgpilot.model.resources import PilotState, Policy, Shape
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate, Snapshot, ages_s
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import PilotObservations, StateChange
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates, learned
from snakemake_executor_plugin_osgpilot.scaling.planner.eta import Eta, eta, rests_of
from snakemake_executor_plugin_osgpilot.scaling.planner.upcoming import UpcomingWork
from snakemake_executor_plugin_osgpilot.scaling.shared_limits import QuotaShare, SharedQuota

HINTS_MAX = 8
"""Slurm is asked for its expectation for so many offers, once, before the first pilot."""


class Pool(Protocol):
    """Whom the pool knows."""

    def pilots(self) -> Mapping[str, Mapping[str, Shape]]:
        """Return this run's pilots that have registered by name, each with the jobs in it (see
        `ports.AccessPoint`). Raises `OutcomeUnknownError`.
        """

    @property
    def unfetched(self) -> frozenset[str]:
        """See `ports.AccessPoint`."""


class Autoscaler:
    """Looks and plans for one run; used by the controller's thread alone, but for `ahead`.

    `beside` tells since when jobs have waited beside free pilots, `earlier_core_s` what a job of
    each rule took in earlier runs (time × cores).
    """

    def __init__(
        self,
        fleet: PilotManager,
        pool: Pool,
        clock: Clock,
        policy: Policy,
        share: QuotaShare | None = None,
    ) -> None:
        self._share = share or SharedQuota().share()
        self._fleet, self._pool, self._clock, self.policy = fleet, pool, clock, policy
        self._known: Mapping[str, Mapping[str, Shape]] = {}
        self._asked_s: float | None = None
        self._looked_s: float | None = None
        self._hinted = False
        self.estimates = Estimates()
        self.beside = CapacityHistory()
        self.ahead = UpcomingWork()
        self.last = Plan()
        self.eta: Eta | None = None
        self.earlier_core_s: Mapping[str, float] = {}

    def look(self, view: View) -> list[StateChange]:
        """Ask Slurm and, where it is due, the pool; return the pilots that changed their state.

        Raises `OutcomeUnknownError` if Slurm does not answer; what was known stays.
        """
        for job_class, seconds in view.runtimes_s:
            self.estimates = self.estimates.with_runtime(job_class, seconds)
        for name, why in view.suspects.items():
            self._fleet.shun(name, why)
        self._ask_pool()
        signs = PilotObservations(
            view.served,
            frozenset(self._known),
            self._asked_s,
            jobs_wait=bool(view.waiting) and not view.brake,
        )
        moves = self._fleet.look(signs)
        self._looked_s = self._clock.now_s()
        for move in moves:
            self.estimates = learned(self.estimates, move.before, move.after)
        return moves

    @property
    def unfetched(self) -> frozenset[str]:
        """Schemes of URLs that jobs need and no pilot can fetch, as the pool told it last."""
        return self._pool.unfetched

    def plan(self, view: View, ahead: UpcomingWork | None = None) -> Plan:
        """Return what to do about the pilots now; `ahead` is what was to come before the view."""
        ahead = ahead or self.ahead
        if view.waiting and not self._hinted:
            self._hinted = True
            self._ask_for_hints()
        now_s = self._clock.now_s()
        running = view.running()
        self.estimates = self.estimates.with_ages(ages_s(running, now_s))
        ends_s = {
            job.key: (job.started_s or now_s) + self.estimates.runtime_s(job.job_class)
            for job in view.executing
        }
        snapshot = Snapshot(
            now_s,
            view.waiting,
            self._fleet.pilots,
            running,
            soon=ahead.soon(ends_s),
            later=ahead.later,
            further=ahead.further,
            chain=ahead.chain,
            gates=self._gates(view),
            shunned=self._fleet.health.shunned,
            looked_s=self._looked_s,
            others=self._others(view),
        )
        self.beside = (
            self.beside.after(snapshot, view.started) if self._sees(view) else CapacityHistory()
        )
        self.last = self._share.plan(snapshot, self.estimates, self.policy)
        self.eta = self._eta(view, ahead, now_s)
        return self.last

    def _sees(self, view: View) -> bool:
        """Whether it is known what is free on the pilots, and jobs may start there."""
        now_s, asked_s = self._clock.now_s(), self._asked_s
        known = asked_s is not None and now_s - asked_s <= 2 * ASK_POOL_EVERY_S
        return not view.brake and (known or not self._fleet.shared)

    def _eta(self, view: View, ahead: UpcomingWork, now_s: float) -> Eta | None:
        rests = rests_of(view.rules, ahead, self.earlier_core_s, now_s)
        ready = [p.shape.cores for p in self._fleet.live if p.state is PilotState.READY]
        forecast, policy = self.last.forecast, self.policy
        largest = max(offer.shape.cores for offer in policy.offers)
        most = min(policy.pilots_max * largest, policy.cores_max or math.inf)
        return eta(rests, sum(ready), min(most, max(forecast.live_cores, forecast.wanted_cores)))

    def _gates(self, view: View) -> dict[str, Gate]:
        gates = self._fleet.gates()
        if view.brake:
            # jobs on trial need a pilot, too, if all have left meanwhile
            there = any(pilot.state.serves for pilot in self._fleet.live)
            one = Gate(int(view.on_trial and not there), view.brake, BRAKE)
            for offer in self.policy.offers:
                known = gates.get(offer.name, one)
                gates[offer.name] = min(one, known, key=lambda gate: gate.launches_max)
        return gates

    def _others(self, view: View) -> dict[str, Shape]:
        """Return what jobs of others take of each pilot, as the pool told it last."""
        others = {}
        for pilot, jobs in self._known.items():
            theirs = [shape for job_id, shape in jobs.items() if job_id not in view.ours]
            if theirs:
                others[pilot] = Shape(*map(sum, zip(*theirs, strict=True)))
        return others

    def _ask_pool(self) -> None:
        """Ask the pool whom it knows while a pilot is on its way there, may have jobs of others, or
        is not shown by Slurm; no answer is no news.
        """
        is_due = any(
            pilot.state is PilotState.BOOTING
            or (not pilot.state.waits and (self._fleet.shared or pilot.absent_looks))
            for pilot in self._fleet.live
        )
        now_s = self._clock.now_s()
        if not is_due or (self._asked_s is not None and now_s - self._asked_s < ASK_POOL_EVERY_S):
            return
        try:
            self._known = self._pool.pilots()
        except (OutcomeUnknownError, RejectedError):
            return
        self._asked_s = now_s

    def _ask_for_hints(self) -> None:
        hints = {}
        for offer in self.policy.offers[:HINTS_MAX]:
            wait_s = self._fleet.expected_wait_s(offer.name, offer.walltimes_s[0])
            if wait_s is None:
                # a slurmctld that hangs is not to be waited for once for each offer
                break
            hints[offer.name] = wait_s
        self.estimates = self.estimates.with_hints(hints)
