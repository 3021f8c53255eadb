"""Observe jobs, Slurm and the pool; decide what to do about the pilots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice

from ..errors import OutcomeUnknownError, RejectedError
from ..jobs.state.start_failures import START_FAILURE_LIMIT
from ..jobs.state.stuck_jobs import CapacityHistory
from ..model.clock import Clock
from ..model.intervals import ASK_POOL_EVERY_S
from ..model.plan import Drain, Plan
from ..model.resources import JobClass, PilotState, PilotType, Policy, Shape, may_run_on
from ..model.snapshot import Gate, Snapshot, ages_s
from ..pilots.fleet import Fleet
from ..pilots.state.lifecycle import PilotObservations
from .planner.estimates import Estimates, learned
from .planner.eta import Eta, eta, rests_of
from .planner.feasibility import unschedulable
from .planner.limits import allocated_cores, expected_charges
from .ports import JobsView, Planner, Pool
from .shared_limits import QuotaShare, SharedQuota

HINTS_MAX = 8
"""Maximum number of pilot types for which Slurm is asked, once, when it would start a pilot."""


def worth_a_hint(policy: Policy) -> tuple[PilotType, ...]:
    """Return the pilot types for which Slurm is asked: as many at each site."""
    most = max(1, HINTS_MAX // len(policy.sites))
    return tuple(
        offer
        for site in policy.sites
        for offer in islice((o for o in policy.offers if o.site == site), most)
    )


@dataclass(frozen=True)
class ScalingDecision:
    """The result of one scaling step.

    `plan` is for the pilots. The rest is for the jobs: `infeasible` classes fail with the reason
    given, jobs stay off the pilots in `avoid`, and `capacity` records since when there have been
    free slots for them. `unsupported_schemes` are URL schemes that jobs need and no pilot can
    fetch.
    """

    plan: Plan = field(default_factory=Plan)
    infeasible: Mapping[JobClass, str] = field(default_factory=dict)
    avoid: tuple[str, ...] = ()
    capacity: CapacityHistory = field(default_factory=CapacityHistory)
    eta: Eta | None = None
    unsupported_schemes: frozenset[str] = frozenset()


class Autoscaler:
    """Makes the scaling decisions of one run; used by one thread only.

    `earlier_core_s` is the core-seconds that a job of each rule took in earlier runs.
    """

    def __init__(
        self, fleet: Fleet, pool: Pool, clock: Clock, policy: Policy, planner: Planner,
        share: QuotaShare | None = None, earlier_core_s: Mapping[str, float] | None = None,
    ) -> None:  # fmt: skip
        self._share = share or SharedQuota().share()
        self._fleet, self._pool, self._clock, self.policy = fleet, pool, clock, policy
        self._planner, self._earlier_core_s = planner, earlier_core_s or {}
        self._known: Mapping[str, Mapping[str, Shape]] = {}
        self._asked_s: float | None = None
        self._looked_s: float | None = None
        self._begun_s: float | None = None
        self._hinted = False
        self.estimates = Estimates()
        self.last = ScalingDecision()

    def step(self, view: JobsView) -> ScalingDecision:
        """Query Slurm and, if due, the pool; return what to do about pilots and jobs.

        Raises `OutcomeUnknownError` if Slurm does not answer; earlier observations are kept.
        """
        self._observe(view)
        self.policy = self.policy.with_allocated(allocated_cores(self._fleet.pilots))
        snapshot = self._snapshot(view)
        plan = self._share.plan(self._planner, snapshot, self.estimates, self.policy)
        capacity = CapacityHistory()
        if self._free_slots_known(view):
            capacity = self.last.capacity.after(snapshot, view.started)
        drained = (action.pilot for action in plan.actions if isinstance(action, Drain))
        self.last = ScalingDecision(
            plan,
            {each.job_class: f"no pilot can run it: {each.reason}" for each in plan.infeasible},
            (*self._fleet.blocked, *drained),
            capacity,
            self._eta(view, plan, snapshot.now_s),
            self._pool.unsupported_schemes,
        )
        return self.last

    def unschedulable(self, waiting: Iterable[JobClass]) -> dict[JobClass, str]:
        """Return the waiting classes that no live pilot can run and for which none can be started
        any more, each with the reason.
        """
        lost = unschedulable(waiting, self.policy, self._fleet.unavailable)
        return {
            job_class: f"no pilot can be started: {why}"
            for job_class, why in lost.items()
            if not any(may_run_on(job_class, pilot.offer) for pilot in self._fleet.live)
        }

    def _observe(self, view: JobsView) -> None:
        for job_class, seconds in view.runtimes_s:
            self.estimates = self.estimates.with_runtime(job_class, seconds)
        for name, why in view.suspects.items():
            self._fleet.block(name, why)
        self._query_pool()
        observations = PilotObservations(
            view.served,
            frozenset(self._known),
            self._asked_s,
            jobs_wait=bool(view.waiting) and not view.starts_paused,
            untested=self._pool.untested,
        )
        changes = self._fleet.look(observations)
        self._looked_s = self._clock.now_s()
        for change in changes:
            self.estimates = learned(self.estimates, change.before, change.after)

    def _snapshot(self, view: JobsView) -> Snapshot:
        if view.waiting and not self._hinted:
            self._hinted = True
            self._query_wait_hints()
        now_s = self._clock.now_s()
        if view.waiting and self._begun_s is None:
            self._begun_s = now_s
        running, silent = view.running(), self._fleet.silent(self.policy.stale_s)
        self.estimates = self.estimates.with_ages(ages_s(running, now_s))
        ends_s = view.ends_s(self.estimates.runtime_s, now_s)
        return Snapshot(
            now_s,
            view.waiting,
            expected_charges(self._fleet.pilots, self.policy),
            running,
            soon=(*view.held, *view.upcoming.soon(ends_s)),
            later=view.upcoming.later + view.returning,
            further=view.upcoming.further,
            chain=view.upcoming.chain,
            gates=self._gates(view),
            blocked=self._fleet.blocked,
            looked_s=self._looked_s,
            others=self._others(view),
            silent=silent,
            unconfirmed=self._unconfirmed(silent, now_s),
            begun_s=self._begun_s,
        )

    def _unconfirmed(self, silent: frozenset[str], now_s: float) -> frozenset[str]:
        """Return the pilots at silent sites that the pool does not show to serve either."""
        known = self._known if self._pool_is_known(now_s) else {}
        return frozenset(
            pilot.name
            for pilot in (self._fleet.live if silent else ())
            if pilot.site in silent and (pilot.state.waits or pilot.name not in known)
        )

    def _pool_is_known(self, now_s: float) -> bool:
        return self._asked_s is not None and now_s - self._asked_s <= 2 * ASK_POOL_EVERY_S

    def _free_slots_known(self, view: JobsView) -> bool:
        """Return True if jobs may start and the pilots' free slots are known."""
        known = self._pool_is_known(self._clock.now_s())
        return not view.starts_paused and (known or not self._fleet.shared)

    def _eta(self, view: JobsView, plan: Plan, now_s: float) -> Eta | None:
        rests = rests_of(view.rules, view.upcoming, self._earlier_core_s, now_s)
        ready = [p.shape.cores for p in self._fleet.live if p.state is PilotState.READY]
        forecast, policy = plan.forecast, self.policy
        largest = max(offer.shape.cores for offer in policy.offers)
        most = min(policy.pilots_max * largest, policy.cores_max or math.inf)
        return eta(rests, sum(ready), min(most, max(forecast.live_cores, forecast.wanted_cores)))

    def _gates(self, view: JobsView) -> dict[str, Gate]:
        gates = self._fleet.gates()
        if view.starts_paused:
            # jobs on trial need a pilot, too, if all have left since
            any_serves = any(pilot.state.serves for pilot in self._fleet.live)
            one = Gate(
                int(view.on_trial and not any_serves), view.starts_paused, START_FAILURE_LIMIT
            )
            for offer in self.policy.offers:
                known = gates.get(offer.name, one)
                gates[offer.name] = min(one, known, key=lambda gate: gate.launches_max)
        return gates

    def _others(self, view: JobsView) -> dict[str, Shape]:
        """Return the resources that jobs of others use on each pilot, as the pool last reported."""
        others = {}
        for pilot, jobs in self._known.items():
            theirs = [shape for job_id, shape in jobs.items() if job_id not in view.ours]
            if theirs:
                others[pilot] = Shape(*map(sum, zip(*theirs, strict=True)))
        return others

    def _query_pool(self) -> None:
        """Query the pool while a pilot boots, may run jobs of others, or is not shown by Slurm.

        A failed query changes nothing.
        """
        shared, alone = self._fleet.shared, self._fleet.left_alone
        is_due = any(
            pilot.state is PilotState.BOOTING
            or (not pilot.state.waits and (shared or pilot.absent_looks or pilot.site in alone))
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

    def _query_wait_hints(self) -> None:
        hints, hanging = {}, set[str]()
        for offer in worth_a_hint(self.policy):
            if offer.site in hanging:
                continue
            expected = self._fleet.expectation(offer.name, offer.walltimes_s[0])
            if expected is None:
                # do not wait for a hanging slurmctld once per pilot type
                hanging.add(offer.site)
            else:
                hints[offer.name] = expected
        cores = {name: expected.cores for name, expected in hints.items()}
        self.policy = self.policy.with_allocated(cores)
        self.estimates = self.estimates.with_hints({n: e.wait_s for n, e in hints.items()})
