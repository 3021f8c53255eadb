"""The plan: actions, refusals, infeasible job classes, and the forecast behind them."""

from __future__ import annotations

from dataclasses import dataclass, field

from .resources import JobClass


@dataclass(frozen=True)
class Launch:
    """Start one more pilot of a type, with this walltime."""

    offer: str
    walltime_s: int
    reason: str


@dataclass(frozen=True)
class Cancel:
    """Cancel a pending pilot."""

    pilot: str
    reason: str


@dataclass(frozen=True)
class Drain:
    """Let a pilot finish its jobs, accept no new ones, and end."""

    pilot: str
    reason: str


Action = Launch | Cancel | Drain


@dataclass(frozen=True)
class Refusal:
    """Useful pilots that are not started, with the limit that forbids it."""

    count: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Infeasible:
    """A job class that no pilot type can run; `reason` names the nearest type and what it lacks."""

    job_class: JobClass
    reason: str


@dataclass(frozen=True)
class Forecast:
    """The figures behind a plan; `finish_s` and `lead_s` are seconds from now.

    `wanted_cores` is the target size for the known work, `live_cores` the cores that serve or will,
    `work_core_s` the work in sight, `committed_core_s` the maximum that may be charged if nothing
    more is started.
    """

    wanted_cores: float = 0.0
    live_cores: int = 0
    work_core_s: float = 0.0
    lead_s: float = 0.0
    finish_s: float = 0.0
    committed_core_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """The next actions. `unneeded` are pilots without a use in this plan, ended by it or not."""

    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    infeasible: tuple[Infeasible, ...] = ()
    unneeded: frozenset[str] = frozenset()
    forecast: Forecast = field(default_factory=Forecast)

    @property
    def throttled(self) -> bool:
        """True if more pilots are to be launched by the next plan, which is due soon."""
        return any(refusal.rule == "launches_max" for refusal in self.refusals)
