"""Plan the pilots to launch, cancel and drain."""

from __future__ import annotations

from dataclasses import replace

from ...model.plan import Plan
from ...model.resources import Policy
from ...model.snapshot import Snapshot
from .assessment import Assessment
from .estimates import Estimates
from .limits import stale
from .scale_down import releases
from .scale_up import launches


def plan(snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Plan:
    """Return the next actions with their reasons.

    Pure: the same arguments give the same plan; the order of pilots and classes does not matter.
    Planning again after applying the plan yields no further launch. A pilot that runs a job is
    never cancelled.
    """
    if refusal := stale(snapshot, policy):
        return Plan(refusals=(refusal,))
    assessment = Assessment.of(_in_order(snapshot), estimates, policy)
    started, refused = launches(assessment)
    unneeded, released = releases(assessment)
    return Plan(
        actions=(*started, *released),
        refusals=tuple(refused),
        infeasible=assessment.infeasible,
        unneeded=unneeded,
        forecast=assessment.forecast,
    )


def _in_order(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot in canonical order: sums of floats depend on it, a plan must not."""
    return replace(
        snapshot,
        waiting=dict(sorted(snapshot.waiting.items())),
        further=dict(sorted(snapshot.further.items())),
        chain=dict(sorted(snapshot.chain.items())),
        pilots=tuple(sorted(snapshot.pilots, key=lambda pilot: pilot.name)),
        soon=tuple(sorted(snapshot.soon, key=lambda soon: (soon.job_class, soon.jobs, str(soon)))),
    )
