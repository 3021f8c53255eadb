"""The jobs of a run as scaling sees them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.jobs.state.table import RuleSums
from snakemake_executor_plugin_osgpilot.model.resources import JobClass
from snakemake_executor_plugin_osgpilot.model.snapshot import Running
from snakemake_executor_plugin_osgpilot.model.upcoming import UpcomingWork


@dataclass(frozen=True)
class View:
    """One look at the jobs.

    `waiting` counts by class, `served` has pilots and when the first job started there, `started`
    when the latest one did, `runtimes_s` the classes and runtimes of jobs that succeeded since the
    last view, `suspects` why jobs are kept off some pilots, `brake` why no job is started now
    (empty: they are), but for some if any are `on_trial`. `ours` tells of a job by its id whether
    it is or was of this run, `rules` has the sums over the jobs of each rule, `upcoming` the jobs
    that Snakemake has not submitted yet.
    """

    waiting: Counter[JobClass]
    executing: tuple[Job, ...]
    served: dict[str, float]
    runtimes_s: list[tuple[JobClass, float]]
    suspects: Mapping[str, str]
    brake: str = ""
    ours: Container[str] = ()
    started: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[str, RuleSums] = field(default_factory=dict)
    on_trial: bool = False
    upcoming: UpcomingWork = field(default_factory=UpcomingWork)

    def running(self) -> dict[str, tuple[Running, ...]]:
        """Return what runs on each pilot, by class."""
        starts_s: defaultdict[tuple[str, JobClass], list[float]] = defaultdict(list)
        for job in self.executing:
            starts_s[job.pilot, job.job_class].append(job.started_s or 0.0)
        by_pilot: defaultdict[str, list[Running]] = defaultdict(list)
        for (pilot, job_class), starts in starts_s.items():
            by_pilot[pilot].append(Running(job_class, len(starts), sum(starts) / len(starts)))
        return {pilot: tuple(groups) for pilot, groups in by_pilot.items()}
