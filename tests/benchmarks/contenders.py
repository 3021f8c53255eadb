"""The ways to run the same short jobs that the benchmarks compare, and what each of them needs.

Everything here runs inside the local pool. The plugins of others run with the Snakemake and the
Slurm plugin that the pool has; the folder named by OSGPILOT_BENCH_PEERS, which `tests/run` fills,
adds the HTCondor plugin and hides the storage plugins.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import htcondor2
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from conftest import SITE, sweep  # noqa: F401

from snakemake_executor_plugin_osgpilot.common.system_clock import SystemClock
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.plan import Launch, Plan
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.pilots.requests import SiteRequests
from snakemake_executor_plugin_osgpilot.slurm.cluster import checked, connect
from snakemake_executor_plugin_osgpilot.slurm.ssh import Logins

PROJECT = "TestProject"
KIND, CORES = "compute/4c", 4
NAP_S = 0.5
"""The runtime of a job in seconds, unless a benchmark has another one."""

SAID, BARE_LOG = "said", "jobs.log"
RUNTIME_IMAGE = "/opt/sif/runtime.sif"

SNAKEFILE = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))

rule nap:
    output: "out/{{n}}"
    shell: "sleep {nap_s}; touch {{output}}"
"""

SCRIPT_SNAKEFILE = """
rule all:
    input: expand("out/{{n}}", n=range({jobs}))

rule nap:
    output: "out/{{n}}"
    resources: container_image="{image}"
    script: "nap.py"
"""

SCRIPT = "import time\ntime.sleep(0.5)\nopen({output}, 'w').close()\n"
"""The same in Python, by Snakemake or by hand."""

JOB_IMAGE = "/opt/sif/job.sif"
"""Has Python, and no Snakemake."""

SNAKEMAKE = (
    *(sys.executable, "-m", "snakemake", "--jobs", "unlimited"),
    *("--max-jobs-per-timespan", "100000/1s", "--seconds-between-status-checks", "1"),
)

WRAPPER = """#!/bin/bash
set -e
export HOME=$(pwd)
unset APPTAINER_CACHEDIR
python -m snakemake "$@"
"""
"""As the HTCondor plugin's documentation has it; where APPTAINER_CACHEDIR points, in the pilot's
folder, a job's container cannot write."""


@dataclass(frozen=True)
class Contender:
    """A way to run the workflow. In the file `told_in` of its folder (a pattern), `told_by` stands
    once for each job that is in the queue. `imports` are folders that its Python needs. With
    `has_script`, the jobs are a script in Python.
    """

    name: str
    options: tuple[str, ...]
    told_in: str
    told_by: str
    needs_pilots: bool = False
    imports: str = ""
    has_script: bool = False

    def argv(self, seat: RunIdentity, pilots: int) -> list[str]:
        """Return the command line of Snakemake."""
        values = {"project": seat.project, "run": seat.run, "pilots": pilots}
        return [*SNAKEMAKE, *(option.format(**values) for option in self.options)]

    def start(self, folder: Path, seat: RunIdentity, pilots: int) -> subprocess.Popen[bytes]:
        """Start Snakemake in `folder`; what it says goes to the file `said`."""
        with (folder / SAID).open("w") as said:
            return subprocess.Popen(
                self.argv(seat, pilots),
                cwd=folder,
                env=os.environ | ({"PYTHONPATH": self.imports} if self.imports else {}),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


class Count:
    """Counts a text in a file that grows and may not exist yet; reads each part once."""

    def __init__(self, folder: Path, pattern: str, text: str) -> None:
        self._folder, self._pattern, self._text = folder, pattern, text.encode()
        self._read_bytes = self._found = 0

    def __call__(self) -> int:
        for path in self._folder.glob(self._pattern):
            with path.open("rb") as file:
                file.seek(self._read_bytes)
                whole_lines = file.read().rpartition(b"\n")[0]
            self._read_bytes += len(whole_lines)
            self._found += whole_lines.count(self._text)
        return self._found


PEERS = os.environ.get("OSGPILOT_BENCH_PEERS", "")
_SUBMIT_EVENT = "000 ("
_OSGPILOT_LOG = ".snakemake/osgpilot/*/jobs.log"
_OSGPILOT = (
    *("--executor", "osgpilot", "--shared-fs-usage", "none", "--osgpilot-site", "site.yaml"),
    *(
        "--osgpilot-offload",
        "always",
        "--osgpilot-project",
        "{project}",
        "--osgpilot-max-pilots",
        "{pilots}",
    ),
    *("--default-resources", "mem_mb=512", "disk_mb=100"),
)

_ALONE = ("--osgpilot-bundle", "off")
DIRECT = Contender("direct", (*_OSGPILOT, *_ALONE), _OSGPILOT_LOG, _SUBMIT_EVENT)
BUNDLED = Contender("bundled", _OSGPILOT, _OSGPILOT_LOG, _SUBMIT_EVENT)
PYTHON_SCRIPT = Contender("script", _OSGPILOT, _OSGPILOT_LOG, _SUBMIT_EVENT, has_script=True)
PLUGIN_HTCONDOR = Contender(
    "plugin_htcondor",
    (
        *("--executor", "htcondor", "--shared-fs-usage", "none", "--htcondor-held-timeout", "0"),
        *("--default-resources", "job_wrapper=wrapper.sh", "universe=container"),
        f"container_image={RUNTIME_IMAGE}",
        *("htcondor_request_mem_mb=512", "htcondor_request_disk_mb=300"),
        *("classad_ProjectName={project}", "classad_OSGPilotWorkflow={run}"),
    ),
    ".snakemake/htcondor/snakemake-rules.log",
    _SUBMIT_EVENT,
    needs_pilots=True,
    imports=PEERS,
)
PLUGIN_SLURM = Contender(
    "plugin_slurm",
    (
        *("--executor", "slurm", "--slurm-no-account", "--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "1"),
        *("--default-resources", "mem_mb=512", "slurm_partition=compute", "runtime=10"),
    ),
    SAID,
    "has been submitted with SLURM jobid",
    imports=PEERS,
)
IDLE = Contender(
    "idle",
    ("--executor", "idle", "--default-resources", "mem_mb=512", "disk_mb=100"),
    SAID,
    "idle: took them over",
    imports=str(Path(__file__).with_name("idle")),
)
OTHER_PLUGINS = (PLUGIN_HTCONDOR, PLUGIN_SLURM)
"""They start another Snakemake for each job."""


def prepare(
    folder: Path, jobs: int, *, has_script: bool = False, nap_s: float = NAP_S
) -> RunIdentity:
    """Write the workflow into a new folder; return the names under which its pilots run."""
    folder.mkdir()
    (folder / "site.yaml").write_text(yaml.safe_dump(SITE))
    snakefile = SCRIPT_SNAKEFILE if has_script else SNAKEFILE
    (folder / "Snakefile").write_text(snakefile.format(jobs=jobs, image=JOB_IMAGE, nap_s=nap_s))
    (folder / "nap.py").write_text(SCRIPT.format(output="snakemake.output[0]"))
    (folder / "wrapper.sh").write_text(WRAPPER)
    (folder / "wrapper.sh").chmod(0o755)
    return RunIdentity("alice", PROJECT, f"bench-{time.time_ns()}")


@contextmanager
def pilots(folder: Path, seat: RunIdentity, count: int) -> Iterator[None]:
    """Have `count` pilots started for the jobs of `seat`, as osgpilot starts its own."""
    site = load(folder / "site.yaml")
    run = RunFolder.create(folder / "pilots", seat.run)
    slurm = checked(connect(site.slurm.ssh, site.slurm.cluster, Logins()), site).client(run)
    fleet = PilotManager(slurm, SystemClock(), SiteRequests(site, seat, run))
    fleet.apply(Plan((Launch(KIND, 3600, "benchmark"),) * count))
    try:
        yield
    finally:
        fleet.end()


def submit_bare(
    folder: Path, seat: RunIdentity, jobs: int, *, has_script: bool = False, nap_s: float = NAP_S
) -> None:
    """Submit the same jobs by hand, in one transaction; they log to `jobs.log`."""
    script = folder / "by_hand"
    by_python = "#!/usr/bin/env python3\n" + SCRIPT.format(output="'result'")
    script.write_text(by_python if has_script else f"#!/bin/bash\nsleep {nap_s}; touch result\n")
    (folder / "out").mkdir()
    description = {
        "executable": str(script),
        "initialdir": str(folder),
        "log": str(folder / BARE_LOG),
        "request_cpus": "1",
        "request_memory": "512",
        "request_disk": "100MB",
        "should_transfer_files": "YES",
        "transfer_output_files": "result",
        "transfer_output_remaps": '"result = out/$(ProcId)"',
        "My.ProjectName": f'"{seat.project}"',
        "My.OSGPilotWorkflow": f'"{seat.run}"',
    }
    if has_script:
        # sent once per pilot, as osgpilot does
        image = {"container_image": JOB_IMAGE, "container_is_common": "true"}
        description |= {"universe": "container", **image}
    htcondor2.Schedd().submit(htcondor2.Submit(description), count=jobs)
