"""What a plan says: actions, what was held back, what fits nowhere, and the forecast behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

from snakemake_executor_plugin_osgpilot.model.resources import JobClass


@dataclass(frozen=True)
class Launch:
    """Start one more pilot of an offer, for this long."""

    offer: str
    walltime_s: int
    reason: str


@dataclass(frozen=True)
class Cancel:
    """Take a pending pilot back."""

    pilot: str
    reason: str


@dataclass(frozen=True)
class Drain:
    """Let a pilot finish what it runs, take nothing new, and end."""

    pilot: str
    reason: str


Action = Launch | Cancel | Drain


@dataclass(frozen=True)
class Refusal:
    """Pilots that would be of use and are not started: how many, and the rule that says no."""

    count: int
    rule: str
    reason: str


@dataclass(frozen=True)
class Infeasible:
    """A class that no pilot of this site can ever hold; `reason` names the nearest and the gap."""

    job_class: JobClass
    reason: str


@dataclass(frozen=True)
class Forecast:
    """What the plan reckons with. Cores are cores, `finish_s` and `lead_s` seconds from now.

    `wanted_cores` is how many the policy would have for the work there is, `live_cores` how many
    serve or will, `work_core_s` the work in sight, `committed_core_s` what may be charged at most
    if nothing more is started.
    """

    wanted_cores: float = 0.0
    live_cores: int = 0
    work_core_s: float = 0.0
    lead_s: float = 0.0
    finish_s: float = 0.0
    committed_core_s: float = 0.0


@dataclass(frozen=True)
class Plan:
    """What to do next. `unneeded` are pilots without a use in this plan, acted on or not yet."""

    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    unfit: tuple[Infeasible, ...] = ()
    unneeded: frozenset[str] = frozenset()
    forecast: Forecast = field(default_factory=Forecast)

    @property
    def throttled(self) -> bool:
        """True if more pilots are to be launched by the next plan, which is due soon."""
        return any(refusal.rule == "launches_max" for refusal in self.refusals)
