"""Which pilots nobody needs any more, and when to let them go."""

from __future__ import annotations

from collections.abc import Iterator

from snakemake_executor_plugin_osgpilot.core.actions import Cancel, Drain
from snakemake_executor_plugin_osgpilot.core.model import Pilot
from snakemake_executor_plugin_osgpilot.core.outlook import Outlook
from snakemake_executor_plugin_osgpilot.core.sizing import keep_idle_s
from snakemake_executor_plugin_osgpilot.core.supply import hopeless


def releases(outlook: Outlook) -> tuple[frozenset[str], list[Cancel | Drain]]:
    """Return the pilots without a use, and what to do about them now."""
    used = {name for room in outlook.rooms if room.used for name in room.pilots}
    unneeded = [
        pilot
        for pilot in sorted(outlook.snapshot.pilots, key=lambda p: p.name)
        if pilot.state.serves and pilot.name not in used
        and not outlook.snapshot.running.get(pilot.name)
    ]  # fmt: skip
    decided = [action for pilot in unneeded if (action := _release(pilot, outlook))]
    done = {action.pilot for action in decided}
    decided += [action for action in _shunned(outlook) if action.pilot not in done]
    return frozenset(pilot.name for pilot in unneeded), decided


def _shunned(outlook: Outlook) -> Iterator[Drain]:
    """Drain the pilots that are to get no more jobs, busy or not: what runs there may go on."""
    for pilot in outlook.snapshot.pilots:
        why = outlook.snapshot.shunned.get(pilot.name)
        if why and pilot.state.serves and not pilot.state.waits:
            yield Drain(pilot.name, why)


def _release(pilot: Pilot, outlook: Outlook) -> Cancel | Drain | None:
    snapshot, policy = outlook.snapshot, outlook.policy
    if hopeless(pilot):
        return Cancel(pilot.name, f"Slurm will not start it: {pilot.pending_reason}")
    act = Cancel if pilot.state.waits else Drain
    if not (snapshot.waiting or snapshot.soon or snapshot.later):
        return act(pilot.name, "no job is left that could need it")
    since_s = pilot.unneeded_since_s
    idle_s = 0.0 if since_s is None else snapshot.now_s - since_s
    patience_s = policy.patience_s
    if not pilot.state.waits:
        lead_s = outlook.estimates.lead_s(pilot.offer)
        patience_s = max(patience_s, keep_idle_s(lead_s, policy.economy))
    if idle_s < patience_s:
        return None
    return act(pilot.name, f"no job has needed it for {idle_s:.0f} s")
