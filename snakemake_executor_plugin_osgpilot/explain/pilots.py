"""Explain a pilot."""

from __future__ import annotations

from ..common.durations import duration
from ..report.entities import Pilot
from .facts import Explanation, Facts
from .reason_codes import of_slurm

BOOT_USUAL_S = 480.0
"""OSG_NODE_VALIDATED takes 1 to 8 minutes, see `estimates.BOOT_PRIOR_S`."""


def explain_pilot(pilot: Pilot, facts: Facts) -> Explanation:
    """Return why a pilot waits, boots, is idle, ends or failed."""
    for_s = facts.at_s - pilot.since_s
    where = f" on {pilot.node}" if pilot.node else ""
    label = f"pilot {pilot.allocation or pilot.name}"
    if facts.has_several_sites:
        label += f" at {pilot.site}"
    how_long = f"{duration(for_s)} ago" if pilot.over else f"for {duration(for_s)}"
    head = f"{label}{where}: {pilot.state} {how_long}"
    long_name = [f"its name in Slurm and HTCondor is {pilot.name}"] if pilot.allocation else []
    lines, step = _STATES[pilot.state](pilot, facts, for_s)
    return Explanation(label, (head, f"it has {pilot.shape}", *lines, *long_name), step)


_Lines = tuple[tuple[str, ...], str]


def waits_for(pilot: Pilot) -> tuple[str, str]:
    """Return Slurm's reason for a pending pilot in plain words, and the next step."""
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


def _pending(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    words, step = waits_for(pilot)
    return (words,), step or "wait; `squeue --start` shows when Slurm expects to start it"


def _booting(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    usual = "the container starts and its node is tested, which takes 1 to 8 min"
    if for_s <= BOOT_USUAL_S:
        return (usual,), ""
    return (
        (f"{usual}; this one takes longer", "without a sign of it after 15 min it is ended"),
        f"read its log: osgpilot logs {pilot.allocation}",
    )


def _ready(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    life = f"it takes jobs of up to {duration(facts.life_s(pilot))}"
    if running := facts.running_on(pilot):
        return (f"jobs that run there: {len(running)}; free: {facts.free(pilot)}", life), ""
    if any(job.state in ("queued", "waiting") for job in facts.jobs):
        return (
            ("no job runs there, although jobs wait", life),
            "osgpilot explain JOB shows what the pilot lacks for it",
        )
    return ("no job runs there: none waits; it leaves when it has been idle for long", life), ""


def _draining(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    why = f" ({pilot.failure})" if pilot.failure else ""
    return (f"it takes no new jobs and ends when those in it have{why}",), ""


def _done(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    return ("its allocation is over",), ""


def _failed(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    why = pilot.failure or "Slurm does not say why"
    if not pilot.allocation:
        return (f"Slurm refused it: {why}",), "correct the site file as the message says"
    return (f"it failed: {why}",), f"read its log: osgpilot logs {pilot.allocation}"


def _cancelled(pilot: Pilot, facts: Facts, for_s: float) -> _Lines:
    why = pilot.failure or "by osgpilot, when it was no longer needed, or by hand"
    return (f"it was cancelled: {why}",), ""


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
