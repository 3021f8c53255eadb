"""The result of a preview, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Protocol

from ..model.plan import Infeasible, Refusal
from ..model.resources import Shape
from ..routing.rules import RouteDecision
from ..scaling.planner.bounds import Case, Expected, Task
from ..staging.shared_inputs import InputTotals
from .dry_plan import Start
from .lead_times import Coming


class Forecaster(Protocol):
    """Estimates the duration and cost of a workflow."""

    def __call__(self, case: Case) -> Expected: ...


class Drawn(NamedTuple):
    """The jobs of a workflow in topological order, and the numbers of each one's predecessors."""

    tasks: list[Task]
    parents: list[list[int]]


@dataclass(frozen=True)
class Verdict:
    """Slurm's answer to an offer's pilots (`sbatch --test-only`), and the request.

    `wait_s` is Slurm's estimate of the wait, None without one, `cores` what it would give such a
    pilot (0: it does not say). `files` are those of the pilot, text
    by name.
    """

    offer: str
    shape: Shape
    accepted: bool
    said: str
    wait_s: float | None
    cores: int
    sbatch: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """One kind of job: its rules and its submit description."""

    rules: tuple[str, ...]
    description: Mapping[str, str]


@dataclass(frozen=True)
class PlannedSoftware:
    """A conda environment and the rules that use it.

    `image` is the file with it, of `size_mb`; empty if it has to be packed, or to be made before
    unless it `is_made`, `by_job` if a pilot makes it.
    """

    name: str
    rules: tuple[str, ...]
    image: str
    size_mb: int
    is_made: bool
    by_job: bool = False


@dataclass(frozen=True)
class ProjectPreview:
    """The plan for one project.

    `waiting` jobs are ready now, `to_come` follow them. `refusals` are the limits that stop further
    pilots, `infeasible` the jobs that no pilot can hold, `coming` the expected lead times,
    `software` the conda environments, `inputs` the sizes of all inputs that are there.
    """

    project: str
    waiting: int
    to_come: int
    starts: tuple[Start, ...]
    refusals: tuple[Refusal, ...]
    infeasible: tuple[Infeasible, ...]
    expected: Expected
    coming: Coming
    verdicts: tuple[Verdict, ...]
    samples: tuple[Sample, ...]
    software: tuple[PlannedSoftware, ...] = ()
    inputs: InputTotals = field(default_factory=InputTotals)

    @property
    def pilots(self) -> int:
        """The number of pilots to start."""
        return sum(start.count for start in self.starts)


@dataclass(frozen=True)
class Preview:
    """A run before it begins: routes of rules, the plan of each project, the pilots' script.

    `local` has the number of jobs that Snakemake runs itself, by rule, `checkpoints` the rules
    after which more jobs may come, `unseen` the rules without a job so far, and `silent` why a site
    does not answer, by its name. `in_use` is why no run can begin in this folder now, empty if one
    can. `is_locked` is True if Snakemake has locked files of the workflow in this folder.
    """

    routes: tuple[RouteDecision, ...]
    projects: tuple[ProjectPreview, ...]
    pilot_script: str
    local: Mapping[str, int] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    in_use: str = ""
    is_locked: bool = False

    @property
    def refused(self) -> bool:
        """True if no run can begin now, or Slurm would refuse pilots."""
        verdicts = (each for project in self.projects for each in project.verdicts)
        return bool(self.in_use) or not all(each.accepted for each in verdicts)

    def as_data(self) -> dict[str, object]:
        """Return it as plain data for JSON, without infinities."""
        routes = [
            {
                "rules": list(decision.names),
                "where": decision.route.where.value if decision.route.where else None,
                "project": decision.project,
                "reason": decision.route.reason,
                "line": str(decision),
            }
            for decision in self.routes
        ]
        projects = [_finite(_named(asdict(project))) for project in self.projects]
        return {
            "routes": routes,
            "projects": projects,
            "pilot_script": self.pilot_script,
            "local": dict(self.local),
            "checkpoints": list(self.checkpoints),
            "unseen": list(self.unseen),
            "silent": dict(self.silent),
            "in_use": self.in_use,
            "is_locked": self.is_locked,
        }


def _named(project: dict[str, Any]) -> dict[str, Any]:
    for verdict in project["verdicts"]:
        verdict["shape"] = Shape(*verdict["shape"])._asdict()
    return project


def _finite(value: object) -> object:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
