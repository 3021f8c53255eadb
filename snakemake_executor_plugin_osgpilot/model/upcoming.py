"""What comes after the jobs at the access point."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from snakemake_executor_plugin_osgpilot.model.resources import JobClass
from snakemake_executor_plugin_osgpilot.model.snapshot import UpcomingGroup


@dataclass(frozen=True)
class RuleAhead:
    """Jobs of a rule that are to come: how many, the cores of one, and the rules they wait for."""

    jobs: int
    cores: float = 1.0
    after: frozenset[str] = frozenset()


@dataclass(frozen=True)
class UpcomingWork:
    """Jobs that follow. `after` counts those that wait for a single job, by that job's key.

    `gathered` counts those that wait for several jobs which are all at the access point, `later`
    all others, and `further` says of these, as far as it is known, what they ask for. `chain` is
    the longest chain of jobs that have not ended. `since` counts what was handed over after the DAG
    was walked: it is not to come any more; `gone` counts the same by rule. `rules` has all that was
    to come then, by rule; jobs that run beside Snakemake count for none.
    """

    after: Mapping[str, Mapping[JobClass, int]] = field(default_factory=dict)
    gathered: Mapping[JobClass, int] = field(default_factory=dict)
    later: int = 0
    further: Mapping[JobClass, int] = field(default_factory=dict)
    chain: Mapping[JobClass, int] = field(default_factory=dict)
    since: Mapping[JobClass, int] = field(default_factory=dict)
    rules: Mapping[str, RuleAhead] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)

    @cached_property
    def to_come(self) -> int:
        """How many jobs are still to be handed over, as far as is known."""
        return sum(group.jobs for group in self.soon({})) + self.later

    def soon(self, ends_s: Mapping[str, float]) -> tuple[UpcomingGroup, ...]:
        """Return the jobs to come, given when jobs that run are expected to end, by key."""
        known: Counter[tuple[JobClass, float]] = Counter()
        open_end: Counter[JobClass] = Counter(self.gathered)
        for key, followers in self.after.items():
            for job_class, jobs in followers.items():
                if key in ends_s:
                    known[job_class, 60 * round(ends_s[key] / 60)] += jobs
                else:
                    open_end[job_class] += jobs
        groups = [
            *(UpcomingGroup(job_class, jobs, at_s) for (job_class, at_s), jobs in known.items()),
            *(UpcomingGroup(job_class, jobs, None) for job_class, jobs in open_end.items()),
        ]
        return tuple(_less(groups, Counter(self.since)))


def _less(groups: Iterable[UpcomingGroup], gone: Counter[JobClass]) -> Iterator[UpcomingGroup]:
    """Return `groups` without the jobs that are `gone`, the soonest first."""
    for group in sorted(groups, key=lambda soon: (soon.ready_s is None, soon.ready_s or 0.0)):
        taken = min(gone[group.job_class], group.jobs)
        gone[group.job_class] -= taken
        if taken < group.jobs:
            yield group._replace(jobs=group.jobs - taken)
