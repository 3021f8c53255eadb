"""What HTCondor's negotiator does: it brings waiting jobs and free room together, in rounds."""

from __future__ import annotations

from snakemake_executor_plugin_osgpilot.simulate.clock import MS, Clock
from snakemake_executor_plugin_osgpilot.simulate.jobs import Jobs
from snakemake_executor_plugin_osgpilot.simulate.pilots import Farm


class Negotiator:
    """Has a round when something changed, at whole multiples of the interval.

    Classes come in the order of their longest waiting jobs. Each takes the first room that fits, in
    the order of the negotiator's rank: the smallest room first (HTCondor manual,
    NEGOTIATOR_PRE_JOB_RANK), so that the last pilots stay empty.
    """

    def __init__(self, clock: Clock, interval_s: float, jobs: Jobs, farm: Farm) -> None:
        self._clock, self._jobs, self._farm = clock, jobs, farm
        self._interval_ms = max(1, round(interval_s * MS))
        self._due = False

    def wake(self) -> None:
        """Have a round at the next time for one."""
        if not self._due:
            self._due = True
            self._clock.after(self._interval_ms - self._clock.now % self._interval_ms, self._round)

    def _round(self) -> None:
        self._due = False
        now_ms = self._clock.now
        lines = self._jobs.lines
        open_now = [p for p in self._farm.pilots.values() if not p.closed and p.free.cores > 0]
        open_now.sort(key=lambda pilot: (pilot.free.cores, pilot.free.memory_mb, pilot.number))
        waiting = [number for number, line in enumerate(lines) if line.count]
        for number in sorted(waiting, key=lambda number: lines[number].number):
            line, (shape, hint_s) = lines[number], self._jobs.classes[number]
            for pilot in open_now:
                if not line.count:
                    break
                if not pilot.lives(hint_s * MS, now_ms):
                    continue
                for _ in range(min(line.count, pilot.free.holds(shape))):
                    self._farm.begin(pilot, number, line.take())
