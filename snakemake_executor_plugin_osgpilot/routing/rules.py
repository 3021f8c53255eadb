"""Collect facts about the rules in the DAG, and route each rule."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path
from typing import TypeVar

from ..common.names import safe_name
from ..common.snakemake_types import AnyJob, Dag, SingleJob
from ..errors import InputError
from ..htcondor.raw_submit_commands import ATTRIBUTE, COMMAND
from ..model.identity import PilotSharing
from ..staging.container_image import NO_IMAGE
from ..staging.early_values import resources_of
from ..staging.payload import members
from ..staging.resource_request import Requests, known_resources
from ..staging.rule_resources import HINT, IMAGE, PARTITION, PILOT_CORES, PROJECT, SHARING
from ..staging.slurm_resources import Ties, ties
from .policy import Hint, Route, RuleFacts, Ways, Where, expected_core_s, route

SAMPLE_MAX = 20
"""Maximum number of jobs sampled per rule: evaluating resources of 40,000 jobs takes 18 s."""

_MB = 1024 * 1024

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class RouteDecision:
    """The route of the rules `names`, which run together.

    `project` pays if that is the OSPool; `pilot_sharing` is empty if it
    is as the setting says.
    """

    names: tuple[str, ...]
    route: Route
    project: str = ""
    pilot_sharing: str = ""

    def __str__(self) -> str:
        where = self.route.where.value if self.route.where else "nowhere"
        whose = whose_text(self.project, self.pilot_sharing)
        project = f" ({whose})" if whose else ""
        return f"{_label(self.names)} -> {where}{project}: {self.route.reason}"


@dataclass
class RuleRouter:
    """Decides once per rule. `project` and `pilot_sharing` are the workflow's, `seen_core_s` what a
    job of a rule took in an earlier run. Used on Snakemake's main thread.
    """

    dag: Dag
    ways: Ways
    requests: Requests
    project: str
    seen_core_s: Mapping[str, float]
    pilot_sharing: str = PilotSharing.WORKFLOW
    by_rule: dict[str, RouteDecision] = field(default_factory=dict)
    _samples: dict[str, list[SingleJob]] = field(default_factory=dict)

    def decide(self) -> list[RouteDecision]:
        """Route the new rules of the DAG, and return the decisions; earlier ones stay.

        Raises `InputError` naming the rule, before anything is decided, if one cannot run.
        """
        jobs_of: defaultdict[str, list[SingleJob]] = defaultdict(list)
        groups: defaultdict[str, set[str]] = defaultdict(set)
        for job in self.dag.needrun_jobs():
            if job.is_local:
                continue
            name = str(job.rule)
            jobs_of[name].append(job)
            if job.group is not None:
                groups[str(job.group)].add(name)
        decided = [
            decision
            for names in _together(jobs_of, groups.values())
            for decision in self._decide_for(names, jobs_of)
        ]
        for decision in decided:
            self.by_rule.update(dict.fromkeys(decision.names, decision))
            self._samples.update((name, jobs_of[name][:1]) for name in decision.names)
        return decided

    def knows(self, job: AnyJob) -> bool:
        """Return True if all rules of `job` are routed."""
        return all(str(part.rule) in self.by_rule for part in members(job))

    def check(self, job: AnyJob) -> None:
        """Raise `InputError` if a job's resources differ from those that decided for its rule."""
        for part in members(job):
            for resource in (HINT, PROJECT, SHARING):
                _same(str(part.rule), resource, [*self._samples[str(part.rule)], part])
            decided = self.by_rule[str(part.rule)]
            if decided.route.where is Where.OSPOOL and (needs := self._slurm_ties([part]).needs):
                raise InputError(
                    f"rule {part.rule}: this job has the resource {needs[0]}, which is for plain "
                    "Slurm jobs, but the rule goes to the OSPool for its other jobs; set "
                    "ospool=False, or make it the same for all"
                )

    def of(self, job: AnyJob) -> RouteDecision | None:
        """Return the decision for a job or group job, None if there is none yet."""
        return self.by_rule.get(str(members(job)[0].rule))

    def _decide_for(
        self, names: tuple[str, ...], jobs_of: Mapping[str, list[SingleJob]]
    ) -> Iterator[RouteDecision]:
        known = [self.by_rule[name] for name in names if name in self.by_rule]
        new = tuple(name for name in names if name not in self.by_rule)
        if not new:
            return
        samples = {name: _sample(jobs_of[name]) for name in names}
        if known:
            needs = self._slurm_ties(job for name in new for job in samples[name]).needs
            _check_joins(new, _agreed(HINT, _hints(samples)), needs, known[0])
            yield replace(known[0], names=new)
            return
        facts = self._facts(names, samples, {name: len(jobs_of[name]) for name in names})
        decided = route(facts, self.ways)
        if decided.where is None:
            raise InputError(f"{_label(names)}: {decided.reason}")
        project = _agreed(PROJECT, _projects(samples)) or self.project
        sharing = _agreed(SHARING, _sharings(samples)) or self.pilot_sharing
        if decided.where is not Where.OSPOOL:
            yield RouteDecision(names, decided)
        else:
            yield RouteDecision(
                names, decided, project, "" if sharing == self.pilot_sharing else sharing
            )

    def _facts(
        self,
        names: tuple[str, ...],
        samples: Mapping[str, list[SingleJob]],
        jobs: Mapping[str, int],
    ) -> RuleFacts:
        classes, core_s = set(), 0.0
        for name in names:
            asked = [self.requests.of(job, NO_IMAGE).job_class for job in samples[name]]
            classes.update(asked)
            mean_s = self.seen_core_s.get(name) or _mean(
                expected_core_s(job_class, _runtime_s(job))
                for job_class, job in zip(asked, samples[name], strict=True)
            )
            core_s += jobs[name] * mean_s
        sampled = [job for name in names for job in samples[name]]
        return RuleFacts(
            sum(jobs.values()),
            frozenset(classes),
            core_s,
            max(map(_runtime_s, sampled)),
            max(map(_input_mb, sampled)),
            next((tie for job in sampled if (tie := _tied_to(job))), ""),
            _agreed(HINT, _hints(samples)),
            seen=all(name in self.seen_core_s for name in names),
            slurm=self._slurm_ties(sampled),
        )

    def _slurm_ties(self, jobs: Iterable[AnyJob]) -> Ties:
        found = (ties(known_resources(job), self.ways.constraint) for job in jobs)
        return reduce(Ties.__or__, found, Ties())


def whose_text(project: str, sharing: str) -> str:
    """Return project and pilot sharing as a prefix of log lines; either may be empty."""
    return ", ".join(filter(None, (project, sharing and f"pilot-sharing {sharing}")))


def _together(names: Iterable[str], groups: Iterable[set[str]]) -> Iterator[tuple[str, ...]]:
    """Yield sets of rules that must have the same route because they share groups."""
    sets = [{name} for name in names]
    for group in groups:
        joined = [one for one in sets if one & group]
        sets = [one for one in sets if not one & group] + [set().union(*joined)]
    return iter(sorted(tuple(sorted(one)) for one in sets))


def _sample(jobs: list[SingleJob]) -> list[SingleJob]:
    """Return a sample of a rule's jobs that does not depend on the order of `jobs`."""
    return heapq.nsmallest(SAMPLE_MAX, jobs, key=lambda job: str(job.output))


def _hints(samples: Mapping[str, list[SingleJob]]) -> dict[str, Hint]:
    words = {"true": Hint.YES, "false": Hint.NO, "auto": Hint.AUTO}
    hints: dict[str, Hint] = {}
    for name, value in _set(samples, HINT):
        hint = words.get(str(value).lower()) if isinstance(value, bool | str) else None
        if hint is None:
            raise InputError(
                f"rule {name}: the resource ospool is {value!r}; it has to be True, False or "
                '"auto", and known before the first job runs'
            )
        hints[name] = hint
    return hints


def _projects(samples: Mapping[str, list[SingleJob]]) -> dict[str, str]:
    return {
        name: safe_name(str(value), f"rule {name}: the resource osg_project")
        for name, value in _set(samples, PROJECT)
    }


def _sharings(samples: Mapping[str, list[SingleJob]]) -> dict[str, str]:
    given = {}
    for name, value in _set(samples, SHARING):
        if value not in list(PilotSharing):
            raise InputError(
                f"rule {name}: the resource osgpilot_pilot_sharing is {value!r}; it can be "
                f"{', '.join(PilotSharing)}"
            )
        given[name] = str(value)
    return given


def _set(samples: Mapping[str, list[SingleJob]], resource: str) -> Iterator[tuple[str, object]]:
    """Yield the rules that set `resource`, with its value. Raises `InputError` if jobs differ."""
    for name, jobs in samples.items():
        value = _same(name, resource, jobs)
        if value is not None:
            yield name, value


def _same(name: str, resource: str, jobs: Iterable[AnyJob]) -> object:
    values = {repr(value): value for value in (resources_of(job).get(resource) for job in jobs)}
    if len(values) > 1:
        raise InputError(
            f"rule {name}: the resource {resource} has to be the same for all of its jobs, "
            f"not {' and '.join(sorted(values)[:2])}"
        )
    return next(iter(values.values()), None)


def _agreed(resource: str, given: Mapping[str, _Value]) -> _Value | None:
    """Return the value set by rules of a group, None if none. Raises `InputError` if they differ.

    "auto" does not yield to other values: Snakemake cannot group text with anything else.
    """
    values = set(given.values())
    if len(values) > 1:
        raise InputError(
            f"{_label(tuple(sorted(given)))} do not agree on the resource {resource}: "
            "rules of a group have the same route"
        )
    return values.pop() if values else None


def _check_joins(
    names: tuple[str, ...], hint: Hint | None, needs: tuple[str, ...], known: RouteDecision
) -> None:
    """Raise `InputError` if later rules conflict with the route of their group."""
    in_ospool = known.route.where is Where.OSPOOL
    if in_ospool and needs:
        raise InputError(
            f"{_label(names)}: {needs[0]} is for plain Slurm jobs, but the group runs on pilots "
            f"already: {known}"
        )
    if hint is (Hint.NO if in_ospool else Hint.YES):
        raise InputError(
            f"{_label(names)}: {hint.value} is too late, as the group runs elsewhere already: "
            f"{known}"
        )


def _tied_to(job: AnyJob) -> str:
    """Return the first resource that only HTCondor and pilots support."""
    given = (name for name, value in resources_of(job).items() if value not in (None, ""))
    tying = (IMAGE, PARTITION, PILOT_CORES)
    return min((n for n in given if n in tying or n.startswith((COMMAND, ATTRIBUTE))), default="")


def _runtime_s(job: AnyJob) -> int:
    value = resources_of(job).get("runtime")
    return int(60 * value) if isinstance(value, int | float) else 0


def _input_mb(job: SingleJob) -> float:
    """Return the size of existing inputs that would be transferred."""
    local = (Path(str(file)) for file in job.input if not getattr(file, "is_storage", False))
    paths = (path for path in local if not path.is_absolute() and path.is_file())
    return sum(path.stat().st_size for path in paths) / _MB


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _label(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"rule {names[0]}"
    return f"rules {', '.join(names[:-1])} and {names[-1]} (grouped)"
