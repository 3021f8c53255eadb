"""What an earlier life of a run left, in the registry of the present one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from snakemake_executor_plugin_osgpilot.jobs.state.avoidance import Place
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Leftover
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker


def recall(registry: JobTracker, left: Leftover, told: Iterable[tuple[str, Event]]) -> None:
    """Take in what is left, what the log has told of it, and what was done before."""
    told = list(told)
    registry.removals |= dict.fromkeys(left.strays, "")
    for past in left.past:
        registry.ledger.remember(past)
        for at_s in (past.started_s, past.ended_s):
            registry.ledger.mark(at_s)
    if left.jobs:
        registry.outbox.paused_there = registry.outbox.apart_there = None
    for job in left.jobs:
        registry.key_by_id[registry.ledger.put(job).job_id] = job.key
    _recall_earlier_tries(registry, left, told)
    for job_id, event in told:
        registry.ledger.mark(event.at_s)
        if event.kind is EventKind.EXECUTE and event.pilot:
            registry.ledger.served.setdefault(event.pilot, event.at_s)
        if job_id in registry.key_by_id:
            registry.apply(job_id, event)
    # old news
    registry.notices.clear()


def _recall_earlier_tries(
    registry: JobTracker, left: Leftover, told: Iterable[tuple[str, Event]]
) -> None:
    """Take in where jobs ended that ran again under another id, as it was for nothing."""
    identities = {job.key: job.identity for job in left.jobs}
    tries: dict[str, str] = {}
    places: dict[str, Place] = {}
    for job_id, event in told:
        if job_id in registry.key_by_id:
            continue
        if event.kind is EventKind.SUBMIT and event.key in identities:
            tries[job_id] = identities[event.key]
        elif event.kind is EventKind.EXECUTE and event.pilot:
            places[job_id] = Place(event.pilot, event.node)
        elif event.kind is EventKind.TERMINATED and job_id in tries and job_id in places:
            registry.ledger.failed_at(tries[job_id], places[job_id])


def claim(registry: JobTracker, job: Job) -> None:
    """Take in what a recalled job asks for; if it is over, that is told once more."""
    known = registry.ledger[job.key]
    known = registry.ledger.put(replace(known, request=job.request, urls=job.urls))
    if known.over and job.key not in registry.removals.values():
        registry.tell(job.key)


def add_instead(registry: JobTracker, job: Job, old_key: str) -> None:
    """Take a new job in that is sent once a recalled one has left the queue."""
    old = registry.ledger[old_key]
    if not old.job_id or old.over:
        if not old.over:
            registry.give_up(old, "it was replaced")
        registry.add([job])
        return
    registry.ledger.put(job)
    registry.ledger.drop(old_key)
    del registry.key_by_id[old.job_id]
    registry.releases.drop(old_key)
    registry.withdrawals[old.job_id] = job.key
