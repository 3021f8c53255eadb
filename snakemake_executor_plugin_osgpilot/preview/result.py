"""What is told of a run before it is begun, as values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

from snakemake_executor_plugin_osgpilot.model.plan import Infeasible, Refusal
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.preview.dry_plan import Start
from snakemake_executor_plugin_osgpilot.preview.lead_times import Coming
from snakemake_executor_plugin_osgpilot.routing.rules import RouteDecision
from snakemake_executor_plugin_osgpilot.scaling.planner.bounds import Case, Expected, Task


class Forecaster(Protocol):
    """Whoever tells how long a workflow takes, and what it costs."""

    def __call__(self, case: Case) -> Expected: ...


class Drawn(NamedTuple):
    """The jobs of a workflow in an order in which they can run, and the numbers of those that each
    waits for."""

    tasks: list[Task]
    parents: list[list[int]]


@dataclass(frozen=True)
class Verdict:
    """What Slurm says to an offer's pilots (`sbatch --test-only`), and how it is asked for one.

    `wait_s` is when it would start one, None if it does not say. `files` are those of the pilot,
    text by name.
    """

    offer: str
    shape: Shape
    accepted: bool
    said: str
    wait_s: float | None
    sbatch: tuple[str, ...]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Sample:
    """One kind of job: the rules that have it, how it runs there, and its submit description."""

    rules: tuple[str, ...]
    payload: str
    description: Mapping[str, str]


@dataclass(frozen=True)
class ProjectPreview:
    """What is done for one project. `waiting` jobs are ready now, `to_come` follow them.

    `refusals` say why no more pilots are started, `unfit` which jobs no pilot can hold, `coming`
    what was expected of pilots.
    """

    project: str
    waiting: int
    to_come: int
    starts: tuple[Start, ...]
    refusals: tuple[Refusal, ...]
    unfit: tuple[Infeasible, ...]
    expected: Expected
    coming: Coming
    verdicts: tuple[Verdict, ...]
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Preview:
    """A run before it is begun: where rules go, what happens for each project, pilots' script."""

    routes: tuple[RouteDecision, ...]
    projects: tuple[ProjectPreview, ...]
    pilot_script: str

    def as_data(self) -> dict[str, Any]:
        """Return it as plain data for JSON, which has no infinity."""
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
        return {"routes": routes, "projects": projects, "pilot_script": self.pilot_script}


def _named(project: dict[str, Any]) -> dict[str, Any]:
    for verdict in project["verdicts"]:
        verdict["shape"] = Shape(*verdict["shape"])._asdict()
    return project


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
