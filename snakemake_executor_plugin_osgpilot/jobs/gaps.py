"""What to conclude about jobs where the event log is not complete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker


def gone(registry: JobTracker, there: Collection[str]) -> list[str]:
    """Return the jobs (ids) whose end was not told although only those that are `there` go on."""
    ids = {job.job_id for job in registry.ledger if not job.over}
    return sorted(ids - {"", *there})


def on_hold(registry: JobTracker) -> set[str]:
    """Return the jobs (ids) that are held, as far as was told."""
    return {job.job_id for job in registry.ledger if job.state is JobState.HELD}


def fill(
    registry: JobTracker, ended: Iterable[str], how: Mapping[str, Event], held: Mapping[str, Event]
) -> None:
    """Take in that jobs (ids) ended, and `how` as far as it is known; what they brought back tells
    of the others. `held` are jobs that are held, with the reason.
    """
    end = Event(EventKind.TERMINATED, _latest_s(registry), exit_status=0)
    for job_id in ended:
        registry.apply(job_id, how.get(job_id, end))
    for job_id, event in held.items():
        key = registry.key_by_id.get(job_id)
        if key and registry.ledger[key].state is not JobState.HELD:
            registry.apply(job_id, event)


def release(registry: JobTracker, released: Iterable[str]) -> None:
    """Take in that jobs (ids) which were held wait again."""
    for job_id in released:
        registry.apply(job_id, Event(EventKind.RELEASED, _latest_s(registry)))


def _latest_s(registry: JobTracker) -> float:
    return (registry.ledger.span_s or (0.0, 0.0))[1]
