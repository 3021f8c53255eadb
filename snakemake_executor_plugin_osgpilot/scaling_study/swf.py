"""Reads traces of batch systems in the Standard Workload Format, as load by other users.

Definition: Parallel Workloads Archive, "The Standard Workload Format", version 2.2,
https://www.cs.huji.ac.il/labs/parallel/workload/swf.html. A job is a line of 18 numbers, -1 stands
for what is not known, lines that begin with `;` are comments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..errors import InputError
from ..simulator.model import OtherJob

FIELDS = 18
_SUBMIT, _RUN, _ALLOCATED, _REQUESTED, _REQUESTED_TIME = 1, 3, 4, 7, 8
"""Places of the fields 2, 4, 5, 8 and 9: submit time, run time, allocated processors, requested
processors, requested time."""


class Trace(NamedTuple):
    """The jobs of a trace in the order of their submission, and the machine's processors if the
    header says so (`MaxProcs`, else `MaxNodes`; 0: it does not).
    """

    jobs: tuple[OtherJob, ...]
    cores: int


def read(lines: Iterable[str], name: str) -> Trace:
    """Return the contents of a trace. Jobs that never ran, as cancelled ones, are left out.

    Raises `InputError` with the number of the first line that is no job and no comment.
    """
    header: dict[str, str] = {}
    jobs: list[OtherJob] = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith(";"):
            key, colon, value = text.lstrip("; ").partition(":")
            if colon:
                header.setdefault(key.strip(), value.strip())
        elif text:
            jobs += _job(text, f"{name}, line {number}")
    if not jobs:
        raise InputError(f"{name}: there is no job in it that ran; is it a trace in SWF?")
    return Trace(tuple(sorted(jobs)), _cores(header))


def scaled(trace: Trace, cores: int, from_s: float = 0.0) -> tuple[OtherJob, ...]:
    """Return the jobs from `from_s` on, for a machine of `cores`: the same share of it for each.

    Times count from `from_s`. Jobs submitted before and still there then come at 0.
    """
    share = cores / (trace.cores or max(job.cores for job in trace.jobs))
    return tuple(
        job._replace(
            submit_s=max(0.0, job.submit_s - from_s),
            cores=min(cores, max(1, round(job.cores * share))),
        )
        for job in trace.jobs
        if job.submit_s + job.runtime_s > from_s
    )


def _job(text: str, where: str) -> Iterator[OtherJob]:
    fields = text.split()
    if len(fields) != FIELDS:
        raise InputError(f"{where}: a job has {FIELDS} fields, here are {len(fields)}")
    try:
        numbers = [float(field) for field in fields]
    except ValueError as error:
        raise InputError(f"{where}: {error}; a job is {FIELDS} numbers") from error
    submit_s, runtime_s = numbers[_SUBMIT], numbers[_RUN]
    if not 0 <= submit_s < float("inf"):
        raise InputError(f"{where}: the submit time is {fields[_SUBMIT]}; it has to be 0 or more")
    cores = numbers[_ALLOCATED] if numbers[_ALLOCATED] > 0 else numbers[_REQUESTED]
    if 0 < runtime_s < float("inf") and 0 < cores < float("inf"):
        yield OtherJob(submit_s, int(cores), runtime_s, max(runtime_s, numbers[_REQUESTED_TIME]))


def _cores(header: dict[str, str]) -> int:
    for key in ("MaxProcs", "MaxNodes"):
        words = header.get(key, "").split()
        if words and words[0].isdecimal():
            return int(words[0])
    return 0
