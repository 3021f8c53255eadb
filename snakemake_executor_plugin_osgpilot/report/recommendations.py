"""Requests, usage and recommended requests of a rule's jobs. Pure."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from ..model.resources import MEMORY_QUANTUM_MB, JobClass, Shape
from ..model.runtime_by_size import NO_EFFECT, SAMPLES_MAX, Sample, SizeEffect, size_effect
from .entities import Job
from .replay import ReplayedRun

MARGIN = 1.25
"""Margin of memory and disk above the highest usage."""

TIME_MARGIN = 1.5
"""A job that exceeds its runtime may be cut off by the end of its pilot."""

DISK_QUANTUM_MB = 100
CPU_SEEN_S, CPU_COUNTED_S = 10.0, 1.0
"""Shorter jobs say nothing about cores: what HTCondor saw comes in whole seconds, and with that
starting counts; what the shell counted is exact."""

USAGE_SEEN_S = 30.0
"""Shorter jobs say nothing about memory and disk: without control groups HTCondor looks at
processes every 15 s (HTCondor manual, PID_SNAPSHOT_INTERVAL) and may have missed the most."""

SPARE_CORE = 0.2
"""A job that kept so much of one more core busy may have it."""

JOBS_MIN = 5
"""Number of successful jobs below which nothing is recommended for a rule."""

RUNTIME_MIN = 10
"""Lowest recommended runtime in minutes: the next input may take longer, and a pilot lives for
hours."""

DIFFERENCE = 0.2
"""A smaller difference from what a rule requests is not worth a change."""

_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class RuleUse:
    """The successful jobs of a rule. `asked` is the largest request; 0 in `suggested` or used
    values means: not measured. `by_size` is how runtimes depend on the size of inputs.
    """

    rule: str
    jobs: int
    asked: JobClass
    cores_used: float
    memory_used_mb: int
    disk_used_mb: int
    time_median_s: float
    time_max_s: float
    threads: int
    memory_mb: int
    disk_mb: int
    runtime_min: int
    by_size: SizeEffect = NO_EFFECT


def uses(replayed: ReplayedRun) -> list[RuleUse]:
    """Return the use of each rule, in the order of their first jobs."""
    ended: defaultdict[str, list[Job]] = defaultdict(list)
    for job in replayed.jobs.values():
        if job.state == "done" and job.attempts:
            ended[job.rule].append(job)
    return [_use(rule, jobs, replayed.input_mb) for rule, jobs in ended.items()]


def _use(rule: str, jobs: list[Job], input_mb: Mapping[str, float]) -> RuleUse:
    times_s = [job.attempts[-1].until_s(0.0) - job.attempts[-1].started_s for job in jobs]
    shapes = [job.job_class.shape for job in jobs]
    asked = JobClass(
        Shape(*map(max, zip(*shapes, strict=True))),
        max(job.job_class.runtime_s for job in jobs),
    )
    busy = [_cores(job, time_s) for job, time_s in zip(jobs, times_s, strict=True)]
    cores = max(busy)
    memory_mb = max(job.usage.memory_mb for job in jobs)
    disk_mb = max(job.usage.disk_mb for job in jobs)
    known = max(times_s) >= USAGE_SEEN_S
    return RuleUse(
        rule=rule,
        jobs=len(jobs),
        asked=asked,
        cores_used=cores,
        memory_used_mb=memory_mb,
        disk_used_mb=disk_mb,
        time_median_s=median(times_s),
        time_max_s=max(times_s),
        threads=max(1, math.ceil(cores - SPARE_CORE)) if cores else 0,
        memory_mb=_up(memory_mb * MARGIN, MEMORY_QUANTUM_MB) if known else 0,
        disk_mb=_up(disk_mb * MARGIN, DISK_QUANTUM_MB) if known else 0,
        runtime_min=max(RUNTIME_MIN, math.ceil(max(times_s) * TIME_MARGIN / 60)),
        by_size=size_effect(
            [
                Sample(round(1e6 * input_mb[job.key]), time_s)
                for job, time_s in zip(jobs, times_s, strict=True)
                if job.key in input_mb
            ][-SAMPLES_MAX:]
        ),
    )


def _cores(job: Job, time_s: float) -> float:
    """Return the number of cores a job kept busy, 0 if it was too short to know."""
    if job.spent is not None and job.spent.time_s >= CPU_COUNTED_S:
        return job.cpu_s / job.spent.time_s
    return job.usage.cpu_s / time_s if time_s >= CPU_SEEN_S else 0.0


def _up(number: float, quantum: int) -> int:
    return math.ceil(number / quantum) * quantum


def _differs(new: float, old: float) -> bool:
    """Return True if `new` is known, and differs from `old` enough to be worth a change."""
    return bool(new) and abs(new - old) >= DIFFERENCE * old


def profile(found: list[RuleUse]) -> str:
    """Return profile lines with the recommendations, empty if there are none."""
    # a group is not a rule, and other names would need quoting in YAML
    rules = [u for u in found if _PLAIN_NAME.fullmatch(u.rule) and u.jobs >= JOBS_MIN]
    threads = [
        f"  {use.rule}: {use.threads}"
        for use in rules
        if _differs(use.threads, use.asked.shape.cores)
    ]
    resources = []
    for use in rules:
        shape = use.asked.shape
        numbers = {
            "mem_mb": (use.memory_mb, shape.memory_mb),
            "disk_mb": (use.disk_mb, shape.disk_mb),
            "runtime": (use.runtime_min, use.asked.runtime_s / 60),
        }
        changed = [
            f"    {name}: {new}" for name, (new, old) in numbers.items() if _differs(new, old)
        ]
        resources += [f"  {use.rule}:", *changed] if changed else []
    lines = (["set-threads:", *threads] if threads else []) + (
        ["set-resources:", *resources] if resources else []
    )
    return "\n".join(lines)
