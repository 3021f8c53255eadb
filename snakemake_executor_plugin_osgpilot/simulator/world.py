"""One run of a workload at a site, in virtual time."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import replace
from functools import partial

import simpy

from ..jobs.state.hold_policy import FAILED_ATTEMPTS_MAX
from ..jobs.state.lost_pilots import LOST_AFTER_S
from ..model.intervals import poll_delay_s
from ..model.resources import JobClass, Policy
from ..pilots.fleet import Fleet
from ..pilots.manager import PilotManager
from ..pilots.state.lifecycle import Seen
from ..scaling.autoscaler import Autoscaler, ScalingDecision
from ..scaling.planner.feasibility import largest
from ..scaling.ports import Planner
from .access_point import SimulatedAccessPoint
from .clock import MS, Clock
from .jobs import Jobs
from .model import Outcome, Site, Workload
from .negotiator import Negotiator, WeighingNegotiator
from .pilots import PilotPool, SimulatedPilot
from .random_streams import RandomStreams
from .recorder import Series, TimedPlanner, outcome
from .slurm_facade import SimulatedRequests, SlurmFacade

STUCK_MS = 7200 * MS
"""A run is given up when so long no job ran, no pilot was under way and no job was to arrive. A
breaker has its next try after half an hour or so at most."""

HORIZON_MS = 90 * 24 * 3600 * MS
"""No run is followed for longer."""

HAPPENS_UNSEEN = "NODE_FAIL"
"""An end of an allocation of which HTCondor does not hear."""


def run(workload: Workload, site: Site, planner: Planner, policy: Policy, seed: int) -> Outcome:
    """Simulate `workload` at `site` with pilots started by `planner` within `policy`.

    The same arguments give the same outcome. With another planner, chance stays the same.
    """
    return World(workload, site, planner, policy, seed).run()


class World:
    """All that there is in a run: `fleet` and `scaling` are those of a real run, and know no more
    than they would there. The rest is simulated.
    """

    def __init__(
        self, workload: Workload, site: Site, planner: Planner, policy: Policy, seed: int
    ) -> None:
        # the pilots' own patience is the system's that starts them
        site = replace(site, idle_s=getattr(planner, "idle_s", site.idle_s))
        self._workload, self._site, self._seed = workload, site, seed
        # other systems have no breaker that could hold back pilots
        self._heeds = getattr(planner, "heeds_gates", True)
        self.clock = Clock()
        luck = RandomStreams(seed, site)
        stragglers = luck.stragglers(len(workload))
        self.jobs = Jobs(workload, stragglers, site.faults.straggler_factor, ordered=self._heeds)
        self.pilot_pool = PilotPool(self.clock, site, luck, self.jobs, self)
        self._queue = SimulatedAccessPoint(self.clock, self.jobs, self.pilot_pool)
        requests, spread = SimulatedRequests(policy.offers), luck.stream("breakers")
        self._slurm = SlurmFacade(
            self.clock, site, requests.offers, luck, self.pilot_pool, self._held_back
        )
        chance = partial(spread.uniform, 0.5, 1.5)
        manager = PilotManager(self._slurm, self.clock, requests, chance=chance)
        self.fleet = Fleet({"": manager}, self.clock, chance)
        self._planner = TimedPlanner(planner)
        self.scaling = Autoscaler(self.fleet, self._queue, self.clock, policy, self._planner)
        self._negotiator = self._made_negotiator(policy)
        self._series = Series()
        self._done = self.clock.event()
        self._lost: dict[str, list[int]] = {}
        self._setbacks: Counter[int] = Counter()
        self._ready = array("L")
        self._to_arrive = len(workload) if workload.arrivals_s else 0
        self._look_soon, self._looked_ms, self._next_look_ms = False, -HORIZON_MS, HORIZON_MS
        self._alive_ms = self._last_end_ms = self._flow_ms = 0
        self.stopped = ""

    def _made_negotiator(self, policy: Policy) -> Negotiator:
        made = (self.clock, self._site.negotiation_s, self.jobs, self.pilot_pool)
        if not self._heeds:
            return Negotiator(*made)
        return WeighingNegotiator(*made, largest(policy.offers))

    def run(self) -> Outcome:
        """Run to the end of the last job, and until the pilots have left."""
        if self._workload.arrivals_s is None:
            self._hand_over(self.jobs.roots())
        else:
            self.clock.process(self._arrivals(self._workload.arrivals_s))
        self._look_at(0)
        if self.jobs.left:
            self.clock.run(until=self._done)
        self.fleet.end()
        return outcome(
            (self._workload.name, self._site.name, self._seed),
            self._slurm.pilots.values(),
            self._series,
            self._planner.plan_s,
            makespan_ms=self._last_end_ms,
            jobs_left=self.jobs.left,
            stopped=self.stopped,
            flow_ms=self._flow_ms,
        )

    def room(self, pilot: SimulatedPilot) -> None:
        """There is room on a pilot that was not there before."""
        if any(line.count for line in self.jobs.lines):
            self._negotiator.wake()
        elif pilot.first_job_ms is not None and not pilot.slots:
            # it ran out of work, and no job waits for it
            self._look_before_long()

    def job_ended(self, job: int, number: int, runtime_ms: int) -> None:
        """Note that a job of class `number` came to its end."""
        self._last_end_ms = self.clock.now
        self._flow_ms += self.jobs.flow_ms(job, self.clock.now)
        self._queue.note_ended(number, runtime_ms)
        if ready := self.jobs.ended(job, runtime_ms):
            if not self._ready:
                self.clock.after(round(self._site.hand_over_s * MS), self._hand_over_ready)
            self._ready.extend(ready)
        if not self.jobs.left and not self._done.triggered:
            self._done.succeed()

    def job_starts(self, pilot: SimulatedPilot, executes_ms: int) -> None:
        """Note that the first job on a pilot is about to execute."""
        self._queue.note_served(pilot.name, executes_ms)

    def pilot_ended(self, pilot: SimulatedPilot, lost: list[int], seen: Seen, state: str) -> None:
        """Note that a pilot has ended; jobs that ran there are lost."""
        pilot.allocation.end(seen, state, self.clock.now)
        self._slurm.freed(pilot.allocation)
        self._setbacks.update(lost)
        if any(self._setbacks[job] >= FAILED_ATTEMPTS_MAX for job in lost):
            self._stop(f"a job was started {FAILED_ATTEMPTS_MAX} times without success")
        if state == HAPPENS_UNSEEN:
            self._lost[pilot.name] = lost
        else:
            self._run_again(lost)

    def _run_again(self, jobs: list[int]) -> None:
        for job in jobs:
            self.jobs.cut_short(job)
        if jobs:
            self._negotiator.wake()

    def _held_back(self, offer: str) -> bool:
        return self._heeds and offer in self.fleet.held_back()

    def _arrivals(self, arrivals_s: array[float]) -> Generator[simpy.Event, None, None]:
        order = sorted(range(len(arrivals_s)), key=arrivals_s.__getitem__)
        position = 0
        while position < len(order):
            at_ms = round(arrivals_s[order[position]] * MS)
            if at_ms > self.clock.now:
                yield self.clock.timeout(at_ms - self.clock.now)
            known = []
            while position < len(order) and round(arrivals_s[order[position]] * MS) <= at_ms:
                known.append(order[position])
                position += 1
            self._to_arrive -= len(known)
            if ready := self.jobs.arrive(known):
                self._hand_over(ready)

    def _hand_over_ready(self) -> None:
        jobs, self._ready = self._ready, array("L")
        self.jobs.hand_over_followers(jobs, self.clock.now)
        self._jobs_wait()

    def _hand_over(self, jobs: array[int]) -> None:
        self.jobs.hand_over(jobs, self.clock.now)
        self._jobs_wait()

    def _jobs_wait(self) -> None:
        self._negotiator.wake()
        self._look_before_long()

    def _look_before_long(self) -> None:
        self._look_soon = True
        live = bool(self.fleet.live)
        self._look_at(self._looked_ms + round(poll_delay_s(soon=True, live=live) * MS))

    def _look_at(self, due_ms: int) -> None:
        """Schedule a poll, unless an earlier one is scheduled."""
        due_ms = max(due_ms, self.clock.now)
        if due_ms < self._next_look_ms:
            self._next_look_ms = due_ms
            self.clock.after(due_ms - self.clock.now, lambda: self._look_if(due_ms))

    def _look_if(self, due_ms: int) -> None:
        if self._next_look_ms == due_ms and not self._done.triggered:
            self._look()

    def _look(self) -> None:
        """Look, advance, plan, act: what `run.controller` does every now and then."""
        self._looked_ms, self._look_soon = self.clock.now, False
        view = self._queue.view()
        decision = self.scaling.step(view)
        for change in self.fleet.changes():
            if change.after.state.over and (lost := self._lost.pop(change.after.name, None)):
                self._run_again_later(lost)
        self._look_soon |= decision.plan.throttled
        self.fleet.apply(decision.plan)
        live = self.fleet.live
        self._series.note(self.clock.now_s(), self.jobs, self.pilot_pool, live)
        self._next_look_ms = HORIZON_MS
        after_s = poll_delay_s(soon=self._look_soon, live=bool(live))
        self._look_at(self._looked_ms + max(1, round(after_s * MS)))
        self._stop_if_stuck(decision, self.scaling.unschedulable(view.waiting))

    def _run_again_later(self, lost: list[int]) -> None:
        self.clock.after(round(LOST_AFTER_S * MS), lambda: self._run_again(lost))

    def _stop_if_stuck(
        self, decision: ScalingDecision, unschedulable: Mapping[JobClass, str]
    ) -> None:
        now_ms = self.clock.now
        if self.fleet.live or self._to_arrive or self._ready or self._lost:
            self._alive_ms = now_ms
        if failing := [*decision.infeasible.values(), *unschedulable.values()]:
            self._stop(failing[0])
        elif now_ms - self._alive_ms > STUCK_MS:
            rules = ", ".join(sorted({refusal.rule for refusal in decision.plan.refusals}))
            self._stop(f"no pilot was started any more ({rules or 'none was wanted'})")
        elif now_ms >= HORIZON_MS:
            self._stop("it took too long")

    def _stop(self, why: str) -> None:
        if not self._done.triggered:
            self.stopped = why
            self._done.succeed()
