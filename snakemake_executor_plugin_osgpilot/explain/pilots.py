"""Why a pilot is as it is."""

from __future__ import annotations

from snakemake_executor_plugin_osgpilot.common.durations import duration
from snakemake_executor_plugin_osgpilot.explain.facts import Explanation, Facts, PilotFact
from snakemake_executor_plugin_osgpilot.explain.reason_codes import of_slurm

BOOT_USUAL_S = 480.0
"""OSG_NODE_VALIDATED takes 1 to 8 minutes, see `core.estimates.BOOT_PRIOR_S`."""


def explain_pilot(pilot: PilotFact, facts: Facts) -> Explanation:
    """Return why a pilot waits, boots, is idle, ends or failed."""
    for_s = facts.at_s - pilot.since_s
    where = f" on {pilot.node}" if pilot.node else ""
    head = f"{pilot.name} ({pilot.label}{where}): {pilot.state} for {duration(for_s)}"
    if pilot.state in ("done", "failed", "cancelled"):
        head = f"{pilot.name} ({pilot.label}{where}): {pilot.state} {duration(for_s)} ago"
    lines, step = _STATES[pilot.state](pilot, facts, for_s)
    return Explanation(pilot.name, (head, f"it has {pilot.shape}", *lines), step)


_Told = tuple[tuple[str, ...], str]


def waits_for(pilot: PilotFact) -> tuple[str, str]:
    """Return what Slurm says of a pilot in its queue, in plain words, and the next step."""
    if pilot.state == "intended":
        return "sbatch is about to be called, or has not answered yet", ""
    if not pilot.pending_reason:
        return "Slurm has not said why it waits", ""
    meaning = of_slurm(pilot.pending_reason)
    if meaning is None:
        return (
            f"Slurm says {pilot.pending_reason}",
            "see https://slurm.schedmd.com/job_reason_codes.html",
        )
    step = meaning.step.format(allocation=pilot.allocation)
    return f"Slurm says {pilot.pending_reason}: {meaning.words}", step


def _pending(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    words, step = waits_for(pilot)
    return (words,), step or "wait; `squeue --start` shows when Slurm expects to start it"


def _booting(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    usual = "the container starts and its node is tested, which takes 1 to 8 min"
    if for_s <= BOOT_USUAL_S:
        return (usual,), ""
    return (
        (f"{usual}; this one takes longer", "without a sign of it after 15 min it is ended"),
        "read its log, pilots/" + pilot.name + "/slurm.log in the run's folder",
    )


def _ready(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    life = f"it takes jobs of up to {duration(pilot.life_s)}"
    if pilot.jobs:
        return (f"{pilot.jobs} job(s) run there, {pilot.free} are free", life), ""
    if any(job.state in ("queued", "waiting") for job in facts.jobs):
        return (
            ("no job runs there, although jobs wait", life),
            "osgpilot explain JOB tells what it lacks for them",
        )
    return ("no job runs there: none waits; it leaves when it has been idle for long", life), ""


def _draining(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    why = f" ({pilot.failure})" if pilot.failure else ""
    return (f"it takes no new jobs and ends when those in it have{why}",), ""


def _done(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    return ("its allocation is over",), ""


def _failed(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    why = pilot.failure or "Slurm does not say why"
    if not pilot.allocation:
        return (f"Slurm refused it: {why}",), "correct the site file as the message says"
    log = f"pilots/{pilot.name}/slurm.log in the run's folder"
    return (f"it failed: {why}",), f"read its log, {log}"


def _cancelled(pilot: PilotFact, facts: Facts, for_s: float) -> _Told:
    why = pilot.failure or "by osgpilot, when it was of no use any more, or by hand"
    return (f"it was taken back: {why}",), ""


_STATES = {
    "intended": _pending,
    "pending": _pending,
    "booting": _booting,
    "ready": _ready,
    "draining": _draining,
    "done": _done,
    "failed": _failed,
    "cancelled": _cancelled,
}
