"""A model of HTCondor's negotiator: match waiting jobs with free slots, in rounds."""

from __future__ import annotations

from collections.abc import Iterable

from ..model import memory_balance as balance
from ..model.job_order import priority
from ..model.resources import Shape
from .clock import MS, Clock
from .jobs import Jobs
from .pilots import PilotPool, SimulatedPilot


class Negotiator:
    """Has a round when something changed, at whole multiples of the interval.

    Classes come in the order of their longest waiting jobs. Each takes the first room that fits, in
    the order of the negotiator's rank: the smallest room first (HTCondor manual,
    NEGOTIATOR_PRE_JOB_RANK), so that the last pilots stay empty.
    """

    def __init__(self, clock: Clock, interval_s: float, jobs: Jobs, pilot_pool: PilotPool) -> None:
        self._clock, self._jobs, self._pilot_pool = clock, jobs, pilot_pool
        self._interval_ms = max(1, round(interval_s * MS))
        self._due = False

    def wake(self) -> None:
        """Schedule the next round."""
        if not self._due:
            self._due = True
            self._clock.after(self._interval_ms - self._clock.now % self._interval_ms, self._round)

    def _round(self) -> None:
        self._due = False
        now_ms = self._clock.now
        lines = self._jobs.lines
        open_now = [
            p for p in self._pilot_pool.pilots.values() if not p.closed and p.free.cores > 0
        ]
        open_now.sort(key=lambda pilot: (pilot.free.cores, pilot.free.memory_mb, pilot.number))
        for number in self._turns([n for n, line in enumerate(lines) if line.count]):
            line, (shape, hint_s, _) = lines[number], self._jobs.classes[number]
            level = line.level
            for pilot in open_now:
                if not line.count or line.level != level:
                    break
                if not pilot.lives(hint_s * MS, now_ms):
                    continue
                while pilot.free.holds(shape) and self._may_start(shape, pilot):
                    self._pilot_pool.begin(pilot, number, line.take())
                    if not line.count or line.level != level:
                        break

    def _turns(self, waiting: list[int]) -> Iterable[int]:
        """Yield the classes of jobs that wait as they get their turn, each for its jobs of the
        highest level.
        """
        return sorted(waiting, key=lambda number: self._jobs.lines[number].number)

    def _may_start(self, shape: Shape, pilot: SimulatedPilot) -> bool:
        """Return True if the requirements of jobs, besides resources, admit `pilot`."""
        return True


class WeighingNegotiator(Negotiator):
    """The same for jobs with the priority and the requirements that ours have
    (`htcondor.submit_description`); `largest` is what the biggest pilot offers.
    """

    def __init__(
        self, clock: Clock, interval_s: float, jobs: Jobs, pilot_pool: PilotPool, largest: Shape
    ) -> None:
        super().__init__(clock, interval_s, jobs, pilot_pool)
        self._largest = largest
        self._priorities = [priority(c.shape, largest) for c in jobs.classes]
        self._apart = False

    def _turns(self, waiting: list[int]) -> Iterable[int]:
        lines, classes = self._jobs.lines, self._jobs.classes
        counts = {classes[number]: lines[number].count for number in waiting}
        self._apart = balance.apart(counts, self._largest, before=self._apart)
        left = set(waiting)
        while left:
            number = min(left, key=self._turn)
            level = lines[number].level
            yield number
            if not lines[number].count or lines[number].level == level:
                left.remove(number)

    def _turn(self, number: int) -> tuple[int, int]:
        line = self._jobs.lines[number]
        return -self._priorities[number] - line.level, line.number

    def _may_start(self, shape: Shape, pilot: SimulatedPilot) -> bool:
        if not self._apart or balance.may_start_beside(shape, pilot.allocation.shape, pilot.free):
            return True
        if self._clock.now - pilot.changed_ms >= balance.CORES_KEPT_S * MS:
            return True
        self.wake()
        return False
