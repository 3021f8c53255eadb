"""Limits on launches: budget, maximum sizes, circuit breakers, stale data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf

from ...common.counting import count_of
from ...model.plan import Launch, Plan, Refusal
from ...model.resources import UNBOUNDED, Pilot, PilotType, Policy
from ...model.snapshot import Commitment, Gate, Snapshot


def commitment(snapshot: Snapshot) -> Commitment:
    """Return the present commitment.

    A pilot that has ended counts with its charge, any other with its whole walltime: Slurm ends it
    then at the latest, even if this process dies.
    """
    by_site: dict[str, list[Pilot]] = {}
    for pilot in snapshot.pilots:
        by_site.setdefault(pilot.site, []).append(pilot)
    parts = {site: _commitment(pilots) for site, pilots in by_site.items()}
    total = next(iter(parts.values())) if len(parts) == 1 else _commitment(snapshot.pilots)
    return replace(total, by_site={site: part for site, part in parts.items() if site})


def _commitment(pilots: Sequence[Pilot]) -> Commitment:
    live = [pilot for pilot in pilots if not pilot.state.over]
    return Commitment(
        pilots=len(live),
        pending=sum(pilot.state.waits for pilot in live),
        cores=sum(pilot.charged_cores for pilot in live),
        core_s=sum(committed_core_s(pilot) for pilot in pilots),
    )


def committed(snapshot: Snapshot, decided: Plan, policy: Policy) -> Commitment:
    """Return the commitment after the launches of a plan."""
    launches = (action for action in decided.actions if isinstance(action, Launch))
    return commitment(snapshot.after(launches, policy))


def committed_core_s(pilot: Pilot) -> float:
    """Return the maximum core-seconds that may be charged for `pilot`."""
    if not pilot.state.over:
        return float(pilot.charged_cores * pilot.walltime_s)
    if pilot.started_s is None or pilot.ended_s is None:
        return 0.0
    return pilot.charged_cores * max(0.0, pilot.ended_s - pilot.started_s)


def allocated_cores(pilots: Iterable[Pilot]) -> dict[str, int]:
    """Return what Slurm gave pilots of each type, at most."""
    cores: dict[str, int] = {}
    for pilot in pilots:
        if pilot.allocated_cores:
            cores[pilot.offer] = max(cores.get(pilot.offer, 0), pilot.allocated_cores)
    return cores


def expected_charges(pilots: tuple[Pilot, ...], policy: Policy) -> tuple[Pilot, ...]:
    """Return the pilots; one that waits is expected to get what Slurm gives others of its type."""
    more = {o.name: o.allocated_cores for o in policy.offers if o.charged_cores > o.shape.cores}
    if not more:
        return pilots
    return tuple(
        replace(pilot, allocated_cores=more.get(pilot.offer, 0)) if pilot.state.waits else pilot
        for pilot in pilots
    )


def stale(snapshot: Snapshot, policy: Policy) -> Refusal | None:
    """Return a refusal if Slurm's last answer is too old to plan with."""
    age_s = 0.0 if snapshot.looked_s is None else snapshot.now_s - snapshot.looked_s
    if age_s <= policy.stale_s:
        return None
    return Refusal(
        0, "stale", f"Slurm last answered {age_s:.0f} s ago; nothing is decided from that"
    )


Rule = Callable[[Commitment, Policy, PilotType, int], tuple[float, str]]
"""Returns the number of further pilots of this type and walltime, and the reason for the limit."""


def pilots_max(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> tuple[float, str]:
    return (
        policy.pilots_max - taken.pilots,
        f"at most {count_of(policy.pilots_max, 'pilot')} at a time",
    )


def pending_max(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> tuple[float, str]:
    where = f" at {offer.site}" if len(policy.sites) > 1 else ""
    most = count_of(policy.pending_max, "pilot waits", "pilots wait")
    room = policy.pending_max - taken.at(offer.site).pending
    return room, f"at most {most} in Slurm's queue{where}"


def cores_max(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> tuple[float, str]:
    if policy.cores_max is None:
        return inf, ""
    room = (policy.cores_max - taken.cores) // offer.charged_cores
    return room, f"at most {count_of(policy.cores_max, 'core')} at a time"


def budget(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> tuple[float, str]:
    if policy.core_s_max is None:
        return inf, ""
    room = (policy.core_s_max - taken.core_s) // (offer.charged_cores * walltime_s)
    return room, (
        f"the budget is {policy.core_s_max / 3600:g} core-hours, {taken.core_s / 3600:.2f} are "
        f"spent or committed, a pilot may take {offer.charged_cores * walltime_s / 3600:.2f}"
    )


def budget_left_core_s(taken: Commitment, policy: Policy, site: str) -> float:
    """Return the core-seconds that may still be committed at a site; infinite without a budget."""
    budgets = [(policy.core_s_max, taken.core_s)]
    if own := policy.limits_of.get(site):
        budgets.append((own.core_s_max, taken.at(site).core_s))
    return min((most - used for most, used in budgets if most is not None), default=inf)


def launches_max(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> tuple[float, str]:
    return (
        policy.launches_max - taken.launched,
        f"{policy.launches_max} pilots are started at a time",
    )


RULES: tuple[Rule, ...] = (budget, cores_max, pilots_max, pending_max, launches_max)
SITE_RULES: tuple[Rule, ...] = (budget, cores_max, pilots_max)
"""The rules that a site may have for its own pilots, besides those for all."""


def admit(
    wanted: Iterable[tuple[PilotType, int, int]],
    taken: Commitment,
    policy: Policy,
    gates: Mapping[str, Gate],
    reason: str,
) -> tuple[list[Launch], list[Refusal]]:
    """Return the launches that the limits admit, and the refusals.

    `wanted` lists pilot type, walltime in seconds and number of pilots, `taken` is the present
    commitment, `gates` limits failing pilot types.
    """
    launches: list[Launch] = []
    refusals: list[Refusal] = []
    for offer, walltime_s, count in wanted:
        allowed, refusal = _allowed(taken, policy, offer, walltime_s, gates)
        admitted = int(max(0, min(count, allowed)))
        if admitted < count:
            refusals.append(Refusal(count - admitted, *refusal))
        why = f"{reason}; at {offer.site}" if len(policy.sites) > 1 else reason
        launches += [Launch(offer.name, walltime_s, why)] * admitted
        taken = taken.plus(offer, walltime_s, admitted)
    return launches, refusals


def exhausted(taken: Commitment, policy: Policy, gates: Mapping[str, Gate]) -> bool:
    """Return True if no pilot of any type may be started."""
    return all(
        _allowed(taken, policy, offer, offer.walltimes_s[0], gates)[0] < 1
        for offer in policy.offers
    )


def _allowed(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int, gates: Mapping[str, Gate]
) -> tuple[float, tuple[str, str]]:
    verdicts = [(*rule(taken, policy, offer, walltime_s), rule.__name__) for rule in RULES]
    verdicts += _own_verdicts(taken, policy, offer, walltime_s)
    if gate := gates.get(offer.name):
        verdicts.append((gate.launches_max, gate.reason, gate.rule))
    room, why, name = min(verdicts, key=lambda verdict: verdict[0])
    return room, (name, why)


def _own_verdicts(
    taken: Commitment, policy: Policy, offer: PilotType, walltime_s: int
) -> list[tuple[float, str, str]]:
    """Return what the limits of the offer's own site allow, as `Rule` does, with the rule."""
    own = policy.limits_of.get(offer.site)
    if own is None:
        return []
    here = taken.at(offer.site)
    limits = Policy(
        policy.offers,
        pilots_max=UNBOUNDED if own.pilots_max is None else own.pilots_max,
        cores_max=own.cores_max,
        core_s_max=own.core_s_max,
    )
    verdicts = ((rule.__name__, *rule(here, limits, offer, walltime_s)) for rule in SITE_RULES)
    return [(room, f"{why} at {offer.site}", name) for name, room, why in verdicts]


def has_room(taken: Commitment, policy: Policy, offer: PilotType) -> bool:
    """Return True if the limits of its own site admit one more pilot of this type."""
    verdicts = _own_verdicts(taken, policy, offer, offer.walltimes_s[0])
    return all(room >= 1 for room, _, _ in verdicts)
