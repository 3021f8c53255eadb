"""Time and cost until ready jobs are in the queue: CPU, memory, time on the node.

Runs inside the local pool. For Snakemake, time counts from its line "Execute N jobs..." until the
last job is in the queue; the part that any executor pays is measured with one that does nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from contenders import (
    BARE_LOG,
    DIRECT,
    IDLE,
    OTHER_PLUGINS,
    SAID,
    Contender,
    Count,
    prepare,
    submit_bare,
    sweep,
)

from snakemake_executor_plugin_osgpilot.htcondor.submit_description import INPUT_FOLDER, JOB_FILE
from snakemake_executor_plugin_osgpilot.staging.job_archive import pack
from snakemake_executor_plugin_osgpilot.staging.payload import Payload

PATIENCE_S, SWEEP_PATIENCE_S = 1800, 600
LOOK_EVERY_S = 0.05
WRAPPER_RUNS = 20
FEW_JOBS = 10
"""With so few, what is needed beyond Snakemake does not depend on the number of jobs."""
TRANSACTION_MAX = 10_000
"""An access point refuses more than 20,000 at once (MAX_JOBS_PER_SUBMISSION)."""


@dataclass(frozen=True)
class CommandUsage:
    """Time and cost from hand-over to queue; CPU of Snakemake's own process, memory of all."""

    time_s: float
    cpu_s: float
    memory_mb: float


def bare(folder: Path, jobs: int) -> float:
    """Return the seconds HTCondor itself takes."""
    seat = prepare(folder, jobs)
    begun = time.monotonic()
    submit_bare(folder, seat, jobs)
    spent_s = time.monotonic() - begun
    assert Count(folder, BARE_LOG, "000 (")() == jobs
    sweep(SWEEP_PATIENCE_S)
    return spent_s


@contextmanager
def by_snakemake(contender: Contender, folder: Path, jobs: int) -> Iterator[CommandUsage]:
    """Have Snakemake put its jobs into the queue, and leave nothing of them in the end."""
    seat = prepare(folder, jobs)
    handed_over = Count(folder, SAID, "Execute ")
    in_queue = Count(folder, contender.told_in, contender.told_by)
    wanted = 1 if contender is IDLE else jobs
    process = contender.start(folder, seat, pilots=1)
    try:
        until(lambda: handed_over() > 0, process, folder)
        begun, busy_s = time.monotonic(), _cpu_s(process.pid)
        until(lambda: in_queue() >= wanted, process, folder)
        time_s, cpu_s = time.monotonic() - begun, _cpu_s(process.pid) - busy_s
        yield CommandUsage(time_s, cpu_s, memory_mb(process.pid))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sweep(SWEEP_PATIENCE_S)


def until(condition: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, (folder / SAID).read_text()[-5000:]
        assert time.monotonic() < deadline
        time.sleep(LOOK_EVERY_S)


def memory_mb(pid: int) -> float:
    """Return the memory of a process and its children, in MB."""
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    found = 0
    for process in family:
        # such as a command of Slurm that has just ended
        with suppress(psutil.NoSuchProcess):
            found += process.memory_info().rss
    return found / 1e6


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def wrapper_cpu_ms(folder: Path, inputs: tuple[str, ...]) -> float:
    """Return the CPU time of one job on the execution point whose command does nothing."""
    folder.mkdir()
    for name in inputs:
        (folder / name).write_text("x" * 1000)
    payload = Payload((":\n",), "bash", inputs, outputs=("out/result",), logs=())
    pack(payload, folder, folder).write(folder / "job")
    before = os.times()
    for number in range(WRAPPER_RUNS):
        scratch = folder / f"scratch-{number}"
        scratch.mkdir()
        job_file = folder / "job" / INPUT_FOLDER / JOB_FILE
        subprocess.run(["bash", job_file], cwd=scratch, check=True)
    after = os.times()
    spent_s = sum(after[2:4]) - sum(before[2:4])
    return 1000 * spent_s / WRAPPER_RUNS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--slow-jobs", type=int, default=200, help="for those that need it")
    parser.add_argument("--ours-only", action="store_true")
    arguments = parser.parse_args()
    jobs = arguments.jobs
    per_s: dict[str, float] = {}

    def say(metric: str, value: float) -> None:
        print(f"submit {metric} {value:.1f}", flush=True)

    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        say("wrapper_cpu_ms", wrapper_cpu_ms(place / "wrapper", ()))
        say("wrapper_packed_cpu_ms", wrapper_cpu_ms(place / "wrapper-packed", ("a", "b")))

        by_hand = min(jobs, TRANSACTION_MAX)
        bare_per_s = by_hand / bare(place / "bare", by_hand)
        say("bare_htcondor_per_s", bare_per_s)
        with by_snakemake(IDLE, place / "idle-few", FEW_JOBS) as alone:
            fixed_mb = -alone.memory_mb
        with by_snakemake(DIRECT, place / "direct-few", FEW_JOBS) as ours:
            fixed_mb += ours.memory_mb
            say("memory_fixed_mb", fixed_mb)
        with by_snakemake(IDLE, place / "idle", jobs) as alone:
            say("snakemake_alone_s", alone.time_s)
            say("snakemake_alone_cpu_s", alone.cpu_s)
        with by_snakemake(DIRECT, place / "direct", jobs) as ours:
            say("hand_over_s", ours.time_s)
            say("hand_over_cpu_s", ours.cpu_s)
            say("memory_mb", ours.memory_mb - alone.memory_mb)
        for each in () if arguments.ours_only else OTHER_PLUGINS:
            count = min(jobs, arguments.slow_jobs)
            with by_snakemake(each, place / each.name, count) as theirs:
                per_s[each.name] = count / theirs.time_s
                say(f"{each.name}_per_s", per_s[each.name])
    for name, rate in per_s.items():
        print(f"submit ratio_{name} {rate / bare_per_s:.3f}")
    print(f"submit ratio_to_bare_htcondor {jobs / ours.time_s / bare_per_s:.3f}")
    say("queue_10k_s", ours.time_s * 10_000 / jobs)
    per_job_mb = (ours.memory_mb - alone.memory_mb - fixed_mb) / jobs
    say("memory_100k_mb", fixed_mb + per_job_mb * 100_000)
    say("jobs_per_s", jobs / ours.time_s)
    say("ours_per_s", jobs / ours.time_s)


if __name__ == "__main__":
    main()
