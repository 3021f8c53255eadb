"""A hundred thousand jobs that do nothing, from start to end: time, CPU, memory, files, requests.

Runs inside the local pool. CPU time is that of Snakemake and its helper processes, memory what they
have beyond a Snakemake that hands as many jobs over to an executor that does nothing. Files are
those that osgpilot has in the working folder, folders included.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import psutil
from contenders import BUNDLED, IDLE, SAID, Contender, prepare, sweep
from memory import AT_ONCE, peak_mb
from submit import SWEEP_PATIENCE_S, memory_mb

PART = 250

# Snakemake compares each input of a local rule with each of the jobs before it
SNAKEFILE = """
localrules: part

rule all:
    input: expand("part/{{k}}", k=range(0, {jobs}, {part}))

rule part:
    input: lambda w: expand("out/{{n}}", n=range(int(w.k), min(int(w.k) + {part}, {jobs})))
    output: touch("part/{{k}}")

rule nothing:
    output: "out/{{n}}"
    shell: ": > {{output}}"
"""

PATIENCE_S = 12 * 3600
LOOK_EVERY_S, COUNT_EVERY_S = 1.0, 30.0
SUBSAMPLED = ("--scheduler-subsample", str(AT_ONCE))
COUNTING = str(Path(__file__).with_name("counting"))


class Peaks:
    """The most memory and files of a running Snakemake; files are counted now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.memory_mb = 0.0
        self.files = 0
        self._counted_s = float("-inf")

    def look(self, pid: int) -> None:
        """Look again."""
        try:
            self.memory_mb = max(self.memory_mb, memory_mb(pid))
        except psutil.NoSuchProcess:
            return
        if time.monotonic() - self._counted_s >= COUNT_EVERY_S:
            found = os.walk(self._folder / ".snakemake" / "osgpilot")
            self.files = max(self.files, sum(len(names) + 1 for _, _, names in found))
            self._counted_s = time.monotonic()


def run_to_the_end(contender: Contender, folder: Path, jobs: int, alone_mb: float) -> None:
    """Run the workflow and print what it took, memory beyond the `alone_mb` of Snakemake."""
    seat = prepare(folder, jobs)
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs, part=PART))
    peaks, begun = Peaks(folder), time.monotonic()
    process = contender.start(folder, seat, pilots=2)
    try:
        cpu_s = _followed(process, peaks)
        spent_s = time.monotonic() - begun
        done = len(list((folder / "out").iterdir()))
        assert (process.returncode, done) == (0, jobs), (folder / SAID).read_text()[-5000:]
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        sweep(SWEEP_PATIENCE_S)
    say("jobs", done)
    say("hours", spent_s / 3600)
    say("jobs_per_s", jobs / spent_s)
    say("cpu_ms_per_job", 1000 * cpu_s / jobs)
    say("memory_mb", peaks.memory_mb)
    say("memory_above_snakemake_mb", peaks.memory_mb - alone_mb)
    say("files_max", peaks.files)
    say("history_mb", _size(folder, "history.jsonl") / 1e6)
    for what in ("access-point", "slurm"):
        asked = (folder / f"asked-{what}").stat().st_size
        say(f"{what.replace('-', '_')}_requests_per_min", 60 * asked / spent_s)


def _followed(process: subprocess.Popen[bytes], peaks: Peaks) -> float:
    """Wait for the end of Snakemake; return the CPU time that it and its children took."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        ended, status, usage = os.wait4(process.pid, os.WNOHANG)
        if ended:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_utime + usage.ru_stime
        peaks.look(process.pid)
        time.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not at its end after {PATIENCE_S / 3600:.0f} h")


def _size(folder: Path, name: str) -> int:
    return sum(path.stat().st_size for path in folder.glob(f".snakemake/osgpilot/*/{name}"))


def say(metric: str, value: float) -> None:
    print(f"hundred-thousand {metric} {value:.3f}".removesuffix(".000"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    jobs = parser.parse_args().jobs
    ours = replace(BUNDLED, options=(*BUNDLED.options, *SUBSAMPLED), imports=COUNTING)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        alone_mb = peak_mb(IDLE, place / "idle", jobs)
        say("snakemake_alone_mb", alone_mb)
        run_to_the_end(ours, place / "ours", jobs, alone_mb)


if __name__ == "__main__":
    main()
