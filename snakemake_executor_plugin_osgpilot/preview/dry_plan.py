"""The plans of a run that begins now, one after the other, as if Slurm granted every pilot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..model.plan import Launch, Plan, Refusal
from ..model.resources import Policy
from ..model.snapshot import Snapshot
from ..scaling.planner.estimates import Estimates
from ..scaling.planner.limits import launches_max
from ..scaling.planner.planner import plan

ROUNDS_MAX = 500
"""Maximum number of rounds: a user may allow thousands of pilots."""


@dataclass(frozen=True)
class Start:
    """Identical pilots submitted together, `after_s` from the beginning.

    Each is expected to wait `wait_s` in Slurm's queue and to run its first job after `lead_s`.
    """

    after_s: float
    count: int
    offer: str
    walltime_s: int
    wait_s: float
    lead_s: float
    reason: str


@dataclass(frozen=True)
class DryRun:
    """The starts of pilots, the first plan's forecast, and the limits that stopped further ones."""

    starts: tuple[Start, ...]
    first: Plan
    refusals: tuple[Refusal, ...]

    @property
    def pilots(self) -> int:
        return sum(start.count for start in self.starts)


def charge_ratio(starts: Iterable[Start], policy: Policy) -> float:
    """Return how many times the cores that they offer the pilots started are charged, at most."""
    ratios = {o.name: o.charged_cores / o.shape.cores for o in policy.offers}
    return max((ratios[start.offer] for start in starts), default=1.0)


def dry_run(snapshot: Snapshot, estimates: Estimates, policy: Policy, round_s: float) -> DryRun:
    """Plan repeatedly, `round_s` apart, until nothing more is started. Pure.

    Submitted pilots stay in Slurm's queue meanwhile: running and ending is left to the simulation.
    """
    starts: list[Start] = []
    first, began_s = plan(snapshot, estimates, policy), snapshot.now_s
    decided = first
    for _ in range(ROUNDS_MAX):
        launches = [action for action in decided.actions if isinstance(action, Launch)]
        if not launches:
            break
        after_s = snapshot.now_s - began_s
        starts += [
            Start(
                after_s, count, launch.offer, launch.walltime_s,
                estimates.wait_s(launch.offer), estimates.lead_s(launch.offer), launch.reason,
            )
            for launch, count in Counter(launches).items()
        ]  # fmt: skip
        now_s = snapshot.now_s + round_s
        snapshot = replace(snapshot.after(launches, policy), now_s=now_s, looked_s=now_s)
        decided = plan(snapshot, estimates, policy)
    lasting = tuple(r for r in decided.refusals if r.rule != launches_max.__name__)
    return DryRun(tuple(starts), first, lasting)
