"""Many short jobs from start to finish: Snakemake with osgpilot against HTCondor by hand.

Runs inside the local pool. Both sides start the same pilots and count from nothing to the last
result, pilot boot included; ours has Snakemake's own start and end on top.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import htcondor2
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from conftest import SITE

from snakemake_executor_plugin_osgpilot.core.model import Launch, Plan
from snakemake_executor_plugin_osgpilot.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilot.parameters import install_script
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.run import RunFolder
from snakemake_executor_plugin_osgpilot.site.load import load
from snakemake_executor_plugin_osgpilot.slurm.local import LocalSlurm
from snakemake_executor_plugin_osgpilot.wiring import SystemClock

SNAKEFILE = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))

rule nap:
    output: "out/{{n}}"
    shell: "sleep 0.5; touch {{output}}"
"""


def bare(folder: Path, jobs: int, pilots: int) -> float:
    """Return the seconds HTCondor takes for the same jobs on the same pilots."""
    site_file = folder / "site.yaml"
    site_file.write_text(yaml.safe_dump(SITE))
    site = load(site_file)
    seat = Seat("alice", "TestProject", f"bench-{time.time_ns()}")
    run = RunFolder.create(folder, seat.run)
    script = folder / "nap.sh"
    script.write_text("#!/bin/bash\nsleep 0.5; touch result\n")
    slurm = LocalSlurm(seat.owner, site.slurm, install_script(run.path))
    fleet = Fleet(slurm, SystemClock(), site, seat, run)
    log = folder / "jobs.log"
    description = {
        "executable": str(script),
        "initialdir": str(folder),
        "log": str(log),
        "request_cpus": "1",
        "request_memory": "512",
        "request_disk": "100MB",
        "should_transfer_files": "YES",
        "transfer_output_files": "result",
        "transfer_output_remaps": '"result = out/$(ProcId)"',
        "My.ProjectName": f'"{seat.project}"',
        "My.OSGPilotWorkflow": f'"{seat.run}"',
    }
    (folder / "out").mkdir()
    begun = time.monotonic()
    htcondor2.Schedd().submit(htcondor2.Submit(description), count=jobs)
    fleet.apply(Plan((Launch("benchmark"),) * pilots))
    ended = 0
    events = htcondor2.JobEventLog(str(log))
    while ended < jobs:
        for event in events.events(stop_after=0):
            assert event.type != htcondor2.JobEventType.JOB_HELD, event
            ended += event.type == htcondor2.JobEventType.JOB_TERMINATED
        time.sleep(0.1)
    spent_s = time.monotonic() - begun
    assert len(list((folder / "out").iterdir())) == jobs
    fleet.end()
    return spent_s


def ours(folder: Path, jobs: int, pilots: int) -> float:
    """Return the seconds a whole call of Snakemake takes."""
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    (folder / "Snakefile").write_text(SNAKEFILE.format(jobs=jobs))
    begun = time.monotonic()
    done = subprocess.run(
        [
            sys.executable, "-m", "snakemake", "--executor", "osgpilot", "--jobs", "unlimited",
            "--osgpilot-project", "TestProject", "--osgpilot-site", "site.yaml",
            "--osgpilot-max-pilots", str(pilots), "--shared-fs-usage", "none",
            "--max-jobs-per-timespan", "100000/1s",
            "--default-resources", "mem_mb=512", "disk_mb=100",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )  # fmt: skip
    spent_s = time.monotonic() - begun
    assert done.returncode == 0, done.stdout[-5000:]
    assert len(list((folder / "out").iterdir())) == jobs
    return spent_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=400)
    parser.add_argument("--pilots", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        seconds = {}
        for name, measure in (("bare_htcondor", bare), ("osgpilot", ours)):
            place = Path(folder) / name
            place.mkdir()
            seconds[name] = measure(place, arguments.jobs, arguments.pilots)
            print(f"end-to-end {name}_s {seconds[name]:.1f}", flush=True)
    ratio = seconds["osgpilot"] / seconds["bare_htcondor"]
    print(f"end-to-end ratio_to_bare_htcondor {ratio:.2f}")


if __name__ == "__main__":
    main()
