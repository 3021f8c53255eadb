"""Jobs of the workflow that Snakemake has not submitted yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from .resources import JobClass
from .snapshot import UpcomingGroup


@dataclass(frozen=True)
class RuleAhead:
    """Upcoming jobs of a rule: their number, the cores of one, and the rules they depend on."""

    jobs: int
    cores: float = 1.0
    after: frozenset[str] = frozenset()


@dataclass(frozen=True)
class UpcomingWork:
    """Upcoming jobs. `after` counts those that depend on a single job, by that job's key.

    `gathered` counts those that wait for several jobs which are all at the access point, `later`
    all others, and `further` says of these, as far as it is known, what they ask for. `chain` is
    the longest chain of jobs that have not ended. `since` counts what was handed over after the DAG
    was walked: it is not to come any more; `gone` counts the same by rule. `rules` has all that was
    to come then, by rule; jobs that run beside Snakemake count for none. `critical_path_s` is the
    longest chain of runtimes of jobs that have ended: no number of pilots is faster than that.
    """

    after: Mapping[str, Mapping[JobClass, int]] = field(default_factory=dict)
    gathered: Mapping[JobClass, int] = field(default_factory=dict)
    later: int = 0
    further: Mapping[JobClass, int] = field(default_factory=dict)
    chain: Mapping[JobClass, int] = field(default_factory=dict)
    since: Mapping[JobClass, int] = field(default_factory=dict)
    rules: Mapping[str, RuleAhead] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    critical_path_s: float = 0.0

    @cached_property
    def to_come(self) -> int:
        """The known number of jobs that are not submitted yet."""
        return sum(group.jobs for group in self.soon({})) + self.later

    def soon(self, ends_s: Mapping[str, float]) -> tuple[UpcomingGroup, ...]:
        """Return the upcoming jobs, given the expected ends of running jobs by key."""
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
    """Yield `groups` without the jobs that are `gone`, the soonest first."""
    for group in sorted(groups, key=lambda soon: (soon.ready_s is None, soon.ready_s or 0.0)):
        taken = min(gone[group.job_class], group.jobs)
        gone[group.job_class] -= taken
        if taken < group.jobs:
            yield group._replace(jobs=group.jobs - taken)
