"""Our side of the world: looks, plans and acts as a run does, and knows no more than it would.

It has the product's own inventory of pilots (`pilots.state`) and its `Estimates`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping
from dataclasses import replace
from time import process_time
from typing import Protocol

from ..model.intervals import ASK_POOL_EVERY_S
from ..model.plan import Cancel, Drain, Launch, Plan
from ..model.resources import Pilot, PilotState, PilotType, Policy
from ..model.snapshot import Snapshot, ages_s
from ..pilots.state.inventory import UNREGISTERED, PilotInventory
from ..pilots.state.lifecycle import PilotObservations, Row, StateChange
from ..scaling.planner.estimates import Estimates, learned
from .model import Planner
from .observer import Observer

HINTS_MAX = 8
"""Slurm is asked for its expectation for so many offers, as in a real run."""


class Site(Protocol):
    """The interface to the simulated Slurm. Pilots are identified by `Pilot.name`."""

    def rows(self) -> Mapping[str, Row]:
        """Return what `squeue` shows of each pilot."""

    def expected_wait_s(self, offer: PilotType) -> float | None:
        """Return how long a pilot would wait, None if Slurm does not say."""

    def launch(self, pilot: Pilot, number: int, avoid: tuple[str, ...]) -> bool:
        """Submit a pilot, to start on none of the nodes in `avoid`; False if Slurm refuses."""

    def cancel(self, name: str) -> None:
        """Cancel a pilot if it has not started."""

    def drain(self, name: str) -> None:
        """Drain a running pilot."""

    def stop(self, name: str) -> None:
        """End a pilot that runs."""


class Manager:
    """Plans with `planner`; `chance` spreads the tries of breakers.

    `plan_s` has the processor times of the planner's calls.
    """

    def __init__(
        self, planner: Planner, policy: Policy, observer: Observer, site: Site,
        chance: Callable[[], float],
    ) -> None:  # fmt: skip
        self._planner, self._policy = planner, policy
        self._observer, self._site = observer, site
        self._offers = {offer.name: offer for offer in policy.offers}
        self._known: frozenset[str] = frozenset()
        self._asked_s: float | None = None
        self._hinted = False
        self._count = 0
        self.roster = PilotInventory(self._offers, chance)
        self.estimates = Estimates()
        self.last = Plan()
        self.plan_s = array("d")

    def look(self, now_s: float) -> list[StateChange]:
        """Observe jobs and pilots; return the pilots that changed state."""
        self.estimates = self._observer.learn(self.estimates)
        self._ask_pool(now_s)
        served_s = {n: at_s for n, at_s in self._observer.served_s.items() if at_s <= now_s}
        jobs_wait = bool(self._observer.waiting())
        signs = PilotObservations(served_s, self._known, self._asked_s, jobs_wait=jobs_wait)
        self.roster.note_served(served_s)
        moves = self.roster.look(self._site.rows(), signs, lambda name: "", now_s)
        unregistered = self.roster.unregistered(self._asked_s)
        for pilot in unregistered:
            self._site.stop(pilot.name)
        self.roster.mark_draining(unregistered, now_s, UNREGISTERED)
        for move in moves:
            self.estimates = learned(self.estimates, move.before, move.after)
        return moves

    def plan(self, now_s: float) -> Plan:
        """Return what the planner says to what is known now."""
        snapshot = self.snapshot(now_s)
        begun_s = process_time()
        self.last = self._planner(snapshot, self.estimates, self._policy)
        self.plan_s.append(process_time() - begun_s)
        return self.last

    def snapshot(self, now_s: float) -> Snapshot:
        """Return all that the planner gets to see of this moment."""
        waiting = self._observer.waiting()
        if waiting and not self._hinted:
            self._hinted = True
            self._ask_for_hints()
        running = self._observer.running()
        self.estimates = self.estimates.with_ages(ages_s(running, now_s))
        ahead, ends_s = self._observer.ahead(self.estimates)
        return Snapshot(
            now_s,
            waiting,
            self.roster.pilots,
            running,
            soon=ahead.soon(ends_s),
            later=ahead.later,
            further=ahead.further,
            chain=ahead.chain,
            gates=self.roster.gates(now_s),
            shunned=self.roster.health.shunned,
            looked_s=now_s,
        )

    def act(self, decided: Plan, now_s: float) -> None:
        """Do what a plan says."""
        self.roster.note_unneeded(decided.unneeded, now_s)
        for action in decided.actions:
            if isinstance(action, Cancel):
                self._site.cancel(action.pilot)
        drained = [self.roster[a.pilot] for a in decided.actions if isinstance(a, Drain)]
        for pilot in drained:
            self._site.drain(pilot.name)
        self.roster.mark_draining(drained, now_s)
        for action in decided.actions:
            if isinstance(action, Launch):
                self._launch(action, now_s)

    def _launch(self, action: Launch, now_s: float) -> None:
        self._count += 1
        pilot = Pilot(
            f"p{self._count}",
            self._offers[action.offer].shape,
            offer=action.offer,
            walltime_s=action.walltime_s,
            allocation_id=str(self._count),
            asked_s=now_s,
            since_s=now_s,
        )
        if not self._site.launch(pilot, self._count, self.roster.health.excluded(now_s)):
            # as a real run does: a bad node is better than none
            self.roster.health.forgive_nodes()
            self._site.launch(pilot, self._count, ())
        self.roster.put(replace(pilot, state=PilotState.PENDING))

    def _ask_pool(self, now_s: float) -> None:
        booting = any(pilot.state is PilotState.BOOTING for pilot in self.roster.live)
        due = self._asked_s is None or now_s - self._asked_s >= ASK_POOL_EVERY_S
        if booting and due:
            self._known, self._asked_s = self._observer.registered(), now_s

    def _ask_for_hints(self) -> None:
        hints = {}
        for offer in self._policy.offers[:HINTS_MAX]:
            if (wait_s := self._site.expected_wait_s(offer)) is None:
                break
            hints[offer.name] = wait_s
        self.estimates = self.estimates.with_hints(hints)
