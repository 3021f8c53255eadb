"""What is kept of a run for those who look at it: lines, each of a kind that `report.story` knows.

A line is told again when a run is taken up (the event log is read from its beginning), so reading
the same line twice must change nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from snakemake_executor_plugin_osgpilot.jobs.state.events import CommandUsage
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.model.plan import Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Pilot

Line = dict[str, Any]

VERSION = 1

FULL = "full"
"""The kind of the line that says that nothing more is told of jobs and pilots."""

ALWAYS = ("life", "end")
"""Kinds that are written even then."""

TEXT_MAX = 4000
"""Longer texts are cut: what a job printed last may be of any length."""


Told = tuple[Job, str] | tuple[Job, str, tuple[str, ...]]
"""A job, what tells it from others of its rule, and further names that a user may call it by."""


def queued(jobs: Iterable[Told], at_s: float) -> list[Line]:
    """Return that jobs were handed over, each with what tells it from others of its rule."""
    alike: defaultdict[tuple[str, JobClass], list[list[str]]] = defaultdict(list)
    for job, label, *names in jobs:
        alike[job.rule, job.job_class].append([job.key, label, *(names[0] if names else ())])
    return [
        {"kind": "queued", "at_s": at_s, "rule": rule, **asked(job_class), "jobs": listed}
        for (rule, job_class), listed in alike.items()
    ]


def needed(by_needs: Mapping[tuple[str, ...], Iterable[str]]) -> list[Line]:
    """Return which jobs had to end before others could be handed over, by their keys."""
    return [
        {"kind": "needed", "needs": list(needs), "jobs": list(jobs)}
        for needs, jobs in by_needs.items()
    ]


def spent(jobs: Mapping[str, CommandUsage]) -> list[Line]:
    """Return what jobs took, by their key."""
    entries = [[key, *took] for key, took in jobs.items()]
    return [{"kind": "spent", "jobs": entries}] if entries else []


def asked(job_class: JobClass) -> Line:
    """Return what jobs of a class ask for."""
    return {**job_class.shape._asdict(), "runtime_s": job_class.runtime_s}


def moved(changed: Iterable[Job], at_s: float, clean: Callable[[str], str] = str) -> list[Line]:
    """Return what happened to jobs, in order; `at_s` stands for times that nobody told.

    `clean` takes secrets out of what others said of a job.
    """
    lines: list[Line] = []
    # many jobs of a pilot that ended come with the same reason
    clean = cache(clean)
    for job in changed:
        kind, entry = _move(job, round(job.since_s or at_s, 1), clean)
        if not kind:
            continue
        if not lines or lines[-1]["kind"] != kind:
            lines.append({"kind": kind, "jobs": []})
        lines[-1]["jobs"].append(entry)
    return lines


def _move(job: Job, at_s: float, clean: Callable[[str], str]) -> tuple[str, list[Any]]:
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
    # a new one waits for being sent: it was told as queued
    if not job.attempts and not job.failed_attempts:
        return "", []
    return "waiting", [key, at_s, clean(_why(job))[:TEXT_MAX], *asked(job.job_class).values()]


def _why(job: Job) -> str:
    return job.text or (job.failed_attempts[-1].text if job.failed_attempts else "")


def woken(keys: Iterable[str], at_s: float) -> list[Line]:
    """Return that jobs were woken which HTCondor had forgotten."""
    listed = list(keys)
    return [{"kind": "woken", "at_s": at_s, "jobs": listed}] if listed else []


def pilot(known: Pilot) -> Line:
    """Return a pilot as it is now."""
    content = asdict(known) | {"shape": known.shape._asdict(), "state": known.state.value}
    for name in ("absent_looks", "unneeded_since_s"):
        del content[name]
    return {"kind": "pilot", **content}


def plan(decided: Plan, demand: Mapping[JobClass, int], running: int, to_come: int) -> Line:
    """Return a plan and what it was made for; actions that are alike are counted."""
    forecast = asdict(decided.forecast)
    return {
        "kind": "plan",
        "waiting": sum(demand.values()),
        "demand": [{**asked(job_class), "jobs": jobs} for job_class, jobs in demand.items()],
        "running": running,
        "to_come": to_come,
        # JSON has no infinity
        "forecast": {k: round(v, 1) if math.isfinite(v) else None for k, v in forecast.items()},
        "actions": _actions(decided),
        "refusals": [asdict(refusal) for refusal in decided.refusals],
        "unfit": [{**asked(u.job_class), "reason": u.reason} for u in decided.unfit],
    }


def _actions(decided: Plan) -> list[Line]:
    told: list[Line] = []
    for action, count in Counter(decided.actions).items():
        act = {"action": type(action).__name__.lower(), "count": count, **asdict(action)}
        if isinstance(action, Launch):
            told.append(act)
        else:
            act["pilots"] = [act.pop("pilot")]
            same = next((a for a in told if _is_same(a, act)), None)
            if same is None:
                told.append(act)
            else:
                same["pilots"] += act["pilots"]
                same["count"] += count
    return told


def _is_same(one: Line, other: Line) -> bool:
    return (one["action"], one["reason"]) == (other["action"], other["reason"])


def differs(before: Line | None, now: Line) -> bool:
    """Whether a plan decides something else than the one before; numbers alone do not count."""
    decisions = ("actions", "refusals", "unfit")
    return before is None or any(_rules(before[part]) != _rules(now[part]) for part in decisions)


def _rules(decided: list[Line]) -> list[Line]:
    # the reason of a refusal has numbers in it that change all the time
    return [{k: v for k, v in each.items() if k != "reason"} for each in decided]
