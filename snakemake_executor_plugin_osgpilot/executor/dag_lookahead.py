"""Look ahead in Snakemake's DAG: the jobs that follow those in the queue.

All methods but `ahead` are called on Snakemake's main thread: the DAG changes there and may only be
walked there. It uses public parts only (snakemake-interface-scheduler-plugins).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ..common.snakemake_types import AnyJob, Dag, JobFilter, SingleJob, single_jobs
from ..model.clock import Clock
from ..model.resources import JobClass
from ..model.upcoming import RuleAhead, UpcomingWork
from ..scaling.planner.critical_path import longest_after, longest_chain, prior_s
from .job_listeners import HandedOverJob, JobListener

WALK_SHARE = 0.02
"""Maximum share of time spent on walks: a large DAG is walked less often."""

WALK_EVERY_S = 1.0

CHAIN_SHARE = 0.9
"""The longest chain is computed again once at most this share of the jobs is left."""


ClassOf = Callable[[AnyJob], JobClass | None]
"""Returns what a job would ask for, None if unknown."""


class Lookahead(JobListener):
    """Walks the DAG now and then.

    `serves` is true of jobs that run on pilots of this run; the others run elsewhere.
    """

    def __init__(
        self,
        dag: Dag,
        clock: Clock,
        class_of: ClassOf,
        *,
        keep_going: bool = False,
        serves: JobFilter = lambda job: not job.is_local,
    ) -> None:
        self._dag = dag
        self._serves = serves
        self._clock = clock
        self._class_of = class_of
        self._keep_going = keep_going
        self._failed: set[SingleJob] = set()
        self._keys: dict[SingleJob, str] = {}
        self._done: set[SingleJob] = set()
        self._after_s: dict[SingleJob, float] = {}
        self._chain: Mapping[JobClass, int] = {}
        self._chained = 0
        self._kinds: dict[str, JobClass] = {}
        self._paths_s: dict[SingleJob, float] = {}
        self._critical_path_s = 0.0
        self._next_walk_s = float("-inf")
        self._since: Counter[JobClass] = Counter()
        self._gone: Counter[str] = Counter()
        self.ahead = UpcomingWork()

    def handed_over(self, jobs: Sequence[HandedOverJob]) -> None:
        """Record jobs that are at the access point."""
        for each in jobs:
            self.add(each.snakemake_job, each.job.key, each.job.job_class)

    def add(self, job: AnyJob, key: str, job_class: JobClass) -> None:
        """Record that `job` is at the access point as `key`."""
        self._since[job_class] += 1
        self._gone[job.name] += 1
        for member in single_jobs(job):
            self._keys[member] = key

    def after_s(self, job: AnyJob) -> float:
        """Return the time of the longest chain of jobs after `job`, as far as rules say it."""
        members = list(single_jobs(job))
        if any(member not in self._after_s for member in members):
            # at the start, and after a checkpoint
            to_do = set(self._dag.needrun_jobs()).union(members)
            self._after_s = longest_after(to_do, self._dag.job_dependencies, self._expected_s)
        return max(self._after_s[member] for member in members)

    def _expected_s(self, job: SingleJob) -> float:
        return prior_s(self._kind(job))

    def finished(self, job: AnyJob, key: str, runtime_s: float) -> None:
        """Record that `job` succeeded after running for `runtime_s`."""
        members = single_jobs(job)
        before_s = max(
            (self._paths_s.get(dep, 0.0) for m in members for dep in self._dag.job_dependencies(m)),
            default=0.0,
        )
        for member in members:
            self._done.add(member)
            self._keys.pop(member, None)
            self._paths_s[member] = before_s + runtime_s
        self._critical_path_s = max(self._critical_path_s, before_s + runtime_s)

    def failed(self, job: AnyJob) -> None:
        """Record that `job` failed; Snakemake hands it over again if it may be retried."""
        for member in single_jobs(job):
            self._keys.pop(member, None)
        if job.attempt > job.restart_times:
            self._failed.update(single_jobs(job))

    def walk(self) -> None:
        """Walk the DAG again, unless the last walk was a moment ago."""
        begun_s = self._clock.now_s()
        if begun_s < self._next_walk_s:
            since, gone = dict(self._since), dict(self._gone)
            self.ahead = replace(
                self.ahead, since=since, gone=gone, critical_path_s=self._critical_path_s
            )
            return
        self._since.clear()
        self._gone.clear()
        self.ahead = replace(self._walk(), critical_path_s=self._critical_path_s)
        spent_s = self._clock.now_s() - begun_s
        self._next_walk_s = begun_s + max(WALK_EVERY_S, spent_s / WALK_SHARE)

    def _walk(self) -> UpcomingWork:
        if self._failed and not self._keep_going:
            # Snakemake starts nothing more
            return UpcomingWork()
        to_do = {job for job in self._dag.needrun_jobs() if job not in self._done}
        to_do -= self._lost(to_do)
        frontier = _Frontier(self._dag, to_do, self._keys)
        after: defaultdict[str, Counter[JobClass]] = defaultdict(Counter)
        gathered: Counter[JobClass] = Counter()
        further: Counter[JobClass] = Counter()
        later = 0
        for job in to_do:
            if job in self._keys or not self._serves(job):
                continue
            keys = frontier.waits_for(job)
            job_class = self._class_of(job) if keys is not None else None
            if keys is None or job_class is None:
                later += 1
                if kind := self._kind(job):
                    further[kind] += 1
            elif len(keys) == 1:
                after[next(iter(keys))][job_class] += 1
            else:
                gathered[job_class] += 1
        chain, rules = self._chain_of(to_do), self._rules(to_do)
        return UpcomingWork(after, gathered, later, further, chain, rules=rules)

    def _chain_of(self, to_do: set[SingleJob]) -> Mapping[JobClass, int]:
        """Return the longest chain, or the previous one if little has changed since."""
        if not CHAIN_SHARE * self._chained < len(to_do) <= self._chained:
            self._chain = longest_chain(to_do, self._dag.job_dependencies, self._kind)
            self._chained = len(to_do)
        return self._chain

    def _rules(self, to_do: set[SingleJob]) -> dict[str, RuleAhead]:
        jobs: Counter[str] = Counter()
        cores: dict[str, float] = {}
        after: defaultdict[str, set[str]] = defaultdict(set)
        for job in to_do:
            if job not in self._keys:
                jobs[job.name] += not job.is_local
                after[job.name] |= {d.name for d in self._dag.job_dependencies(job) if d in to_do}
                if job.name not in cores:
                    job_class = self._kind(job)
                    cores[job.name] = job_class.shape.cores if job_class else 1.0
        return {
            name: RuleAhead(count, cores[name], frozenset(after[name]))
            for name, count in jobs.items()
        }

    def _kind(self, job: SingleJob) -> JobClass | None:
        """Return the class of the first job of the same rule: evaluating resources is slow."""
        if job.is_local:
            return None
        if job.name not in self._kinds:
            if (job_class := self._class_of(job)) is None:
                return None
            self._kinds[job.name] = job_class
        return self._kinds[job.name]

    def _lost(self, to_do: set[SingleJob]) -> set[SingleJob]:
        """Return the jobs that will never run because they or their dependencies failed."""
        if not self._failed:
            return set()
        needed_by: defaultdict[SingleJob, list[SingleJob]] = defaultdict(list)
        for job in to_do:
            for dependency in self._dag.job_dependencies(job):
                needed_by[dependency].append(job)
        lost: set[SingleJob] = set()
        found = list(self._failed)
        while found:
            job = found.pop()
            if job not in lost:
                lost.add(job)
                found += needed_by[job]
        return lost


_SEVERAL = frozenset(("", "more"))
"""Stands for any number of keys above one, so that a gather of thousands costs no memory."""


class _Frontier:
    """Jobs at the access point that a job waits for, directly or through local jobs."""

    def __init__(self, dag: Dag, to_do: set[SingleJob], keys: Mapping[SingleJob, str]) -> None:
        self._dag, self._to_do, self._keys = dag, to_do, keys
        self._through: dict[SingleJob, frozenset[str] | None] = {}

    def waits_for(self, job: SingleJob) -> frozenset[str] | None:
        """Return their keys, or None if it also waits for jobs not yet handed over."""
        found: frozenset[str] = frozenset()
        for dependency in self._dag.job_dependencies(job):
            if dependency not in self._to_do:
                continue
            keys = self._of(dependency)
            if keys is None:
                return None
            found = found | keys if len(found | keys) < 2 else _SEVERAL
        return found

    def _of(self, job: SingleJob) -> frozenset[str] | None:
        if key := self._keys.get(job):
            return frozenset((key,))
        if not job.is_local:
            return None
        if job not in self._through:
            self._through[job] = None  # a cycle cannot be, but a deep chain of local jobs can
            self._through[job] = self.waits_for(job)
        return self._through[job]
