"""The memory for many ready jobs, beyond the memory of Snakemake itself.

Runs inside the local pool. Of an executor that does nothing and of ours, the memory is taken when
all jobs were handed over; of ours, as many are in the queue then as may be, and the others wait.
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

from contenders import DIRECT, IDLE, SAID, Contender, Count, prepare, sweep
from submit import SWEEP_PATIENCE_S, memory_mb, until

from snakemake_executor_plugin_osgpilot.jobs.state.submission import QUEUED_MAX

AT_ONCE = 10_000
"""Jobs that Snakemake's scheduler looks at together: for more, its solver gives up, and what it
falls back to takes time with the square of their number."""
LOOKS, LOOK_EVERY_S = 10, 1.0


def peak_mb(contender: Contender, folder: Path, jobs: int) -> float:
    """Return the most memory that a Snakemake has that handed over all jobs."""
    subsampled = (*contender.options, "--scheduler-subsample", str(AT_ONCE))
    seat = prepare(folder, jobs)
    process = replace(contender, options=subsampled).start(folder, seat, pilots=1)
    handed_over = Count(folder, SAID, "rule nap:")
    in_queue = Count(folder, contender.told_in, contender.told_by)
    wanted = 1 if contender is IDLE else min(jobs, QUEUED_MAX)
    try:
        until(lambda: handed_over() >= jobs, process, folder)
        until(lambda: in_queue() >= wanted, process, folder)
        return max(_looks(process))
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        sweep(SWEEP_PATIENCE_S)


def _looks(process: subprocess.Popen[bytes]) -> list[float]:
    looks = []
    for _ in range(LOOKS):
        time.sleep(LOOK_EVERY_S)
        looks.append(memory_mb(process.pid))
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        alone_mb = peak_mb(IDLE, place / "idle", jobs)
        print(f"memory snakemake_alone_mb {alone_mb:.1f}", flush=True)
        ours_mb = peak_mb(DIRECT, place / "direct", jobs)
        print(f"memory ours_mb {ours_mb:.1f}", flush=True)
    print(f"memory above_snakemake_mb {ours_mb - alone_mb:.1f}")


if __name__ == "__main__":
    main()
