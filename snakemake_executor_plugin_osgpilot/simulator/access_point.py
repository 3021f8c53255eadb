"""The jobs and the pool as a run observes them: what waits, runs and has ended, and which pilots
have registered.

The world writes it; the autoscaler reads it. Runtimes come in only when a job has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from ..jobs.state.rule_sums import RuleSums
from ..model.resources import JobClass, Shape
from ..model.snapshot import Running, UpcomingGroup
from ..model.upcoming import UpcomingWork
from ..scaling.planner.estimates import SAMPLES_MAX
from .clock import MS, Clock
from .jobs import Jobs
from .pilots import PilotPool


@dataclass(frozen=True)
class SimulatedJobs:
    """Implements `scaling.ports.JobsView`, with sums over jobs that were started together.

    No pilot is suspected, no start is suspended, and no job belongs to others. There are no rules,
    so there is no estimated time remaining, and `started` is left out, as no job gets stuck.
    """

    waiting: Mapping[JobClass, int]
    on_pilots: dict[str, tuple[Running, ...]]
    starts: Mapping[str, tuple[JobClass, float]]
    served: Mapping[str, float]
    runtimes_s: list[tuple[JobClass, float]]
    upcoming: UpcomingWork
    held: tuple[UpcomingGroup, ...] = ()
    returning: int = 0
    started: Mapping[str, float] = field(default_factory=dict)
    suspects: Mapping[str, str] = field(default_factory=dict)
    starts_paused: str = ""
    on_trial: bool = False
    ours: Container[str] = ()
    rules: Mapping[str, RuleSums] = field(default_factory=dict)

    def running(self) -> dict[str, tuple[Running, ...]]:
        return self.on_pilots

    def ends_s(self, runtime_s: Callable[[JobClass], float], now_s: float) -> dict[str, float]:
        return {
            key: started_s + runtime_s(job_class)
            for key, (job_class, started_s) in self.starts.items()
        }


class SimulatedAccessPoint:
    """Shows the jobs, and implements `scaling.ports.Pool`."""

    unsupported_schemes: frozenset[str] = frozenset()
    untested: frozenset[str] = frozenset()

    def __init__(self, clock: Clock, jobs: Jobs, pilot_pool: PilotPool) -> None:
        self._clock, self._jobs, self._pilot_pool = clock, jobs, pilot_pool
        self._ended_s: list[deque[float]] = [deque(maxlen=SAMPLES_MAX) for _ in jobs.classes]
        self._served_s: dict[str, float] = {}

    def note_ended(self, number: int, runtime_ms: int) -> None:
        """Record that a job of class `number` has ended; only the newest count for an estimate."""
        self._ended_s[number].append(runtime_ms / MS)

    def note_served(self, pilot: str, executes_ms: int) -> None:
        """Record that the first job on a pilot executes from then on."""
        self._served_s[pilot] = executes_ms / MS

    def view(self) -> SimulatedJobs:
        """Return the input of scaling; each runtime is in one view only."""
        now_s = self._clock.now_s()
        starts, upcoming = self._upcoming()
        return SimulatedJobs(
            self._waiting(),
            self._running(),
            starts,
            {name: at_s for name, at_s in self._served_s.items() if at_s <= now_s},
            self._take_runtimes(),
            upcoming,
        )

    def pilots(self) -> dict[str, dict[str, Shape]]:
        """Return the pilots that the pool knows; there are no jobs of others in them."""
        return {name: {} for name, p in self._pilot_pool.pilots.items() if p.up_ms is not None}

    def _waiting(self) -> dict[JobClass, int]:
        pairs = zip(self._jobs.classes, self._jobs.lines, strict=True)
        return {job_class: line.count for job_class, line in pairs if line.count}

    def _running(self) -> dict[str, tuple[Running, ...]]:
        classes = self._jobs.classes
        return {
            name: tuple(
                Running(classes[number], jobs, starts_ms / jobs / MS)
                for number, (jobs, starts_ms) in pilot.running.items()
                if jobs
            )
            for name, pilot in self._pilot_pool.pilots.items()
            if pilot.slots
        }

    def _take_runtimes(self) -> list[tuple[JobClass, float]]:
        pairs = zip(self._jobs.classes, self._ended_s, strict=True)
        taken = [(job_class, each) for job_class, ended_s in pairs for each in ended_s]
        for ended_s in self._ended_s:
            ended_s.clear()
        return taken

    def _upcoming(self) -> tuple[dict[str, tuple[JobClass, float]], UpcomingWork]:
        """Return class and start of jobs that others wait for, by key, and what comes next."""
        jobs, classes = self._jobs, self._jobs.classes
        starts: dict[str, tuple[JobClass, float]] = {}
        after: dict[str, dict[JobClass, int]] = {}
        others = list(jobs.in_sight)
        for number, executes_ms, followers in jobs.followers.groups():
            key = f"{number}/{executes_ms}"
            starts[key] = classes[number], executes_ms / MS
            after[key] = {classes[follower]: count for follower, count in followers.items()}
            for follower, count in followers.items():
                others[follower] -= count
        gathered = {classes[number]: count for number, count in enumerate(others) if count}
        further = {classes[number]: count for number, count in enumerate(jobs.later) if count}
        chain = dict(jobs.chain())
        return starts, UpcomingWork(after, gathered, sum(jobs.later), further, chain=chain)
