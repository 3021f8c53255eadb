"""Pilots as they are: they boot, take jobs into slots of their own making, and end."""

from __future__ import annotations

from typing import Any, Protocol

from ..model.resources import Shape
from ..pilots.state.lifecycle import Seen
from .accounting import CoreHourAccount
from .allocations import Allocation
from .clock import MS, Clock
from .jobs import Jobs
from .model import Site
from .random_streams import RandomStreams

CLAIM_MS = 1200 * MS
"""After this time a slot takes no next job by itself (HTCondor manual, CLAIM_WORKLIFE)."""

LEAVE_MS = 5 * MS
"""Time for a pilot to end on a signal; five to ten seconds on the local pool."""

GONE_MS = 1 * MS
"""A pilot that finds its offer held back ends so soon after its start."""


class Slot:
    """A part of a pilot that is claimed for jobs of one class, and the job it has."""

    __slots__ = ("claimed_ms", "executes_ms", "job", "number", "over", "pilot")

    def __init__(self, pilot: SimulatedPilot, number: int, now_ms: int) -> None:
        self.pilot, self.number, self.claimed_ms = pilot, number, now_ms
        self.job, self.executes_ms, self.over = -1, 0, False


class SimulatedPilot:
    """One pilot. `running` has number of jobs and sum of their starts in milliseconds, by class;
    `changed_ms` is when a slot was last made or removed.
    """

    def __init__(self, number: int, name: str, offer: str, allocation: Allocation) -> None:
        self.number, self.name, self.offer, self.allocation = number, name, offer, allocation
        self.free: Shape = allocation.shape
        self.slots: dict[Slot, None] = {}
        self.running: dict[int, list[int]] = {}
        self.tally = CoreHourAccount(allocation.shape.cores)
        self.up_ms: int | None = None
        self.first_job_ms: int | None = None
        self.ends_ms = 0
        self.idle_since_ms = self.changed_ms = -1
        self.closed = True
        """True if it accepts no jobs."""

    def lives(self, hint_ms: int, now_ms: int) -> bool:
        """Return True if a job with this declared runtime may start on it now."""
        return self.ends_ms - now_ms > hint_ms


class Hooks(Protocol):
    """Callbacks of the pilots."""

    def room(self, pilot: SimulatedPilot) -> None:
        """There is room on a pilot that was not there before."""

    def job_starts(self, pilot: SimulatedPilot, executes_ms: int) -> None:
        """Note that the first job on a pilot is about to execute."""

    def job_ended(self, job: int, number: int, runtime_ms: int) -> None:
        """Note that a job of class `number` came to its end."""

    def pilot_ended(self, pilot: SimulatedPilot, lost: list[int], seen: Seen, state: str) -> None:
        """Note that a pilot has ended; jobs that ran there are lost."""


class PilotPool:
    """All pilots that run, and the jobs on them.

    `world` gets the events. `pilots` are those that have not ended, by name.
    """

    def __init__(
        self, clock: Clock, site: Site, luck: RandomStreams, jobs: Jobs, world: Hooks
    ) -> None:
        self._clock, self._site, self._luck = clock, site, luck
        self._jobs, self._world = jobs, world
        self._lead_ms, self._next_ms = round(site.start_s * MS), round(site.next_s * MS)
        self._hints_ms = [c.runtime_s * MS for c in jobs.classes]
        self._shapes = [c.shape for c in jobs.classes]
        self._cores = [c.shape.cores for c in jobs.classes]
        self.pilots: dict[str, SimulatedPilot] = {}

    def start(self, pilot: SimulatedPilot, *, held_back: bool) -> None:
        """Slurm has started the allocation of `pilot`."""
        self.pilots[pilot.name] = pilot
        number, allocation, now_ms = pilot.number, pilot.allocation, self._clock.now
        if held_back:
            self._clock.after(GONE_MS, lambda: self.end(pilot, Seen.COMPLETED))
            return
        if self._luck.start_fails(number, allocation.node, now_ms):
            after_ms = round(self._site.faults.fails_after_s * MS)
            self._clock.after(after_ms, lambda: self.end(pilot, Seen.FAILED, "FAILED"))
        else:
            self._clock.after(self._luck.boot_ms(number), lambda: self._come_up(pilot))
        life_ms = max(0, allocation.walltime_ms - round(self._site.end_s * MS))
        pilot.ends_ms = now_ms + life_ms
        self._clock.after(life_ms, lambda: self.end(pilot, Seen.COMPLETED))
        if (after_ms := self._luck.preempted_after_ms(number) or 0) > 0:
            self._clock.after(after_ms, lambda: self.end(pilot, Seen.CANCELLED, "PREEMPTED"))
        if (after_ms := self._luck.node_lost_after_ms(number) or 0) > 0:
            self._clock.after(after_ms, lambda: self.end(pilot, Seen.FAILED, "NODE_FAIL"))

    def begin(self, pilot: SimulatedPilot, number: int, job: int) -> None:
        """Start a job of class `number` in a slot of its own."""
        now_ms = self._clock.now
        pilot.tally.starts(self._cores[number], self._lead_ms, now_ms)
        pilot.tally.taken += self._cores[number]
        pilot.free -= self._shapes[number]
        pilot.idle_since_ms, pilot.changed_ms = -1, now_ms
        slot = Slot(pilot, number, now_ms)
        pilot.slots[slot] = None
        self._execute(slot, job, now_ms + self._lead_ms)

    def drain(self, name: str) -> None:
        """Drain a pilot: accept no new jobs and end when it has none."""
        pilot = self.pilots.get(name)
        if pilot is None or pilot.allocation.over:
            return
        pilot.closed, pilot.allocation.draining = True, True
        if not pilot.slots:
            self._clock.after(LEAVE_MS, lambda: self.end(pilot, Seen.COMPLETED))

    def end(self, pilot: SimulatedPilot, seen: Seen, state: str = "COMPLETED") -> None:
        """End a pilot that is not over yet; its jobs have to run again."""
        allocation, now_ms = pilot.allocation, self._clock.now
        if allocation.over:
            return
        pilot.closed = True
        if pilot.up_ms is not None:
            pilot.tally.settle(now_ms)
        else:
            failed = seen is not Seen.COMPLETED
            pilot.tally.never_came_up(allocation.started_ms, now_ms, failed=failed)
        lost = []
        for slot in pilot.slots:
            slot.over = True
            pilot.tally.cut_short(self._cores[slot.number], slot.executes_ms, now_ms)
            lost.append(slot.job)
        pilot.slots.clear()
        pilot.running.clear()
        del self.pilots[pilot.name]
        self._world.pilot_ended(pilot, lost, seen, state)

    def _come_up(self, pilot: SimulatedPilot) -> None:
        if pilot.allocation.over:
            return
        pilot.up_ms = self._clock.now
        pilot.tally.came_up(pilot.allocation.started_ms, self._clock.now)
        if not pilot.allocation.draining:
            pilot.closed = False
            self._idles(pilot)
            self._world.room(pilot)

    def _execute(self, slot: Slot, job: int, executes_ms: int) -> None:
        slot.job, slot.executes_ms = job, executes_ms
        pilot = slot.pilot
        if pilot.first_job_ms is None:
            pilot.first_job_ms = executes_ms
            self._world.job_starts(pilot, executes_ms)
        group = pilot.running.get(slot.number)
        if group is None:
            pilot.running[slot.number] = [1, executes_ms]
        else:
            group[0] += 1
            group[1] += executes_ms
        self._jobs.started(job, slot.number, executes_ms)
        ends_in_ms = executes_ms - self._clock.now + self._jobs.runtime_ms(job)
        self._clock.tell(ends_in_ms, self._job_ended, slot)

    def _job_ended(self, event: Any) -> None:
        slot: Slot = event.value
        if slot.over:
            return
        now_ms, pilot, number = self._clock.now, slot.pilot, slot.number
        cores, executes_ms = self._cores[number], slot.executes_ms
        pilot.tally.ended(cores, now_ms - executes_ms)
        group = pilot.running[number]
        group[0] -= 1
        group[1] -= executes_ms
        self._world.job_ended(slot.job, number, now_ms - executes_ms)
        line = self._jobs.lines[number]
        if (
            line.count
            and not pilot.closed
            and now_ms - slot.claimed_ms < CLAIM_MS
            and pilot.ends_ms - now_ms > self._hints_ms[number]
        ):
            pilot.tally.starts(cores, self._next_ms, now_ms)
            self._execute(slot, line.take(), now_ms + self._next_ms)
        else:
            self._give_back(slot)

    def _give_back(self, slot: Slot) -> None:
        pilot, number = slot.pilot, slot.number
        pilot.changed_ms = self._clock.now
        del pilot.slots[slot]
        if not pilot.running[number][0]:
            del pilot.running[number]
        pilot.tally.settle(self._clock.now)
        pilot.tally.taken -= self._cores[number]
        shape = self._shapes[number]
        pilot.free = Shape(*(a + b for a, b in zip(pilot.free, shape, strict=True)))
        if not pilot.slots:
            if pilot.allocation.draining:
                self._clock.after(LEAVE_MS, lambda: self.end(pilot, Seen.COMPLETED))
            else:
                self._idles(pilot)
        self._world.room(pilot)

    def _idles(self, pilot: SimulatedPilot) -> None:
        """End a pilot that has been idle for too long."""
        since_ms = pilot.idle_since_ms = self._clock.now

        def check() -> None:
            if pilot.idle_since_ms == since_ms:
                self.end(pilot, Seen.COMPLETED)

        self._clock.after(round(self._site.idle_s * MS), check)
