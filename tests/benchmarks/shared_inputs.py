"""Inputs that many jobs share: what leaves the access point, with sharing and without.

Runs inside the local pool: `--jobs` jobs on two pilots read the same file and folder of 200 MB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from conftest import SITE, Workflow

PILOTS = 2
FILE_MB, PARTS, PART_MB = 150, 5, 10
SHARED_MB = FILE_MB + PARTS * PART_MB
_MB = 1024 * 1024

SNAKEFILE = """
rule all:
    input: expand("out/{n}.txt", n=range(int(config["jobs"])))

rule each:
    input: "genome", "index"
    output: "out/{n}.txt"
    shell: "cat {input[0]} {input[1]}/* | wc -c > {output}; sleep 1"
"""


def say(metric: str, value: float) -> None:
    print(f"shared-inputs {metric} {value:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=60)
    jobs = parser.parse_args().jobs
    with tempfile.TemporaryDirectory(dir=Path.home()) as place:
        for name in ("off", "auto"):
            measure(Path(place) / name, jobs, name)


def measure(folder: Path, jobs: int, sharing: str) -> None:
    (folder / "index").mkdir(parents=True)
    (folder / "genome").write_bytes(os.urandom(FILE_MB * _MB))
    for number in range(PARTS):
        (folder / f"index/{number}").write_bytes(os.urandom(PART_MB * _MB))
    flow = Workflow(folder)
    flow.write_site({**SITE, "scratch": "/var/tmp"})
    flow.snakefile(SNAKEFILE)
    options = ["--osgpilot-max-pilots", str(PILOTS), "--osgpilot-shared-inputs", sharing]
    disk = ["--default-resources", "mem_mb=500", "disk_mb=500"]
    flow.start(*options, *disk, "--config", f"jobs={jobs}")
    assert flow._process
    assert flow._process.wait(1200) == 0, flow.said
    for number in range(jobs):
        assert int((folder / f"out/{number}.txt").read_text()) == SHARED_MB * _MB
    record = flow.record()
    moved = record["transfers"]
    sent_mb = moved["to_jobs_mb"] + moved["images_mb"] + moved["shared_mb"]
    say(f"bytes_sent_{sharing}", sent_mb * _MB)
    say(f"pilots_{sharing}", moved["pilots"])
    say(f"makespan_s_{sharing}", record["makespan_s"])
    # the last line is with sharing
    say(f"copies_per_pilot{'' if sharing == 'auto' else '_off'}", sent_mb / SHARED_MB / PILOTS)


if __name__ == "__main__":
    main()
