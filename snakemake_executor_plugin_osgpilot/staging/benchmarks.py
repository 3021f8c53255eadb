"""Benchmark files of a job: made here by Snakemake's own classes, from what steps.sh measured."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from snakemake.benchmark import BenchmarkRecord, print_benchmark_jsonl, print_benchmark_tsv

from ..common.snakemake_types import AnyJob, SingleJob
from .payload import members
from .returned_files import JobFailedError, came, read_small

MEASURED = ".osgpilot-benchmark-"
"""In the output folder, followed by the number of the step: a line for each repeat, with the
microseconds that it took and, if a sample was had, the maximum of RSS, VMS, USS and PSS in kB, the
bytes read and written (`-` if unknown), and CPU ticks (100 a second) between samples and in all."""

_MAX_BYTES = 1024 * 1024
_LINE = re.compile(
    r"(\d{1,18}) (?:(\d{1,18}) (\d{1,18}) (\d{1,18}) (\d{1,18}) (?:(\d{1,18}) (\d{1,18})|- -) "
    r"(\d{1,18}) (\d{1,18}))?",
    re.ASCII,
)


def texts(
    job: AnyJob, benchmarks: Sequence[tuple[int, str]], job_folder: Path, *, extended: bool
) -> Iterator[tuple[str, str]]:
    """Yield path and content of the benchmark files of a job or group job.

    Raises `JobFailedError` if what was measured did not come back.
    """
    parts = members(job)
    for number, path in benchmarks:
        records = [_record(line, parts[number]) for line in _lines(job_folder, number, path)]
        text = io.StringIO()
        write = print_benchmark_jsonl if path.endswith(".jsonl") else print_benchmark_tsv
        write(records, text, extended)
        yield path, text.getvalue()


def _lines(job_folder: Path, number: int, path: str) -> list[re.Match[str]]:
    try:
        content = read_small(came(job_folder) / f"{MEASURED}{number}", _MAX_BYTES)
    except OSError as error:
        raise JobFailedError(
            f"what was measured for the benchmark {path} did not come back: {error.strerror}"
        ) from error
    lines = content.decode("ascii", errors="replace").splitlines()
    found = [match for line in lines if (match := _LINE.fullmatch(line))]
    if not found or len(found) != len(lines):
        raise JobFailedError(f"what was measured for the benchmark {path} cannot be read")
    return found


def _record(line: re.Match[str], job: SingleJob) -> BenchmarkRecord:
    record = BenchmarkRecord(running_time=int(line[1]) / 1e6)
    record.data_collected = line[2] is not None
    record.process_gone = not record.data_collected
    if record.data_collected:
        record.max_rss, record.max_vms, record.max_uss, record.max_pss = (
            int(line[n]) / 1024 for n in (2, 3, 4, 5)
        )
        if line[6] is not None:
            record.io_in, record.io_out = (int(line[n]) / 1024**2 for n in (6, 7))
        record.cpu_usage, record.cpu_time = float(line[8]), int(line[9]) / 100
    record.jobid, record.rule_name = job.jobid, job.rule.name
    record.wildcards, record.params, record.resources = job.wildcards, job.params, job.resources
    record.threads = job.threads
    # what only the members of a group use is not here
    record.input = [file for file in map(str, job.input) if Path(file).exists()]
    return record
