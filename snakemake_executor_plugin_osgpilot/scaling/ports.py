"""Interfaces of the jobs, the pool and the planner as the autoscaler uses them."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import Protocol

from ..jobs.state.rule_sums import RuleSums
from ..model.plan import Plan
from ..model.resources import JobClass, Policy, Shape
from ..model.snapshot import Running, Snapshot, UpcomingGroup
from ..model.upcoming import UpcomingWork
from .planner.estimates import Estimates

Planner = Callable[[Snapshot, Estimates, Policy], Plan]
"""The signature of `planner.planner.plan`, and of every other scaling policy."""


class JobsView(Protocol):
    """The jobs of a run at one moment; see `jobs.state.view.View`."""

    @property
    def waiting(self) -> Mapping[JobClass, int]: ...
    @property
    def served(self) -> Mapping[str, float]: ...
    @property
    def started(self) -> Mapping[str, float]: ...
    @property
    def runtimes_s(self) -> list[tuple[JobClass, float]]: ...
    @property
    def suspects(self) -> Mapping[str, str]: ...
    @property
    def starts_paused(self) -> str: ...
    @property
    def on_trial(self) -> bool: ...
    @property
    def ours(self) -> Container[str]: ...
    @property
    def rules(self) -> Mapping[str, RuleSums]: ...
    @property
    def upcoming(self) -> UpcomingWork: ...
    @property
    def held(self) -> tuple[UpcomingGroup, ...]: ...
    @property
    def returning(self) -> int: ...

    def running(self) -> dict[str, tuple[Running, ...]]:
        """Return the running jobs on each pilot, by class."""

    def ends_s(self, runtime_s: Callable[[JobClass], float], now_s: float) -> dict[str, float]:
        """Return when running jobs will have taken the runtime of their class, by key."""


class Pool(Protocol):
    """The pool's view of the pilots."""

    def pilots(self) -> Mapping[str, Mapping[str, Shape]]:
        """Return this run's registered pilots by name, each with the jobs in it (see
        `AccessPoint`). Raises `OutcomeUnknownError`.
        """

    @property
    def untested(self) -> frozenset[str]:
        """See `AccessPoint`."""

    @property
    def unsupported_schemes(self) -> frozenset[str]:
        """See `AccessPoint`."""
