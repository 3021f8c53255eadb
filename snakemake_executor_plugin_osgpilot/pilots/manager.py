"""Launch, observe, drain and end the pilots of a run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from ..errors import AbandonedError, NotSentError, OutcomeUnknownError, RejectedError, TryLaterError
from ..model.clock import WaitingClock
from ..model.plan import Cancel, Drain, Launch, Plan
from ..model.resources import Pilot, PilotState
from ..model.snapshot import Gate
from .batch_system import Allocation, Expectation, PilotRequests, Slurm
from .state.inventory import UNREGISTERED, UNTESTED, PilotInventory
from .state.lifecycle import ABSENT_LOOKS_TO_BELIEVE, PilotObservations, StateChange, requeued

END_WAIT_S = 20.0
"""Time for a pilot to end gracefully; at the end of a workflow it has no job to lose."""

LEAVE_WAIT_S = 10.0
"""Time to wait for shared pilots to end; those still busy then finish on their own."""

KILL_WAIT_S = 30.0
LOOK_PAUSE_S = 1.0


def jitter() -> float:
    """Return a random factor, so that many users do not retry at the same time."""
    return random.uniform(0.5, 1.5)


class PilotNumbers:
    """The highest number of a pilot of a run so far, shared by its sites."""

    last = 0

    def seen(self, number: int) -> None:
        """Give no pilot this number any more, or a lower one."""
        self.last = max(self.last, number)


class PilotJournal(Protocol):
    """Records pilots before they are submitted."""

    def record_pilots(self, pilots: Iterable[Pilot]) -> None:
        """Record the states of pilots. Raises `OutcomeUnknownError`."""


class PilotManager:
    """All pilots of one run at one site, by name. Used by one thread at a time.

    `chance` is for the circuit breakers.
    """

    def __init__(
        self, slurm: Slurm, clock: WaitingClock, requests: PilotRequests,
        journal: PilotJournal | None = None,
        chance: Callable[[], float] = jitter,
        numbers: PilotNumbers | None = None,
    ) -> None:  # fmt: skip
        self._slurm = slurm
        self._clock = clock
        self._requests = requests
        self._journal = journal
        self._numbers = numbers or PilotNumbers()
        self._numbers.seen(requests.last_number())
        self._interrupted: set[str] = set()
        self._changes: list[StateChange] = []
        self._inventory = PilotInventory(requests.offers, chance, shared=requests.shared)
        self.health = self._inventory.health

    def restore(self, pilots: Iterable[Pilot]) -> None:
        """Restore the pilots of a previous session; the next `look` updates their states."""
        for pilot in pilots:
            self._inventory.put(replace(pilot, absent_looks=0))
            self._numbers.seen(int(pilot.name.rpartition("-")[2]))
        self.health.know(pilot.offer for pilot in self.pilots)

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        return self._inventory.pilots

    @property
    def offers(self) -> Iterable[str]:
        """The names of its pilot types."""
        return self._requests.offers.keys()

    def has(self, name: str) -> bool:
        """Return True if this is the name of one of its pilots."""
        return name in self._inventory

    @property
    def shared(self) -> bool:
        """True if jobs of others may run on these pilots."""
        return self._requests.shared

    @property
    def live(self) -> tuple[Pilot, ...]:
        return self._inventory.live

    def gates(self) -> dict[str, Gate]:
        """Return the launches that the circuit breakers allow now, by pilot type."""
        return self._inventory.gates(self._clock.now_s())

    def held_back(self) -> tuple[str, ...]:
        """Return the types of which a pilot that starts now should end at once."""
        return self._inventory.held_back(self._clock.now_s())

    def look(self, observations: PilotObservations) -> list[StateChange]:
        """Query Slurm once for all pilots; return those that changed state, also in `changes`.

        Raises `OutcomeUnknownError`; earlier observations are kept.
        """
        self._inventory.note_served(observations.served)
        if not self.live:
            return []
        rows = self._slurm.look()
        now_s = self._clock.now_s()
        again = [pilot for pilot in self.live if requeued(pilot, rows.get(pilot.name))]
        changes = self._inventory.look(rows, observations, self._log_tail, now_s)
        self._changes += changes
        # one that runs by now stays: Slurm decides
        self._on_allocations(self._slurm.cancel_pending, again)
        late = self._inventory.unregistered(observations.asked_s)
        self._on_allocations(self._slurm.end_running, late)
        for pilot in late:
            why = UNTESTED if pilot.name in observations.known else UNREGISTERED
            self._inventory.mark_draining([pilot], now_s, why)
        return changes

    def changes(self) -> list[StateChange]:
        """Return the changes of state since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def write(self, files: Mapping[str, str]) -> None:
        """Write files (text by name) that pilots read. Raises `OutcomeUnknownError`."""
        self._slurm.write({self._requests.file(name): text for name, text in files.items()})

    def block(self, name: str, why: str) -> None:
        """Accept no more jobs on a pilot whose node seems faulty."""
        self._inventory.block(name, why, self._clock.now_s())

    def apply(self, plan: Plan) -> None:
        """Carry out a plan. Raises `OutcomeUnknownError`; a rejection by Slurm opens a breaker."""
        pilots = self._inventory
        pilots.note_unneeded(plan.unneeded, self._clock.now_s())
        cancelled = [pilots[a.pilot] for a in plan.actions if isinstance(a, Cancel)]
        drained = [pilots[a.pilot] for a in plan.actions if isinstance(a, Drain)]
        self._on_allocations(self._slurm.cancel_pending, cancelled)
        self._drain(drained)
        for action in plan.actions:
            now_s = self._clock.now_s()
            if isinstance(action, Launch) and self.health.may_start(action.offer, now_s):
                self._launch(action)

    def expectation(self, offer: str, walltime_s: int) -> Expectation | None:
        """Ask Slurm how long a pilot would wait, and what it would be given; None if unknown."""
        pilot = self._new_pilot("osgpilot-test", Launch(offer, walltime_s, ""))
        with suppress(OutcomeUnknownError, RejectedError):
            return self._slurm.expectation(self._allocation(pilot))
        return None

    def interrupt(self) -> None:
        """Interrupt the Slurm command that another thread waits for."""
        self._slurm.interrupt()

    def end(self, *, retry: bool = True) -> None:
        """End every pilot: pending ones at once, running ones gracefully, the rest by force.

        Shared pilots are drained instead, so that jobs of others can finish; they stay in `live`.
        Raises `OutcomeUnknownError` if Slurm still shows any other, or does not answer. Does not
        wait for a pilot whose submission was interrupted and that Slurm does not show. Without
        `retry`, a Slurm that does not answer once is not asked again.
        """
        steps: tuple[tuple[Callable[[list[Pilot]], None], float], ...] = (
            (self._end_gracefully, END_WAIT_S),
            (lambda pilots: self._on_allocations(self._slurm.kill, pilots), KILL_WAIT_S),
        )
        if self.shared:
            steps = ((self._drain_shared, LEAVE_WAIT_S),)
        silence = ""
        for ask, limit_s in steps:
            deadline = self._clock.now_s() + limit_s
            asked: set[tuple[str, PilotState]] = set()
            while self._awaited and self._clock.now_s() <= deadline and (retry or not silence):
                # Slurm may be unavailable for a moment: retry until the deadline
                try:
                    self.look(PilotObservations())
                    silence = ""
                    new = [p for p in self.live if (p.name, p.state) not in asked]
                    ask(new)
                    asked |= {(p.name, p.state) for p in new}
                except OutcomeUnknownError as error:
                    silence = str(error)
                if self._awaited:
                    self._clock.sleep(LOOK_PAUSE_S)
        left = [p for p in self.live if not (self.shared and p.state is PilotState.DRAINING)]
        if left and not self._awaited:
            names = ", ".join(p.name for p in left)
            raise OutcomeUnknownError(
                f"`sbatch` was interrupted, so Slurm may still queue {names}: it ends as soon as "
                "it starts, and `osgpilot cleanup` removes it"
            )
        if left:
            names = ", ".join(p.allocation_id or p.name for p in left)
            if silence:
                raise OutcomeUnknownError(f"Slurm may still have pilots {names}: {silence}")
            raise OutcomeUnknownError(
                f"Slurm still shows pilots after they were cancelled: {names}"
            )

    @property
    def _awaited(self) -> list[Pilot]:
        """The live pilots, except those of interrupted submissions that Slurm does not show."""
        return [
            pilot
            for pilot in self.live
            if pilot.name not in self._interrupted
            or pilot.state is not PilotState.INTENDED
            or pilot.absent_looks < ABSENT_LOOKS_TO_BELIEVE
        ]

    def _end_gracefully(self, pilots: list[Pilot]) -> None:
        self._on_allocations(self._slurm.end_running, [p for p in pilots if not p.state.waits])
        self._on_allocations(self._slurm.cancel_pending, [p for p in pilots if p.state.waits])

    def _drain_shared(self, pilots: list[Pilot]) -> None:
        self._drain([p for p in pilots if p.state.serves and not p.state.waits])
        self._on_allocations(self._slurm.cancel_pending, [p for p in pilots if p.state.waits])

    def _drain(self, pilots: list[Pilot]) -> None:
        self._on_allocations(self._slurm.drain_running, pilots)
        self._inventory.mark_draining(pilots, self._clock.now_s())

    @staticmethod
    def _on_allocations(act: Callable[[dict[str, str]], None], pilots: list[Pilot]) -> None:
        """Act on the allocations. A rejection means that they have ended; `look` will show it."""
        names = {p.allocation_id: p.name for p in pilots if p.allocation_id}
        if names:
            try:
                act(names)
            except RejectedError:
                return

    def _new_pilot(self, name: str, action: Launch) -> Pilot:
        now_s = self._clock.now_s()
        offer = self._requests.offers[action.offer]
        return Pilot(
            name,
            offer.shape,
            offer=offer.name,
            site=offer.site,
            walltime_s=action.walltime_s,
            asked_s=now_s,
            since_s=now_s,
        )

    def _allocation(self, pilot: Pilot) -> Allocation:
        exclude = self.health.excluded(self._clock.now_s())
        return replace(self._requests.allocation(pilot), exclude=exclude)

    def _launch(self, action: Launch) -> None:
        number = self._numbers.last + 1
        name = self._requests.name(number)
        pilot = self._new_pilot(name, action)
        allocation = self._allocation(pilot)
        if self._journal:
            self._journal.record_pilots([pilot])
        self._numbers.seen(number)
        self._inventory.put(pilot)
        try:
            allocation_id = self._submit(allocation)
        except NotSentError:
            self._inventory.drop(name)
            raise
        except AbandonedError:
            self._interrupted.add(name)
            raise
        except (RejectedError, TryLaterError) as rejection:
            now_s, why = self._clock.now_s(), str(rejection)
            self._inventory.put(replace(pilot, state=PilotState.FAILED, ended_s=now_s, failure=why))
            note = (
                self.health.refused if isinstance(rejection, RejectedError) else self.health.put_off
            )
            note(pilot.offer, now_s, why)
        else:
            self.health.accepted(pilot.offer)
            self._inventory.put(
                replace(pilot, allocation_id=allocation_id, state=PilotState.PENDING)
            )

    def _submit(self, allocation: Allocation) -> str:
        try:
            return self._slurm.submit(allocation)
        except RejectedError:
            if not allocation.exclude:
                raise
            # perhaps too few nodes are left: a faulty one is better than none
            self.health.forgive_nodes()
            return self._slurm.submit(replace(allocation, exclude=()))

    def _log_tail(self, name: str) -> str:
        folder = self._requests.pilot_folder(name)
        with suppress(OutcomeUnknownError, RejectedError):
            return self._slurm.log_tail(folder)
        return ""
