"""The known state of a run as input of explanations; and explanations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median

from ..model.plan import Refusal
from ..model.resources import END_MARGIN_S, Policy, Shape
from ..model.upcoming import RuleAhead
from ..report.entities import Job, Pilot


@dataclass(frozen=True)
class Facts:
    """A run at `at_s`.

    `alive` is True while a Snakemake process drives it, `ended` once it has ended. `refusals` are
    those of the latest plan, `unanswered` names the services that did not answer. `upcoming` has
    the rules whose jobs are not ready yet, each with the rules that they wait for. `error` is the
    error that stopped Snakemake, empty without one.
    """

    at_s: float
    alive: bool
    ended: bool
    policy: Policy | None
    jobs: tuple[Job, ...]
    pilots: tuple[Pilot, ...]
    refusals: tuple[Refusal, ...] = ()
    unanswered: tuple[str, ...] = ()
    upcoming: Mapping[str, RuleAhead] = field(default_factory=dict)
    error: str = ""

    @cached_property
    def has_several_sites(self) -> bool:
        """True if there are pilots at more than one site."""
        return len({pilot.site for pilot in self.pilots}) > 1

    def running_on(self, pilot: Pilot) -> list[Job]:
        """Return the jobs that run on a pilot."""
        return self._running.get(pilot.name, [])

    def free(self, pilot: Pilot) -> Shape:
        """Return the shape of a pilot less what runs there."""
        free = pilot.shape
        for job in self.running_on(pilot):
            free -= job.job_class.shape
        return free

    def life_s(self, pilot: Pilot) -> float:
        """Return the longest runtime of a job that starts there now, or when the pilot is up."""
        if pilot.waits or pilot.ends_s is None:
            return pilot.walltime_s - (self.policy.life_taken_s if self.policy else 0)
        return pilot.ends_s - END_MARGIN_S - self.at_s

    def usual_s(self, rule: str) -> float | None:
        """Return the median time that jobs of a rule took, None before one ended."""
        return self._usual_s.get(rule)

    @cached_property
    def _running(self) -> dict[str, list[Job]]:
        running: defaultdict[str, list[Job]] = defaultdict(list)
        for job in self.jobs:
            if job.state == "running" and job.last is not None:
                running[job.last.pilot].append(job)
        return running

    @cached_property
    def _usual_s(self) -> dict[str, float]:
        took_s: defaultdict[str, list[float]] = defaultdict(list)
        for job in self.jobs:
            if job.state == "done" and job.last is not None and job.last.stopped_s is not None:
                took_s[job.rule].append(job.last.stopped_s - job.last.started_s)
        return {rule: median(times) for rule, times in took_s.items()}


@dataclass(frozen=True)
class Explanation:
    """Why `subject` is as it is, in lines, and the next step (empty: none is needed)."""

    subject: str
    lines: tuple[str, ...]
    next_step: str = ""
