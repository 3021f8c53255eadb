"""Records of a history: one line for each event, of a kind that `report.replay` knows.

A line is written again when a run is resumed (the event log is read from its beginning), so reading
the same line twice must not change anything.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import NamedTuple

from ..jobs.state.events import CommandUsage, ImageSent
from ..jobs.state.job import Job, JobState
from ..model.plan import Launch, Plan
from ..model.resources import JobClass, Pilot
from ..model.upcoming import UpcomingWork
from .line_check import Line
from .progress import Steps

VERSION = 1

TEXT_MAX = 4000
"""Longer texts are truncated: the output of a job may have any length."""


class HandedOver(NamedTuple):
    """A job, its label among the jobs of its rule, further names that a user may give for it, and
    the memory that its rule names (its request is rounded up).
    """

    job: Job
    label: str
    names: tuple[str, ...] = ()
    rule_memory_mb: int | None = None


def queued(jobs: Iterable[HandedOver], at_s: float) -> list[Line]:
    """Return lines for jobs that were handed over, each with its label."""
    alike: defaultdict[tuple[str, JobClass, int | None], list[list[str]]] = defaultdict(list)
    for job, label, names, memory_mb in jobs:
        alike[job.rule, job.job_class, memory_mb].append([job.key, label, *names])
    return [
        {"kind": "queued", "at_s": at_s, "rule": rule, **asked(job_class), "jobs": listed}
        | ({} if memory_mb is None else {"rule_memory_mb": memory_mb})
        for (rule, job_class, memory_mb), listed in alike.items()
    ]


def needed(by_needs: Mapping[tuple[str, ...], Iterable[str]]) -> list[Line]:
    """Return lines for dependencies: the jobs that had to end before others, by key."""
    return [
        {"kind": "needed", "needs": list(needs), "jobs": list(jobs)}
        for needs, jobs in by_needs.items()
    ]


def inputs(jobs: Iterable[HandedOver]) -> list[Line]:
    """Return a line for the size of the inputs of jobs in MB, as far as it is known."""
    sized = [(each.job.key, each.job.outlook.input_bytes) for each in jobs]
    listed = [[key, round(size / 1e6, 3)] for key, size in sized if size is not None]
    return [{"kind": "inputs", "jobs": listed}] if listed else []


def spent(jobs: Mapping[str, CommandUsage]) -> list[Line]:
    """Return a line for the resource usage of jobs, by key."""
    entries = [[key, *took] for key, took in jobs.items()]
    return [{"kind": "spent", "jobs": entries}] if entries else []


def asked(job_class: JobClass) -> Line:
    """Return the resource request of a class of jobs."""
    return {**job_class.shape._asdict(), "runtime_s": job_class.runtime_s}


def moved(changed: Iterable[Job], at_s: float, clean: Callable[[str], str] = str) -> list[Line]:
    """Return one line for each kind of state change of jobs; `at_s` replaces unknown times.

    `clean` masks secrets in texts of HTCondor and of jobs.
    """
    # a reader sorts by time: jobs of a bundle start and end in turn
    lines: dict[str, Line] = {}
    # many jobs of a pilot that ended have the same reason
    clean = cache(clean)
    for job in changed:
        kind, entry = _move(job, round(job.since_s or at_s, 1), clean)
        if not kind:
            continue
        lines.setdefault(kind, {"kind": kind, "jobs": []})["jobs"].append(entry)
    return list(lines.values())


def ended(jobs: Iterable[Job], at_s: float, clean: Callable[[str], str] = str) -> list[Line]:
    """Return lines for the last start and the end of jobs that are over."""
    listed = list(jobs)
    started = [
        [job.key, round(job.started_s, 1), job.pilot, job.slot, job.allocation_id, job.node]
        for job in listed
        if job.started_s is not None
    ]
    begun = [{"kind": "started", "jobs": started}] if started else []
    return [*begun, *moved(listed, at_s, clean)]


def images(sent: Mapping[ImageSent, int]) -> list[Line]:
    """Return a line for transfers of images and shared inputs (without an image), with the size of
    each in bytes.
    """
    return (
        [{"kind": "images", "sent": [[*each[:3], size] for each, size in sent.items()]}]
        if sent
        else []
    )


def steps(counted: Steps) -> Line:
    """Return a line for Snakemake's own count of its jobs."""
    return {"kind": "steps", **counted._asdict()}


def _move(job: Job, at_s: float, clean: Callable[[str], str]) -> tuple[str, list[object]]:
    key = job.key
    match job.state:
        case JobState.RUNNING:
            return "started", [key, at_s, job.pilot, job.slot, job.allocation_id, job.node]
        case JobState.ENDED:
            return "ended", [key, at_s, job.exit_status, *(round(u, 1) for u in job.usage)]
        case JobState.REMOVED:
            return "removed", [key, at_s, clean(job.text)[:TEXT_MAX]]
        case JobState.HELD:
            return "held", [key, at_s, clean(job.text)[:TEXT_MAX]]
        case JobState.WAITING if not job.attempts and not job.failed_attempts:
            return "sent", [key, at_s, job.job_id]
    # a new job that waits to be submitted was recorded as queued
    if not job.attempts and not job.failed_attempts:
        return "", []
    return "waiting", [key, at_s, clean(_why(job))[:TEXT_MAX], *asked(job.job_class).values()]


def _why(job: Job) -> str:
    return job.text or (job.failed_attempts[-1].text if job.failed_attempts else "")


def woken(keys: Iterable[str], at_s: float) -> list[Line]:
    """Return a line for jobs that were held and released to trigger rematching."""
    listed = list(keys)
    return [{"kind": "woken", "at_s": at_s, "jobs": listed}] if listed else []


def pilot(known: Pilot) -> Line:
    """Return a line for the current state of a pilot."""
    content = asdict(known) | {"shape": known.shape._asdict(), "state": known.state.value}
    for name in ("absent_looks", "unneeded_since_s"):
        del content[name]
    return {"kind": "pilot", **content}


def plan(
    decided: Plan, demand: Mapping[JobClass, int], running: int, upcoming: UpcomingWork
) -> Line:
    """Return a line for a plan and its demand; equal actions are counted."""
    forecast = asdict(decided.forecast)
    return {
        "kind": "plan",
        "waiting": sum(demand.values()),
        "demand": [{**asked(job_class), "jobs": jobs} for job_class, jobs in demand.items()],
        "running": running,
        "to_come": upcoming.to_come,
        "upcoming": [
            {"rule": rule, "jobs": ahead.jobs, "after": sorted(ahead.after)}
            for rule, ahead in upcoming.rules.items()
            # jobs beside Snakemake count for none
            if not ahead.jobs or ahead.jobs > upcoming.gone.get(rule, 0)
        ],
        # JSON has no infinity
        "forecast": {k: round(v, 1) if math.isfinite(v) else None for k, v in forecast.items()},
        "actions": _actions(decided),
        "refusals": [asdict(refusal) for refusal in decided.refusals],
        "unfit": [{**asked(u.job_class), "reason": u.reason} for u in decided.infeasible],
    }


def _actions(decided: Plan) -> list[Line]:
    listed: list[Line] = []
    for action, count in Counter(decided.actions).items():
        act = {"action": type(action).__name__.lower(), "count": count, **asdict(action)}
        if isinstance(action, Launch):
            listed.append(act)
        else:
            act["pilots"] = [act.pop("pilot")]
            same = next((a for a in listed if _is_same(a, act)), None)
            if same is None:
                listed.append(act)
            else:
                same["pilots"] += act["pilots"]
                same["count"] += count
    return listed


def _is_same(one: Line, other: Line) -> bool:
    return (one["action"], one["reason"]) == (other["action"], other["reason"])


def differs(before: Line | None, now: Line) -> bool:
    """Return True if a plan decides differently than the previous one; numbers do not count."""
    decisions = ("actions", "refusals", "unfit")
    return before is None or any(_rules(before[part]) != _rules(now[part]) for part in decisions)


def _rules(decided: list[Line]) -> list[Line]:
    # the reason of a refusal contains numbers that change all the time
    return [{k: v for k, v in each.items() if k != "reason"} for each in decided]
