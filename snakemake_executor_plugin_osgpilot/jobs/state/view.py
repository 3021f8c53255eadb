"""The input of scaling from the jobs of a run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from ...model.resources import JobClass
from ...model.snapshot import Running, UpcomingGroup
from ...model.upcoming import UpcomingWork
from .job import Job
from .rule_sums import RuleSums


@dataclass(frozen=True)
class View:
    """The jobs at one moment.

    `waiting` counts by class, `served` has the time of the first job start by pilot, `started` that
    of the latest one, `runtimes_s` the classes and runtimes of jobs that succeeded since the last
    view, `suspects` the reason why jobs avoid a pilot, `starts_paused` the reason why no job may
    start now (empty: they may), but for some if any are `on_trial`. `ours` has the ids of
    all jobs that are or were of this run, `rules` the sums over the jobs of each rule, `upcoming`
    the jobs that Snakemake has not submitted yet, `held` those on hold that will wait again,
    `returning` the number of jobs that failed and may be handed over again.
    """

    waiting: Counter[JobClass]
    executing: tuple[Job, ...]
    served: dict[str, float]
    runtimes_s: list[tuple[JobClass, float]]
    suspects: Mapping[str, str]
    starts_paused: str = ""
    ours: Container[str] = ()
    started: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[str, RuleSums] = field(default_factory=dict)
    on_trial: bool = False
    upcoming: UpcomingWork = field(default_factory=UpcomingWork)
    held: tuple[UpcomingGroup, ...] = ()
    returning: int = 0

    def running(self) -> dict[str, tuple[Running, ...]]:
        """Return the running jobs on each pilot, by class."""
        starts_s: defaultdict[tuple[str, JobClass], list[float]] = defaultdict(list)
        for job in self.executing:
            starts_s[job.pilot, job.job_class].append(job.started_s or 0.0)
        by_pilot: defaultdict[str, list[Running]] = defaultdict(list)
        for (pilot, job_class), starts in starts_s.items():
            by_pilot[pilot].append(Running(job_class, len(starts), sum(starts) / len(starts)))
        return {pilot: tuple(groups) for pilot, groups in by_pilot.items()}

    def ends_s(self, runtime_s: Callable[[JobClass], float], now_s: float) -> dict[str, float]:
        """Return when running jobs will have taken the runtime of their class, by key."""
        return {
            job.key: (job.started_s or now_s) + runtime_s(job.job_class) for job in self.executing
        }
