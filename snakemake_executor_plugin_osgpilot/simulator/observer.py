"""The jobs as a run observes them: waiting and running ones, and their runtimes.

The world writes it; the manager reads it. Runtimes come in only when a job has ended.
"""

from __future__ import annotations

from collections import deque

from ..model.resources import JobClass
from ..model.snapshot import Running
from ..model.upcoming import UpcomingWork
from ..scaling.planner.estimates import SAMPLES_MAX, Estimates
from .clock import MS
from .jobs import Jobs
from .pilots import PilotPool


class Observer:
    """Looks at the access point's side of jobs."""

    def __init__(self, jobs: Jobs, farm: PilotPool) -> None:
        self._jobs, self._farm = jobs, farm
        self._ended_s: list[deque[float]] = [deque(maxlen=SAMPLES_MAX) for _ in jobs.classes]
        self.served_s: dict[str, float] = {}
        """The time of the first job start by pilot."""

    def note_ended(self, number: int, runtime_ms: int) -> None:
        """A job of class `number` has ended; only the newest count for an estimate."""
        self._ended_s[number].append(runtime_ms / MS)

    def waiting(self) -> dict[JobClass, int]:
        """Return how many jobs wait, by class."""
        pairs = zip(self._jobs.classes, self._jobs.lines, strict=True)
        return {job_class: line.count for job_class, line in pairs if line.count}

    def running(self) -> dict[str, tuple[Running, ...]]:
        """Return what runs on each pilot, by class."""
        classes = self._jobs.classes
        return {
            name: tuple(
                Running(classes[number], jobs, starts_ms / jobs / MS)
                for number, (jobs, starts_ms) in pilot.running.items()
                if jobs
            )
            for name, pilot in self._farm.pilots.items()
            if pilot.slots
        }

    def registered(self) -> frozenset[str]:
        """Return the pilots that the pool knows."""
        return frozenset(n for n, p in self._farm.pilots.items() if p.up_ms is not None)

    def learn(self, known: Estimates) -> Estimates:
        """Return `known` with the jobs that have ended since the last call."""
        for job_class, ended_s in zip(self._jobs.classes, self._ended_s, strict=True):
            for runtime_s in ended_s:
                known = known.with_runtime(job_class, runtime_s)
            ended_s.clear()
        return known

    def ahead(self, estimates: Estimates) -> tuple[UpcomingWork, dict[str, float]]:
        """Return what comes next, and when jobs that something waits for are expected to end."""
        jobs, classes = self._jobs, self._jobs.classes
        ends_s: dict[str, float] = {}
        after: dict[str, dict[JobClass, int]] = {}
        others = list(jobs.in_sight)
        for number, executes_ms, followers in jobs.followers.groups():
            key = f"{number}/{executes_ms}"
            ends_s[key] = executes_ms / MS + estimates.runtime_s(classes[number])
            after[key] = {classes[follower]: count for follower, count in followers.items()}
            for follower, count in followers.items():
                others[follower] -= count
        gathered = {classes[number]: count for number, count in enumerate(others) if count}
        further = {classes[number]: count for number, count in enumerate(jobs.later) if count}
        ahead = UpcomingWork(after, gathered, sum(jobs.later), further, chain=dict(jobs.chain()))
        return ahead, ends_s
