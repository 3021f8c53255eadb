"""The argument lists we hand to Slurm's commands. Nothing here passes a shell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from snakemake_executor_plugin_osgpilot.ports import Allocation
from snakemake_executor_plugin_osgpilot.site.load import SlurmOptions

LOG = "slurm.log"
"""The log of a pilot, in its folder."""

WARNING_S = 180
"""Slurm warns the pilot this long before the walltime. It may do so up to 60 s early (sbatch(1),
--signal), and the pilot ends itself before, so this is the second line of defence."""

FIELDS = ("%A", "%j", "%T", "%r", "%S", "%e", "%N")
PLACE_FIELDS = ("%A", "%j", "%Z")
SEPARATOR = "\x1f"


def sbatch(allocation: Allocation, options: SlurmOptions, script: Path) -> list[str]:
    """Return the `sbatch` call for one pilot; the pilot's folder is the script's only argument."""
    argv = [
        "sbatch",
        "--parsable",
        "--export=NONE",
        "--no-requeue",
        f"--job-name={allocation.name}",
        f"--comment=osgpilot:{allocation.run}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={allocation.cores}",
        f"--mem={allocation.memory_mb}",
        f"--time={allocation.walltime_min}",
        *([] if allocation.walltime_min * 60 <= WARNING_S else [f"--signal=B:TERM@{WARNING_S}"]),
        f"--output={_filename_pattern(allocation.folder / LOG)}",
        f"--chdir={allocation.folder}",
    ]
    if allocation.gpus:
        kind = f"{allocation.gpu_type}:" if allocation.gpu_type else ""
        argv.append(f"--gres=gpu:{kind}{allocation.gpus}")
    if allocation.exclude:
        argv.append(f"--exclude={','.join(allocation.exclude)}")
    if partition := allocation.partition or options.partition:
        argv.append(f"--partition={partition}")
    for name in ("account", "qos", "constraint", "reservation"):
        if value := getattr(options, name):
            argv.append(f"--{name}={value}")
    return [*argv, str(script), str(allocation.folder)]


def sbatch_test_only(allocation: Allocation, options: SlurmOptions, script: Path) -> list[str]:
    """Return the call that asks when Slurm would start this pilot; nothing is submitted."""
    return ["sbatch", "--test-only", *sbatch(allocation, options, script)[1:]]


def _filename_pattern(path: Path) -> str:
    """Escape what sbatch would replace in a file name (sbatch(1), FILENAME PATTERN)."""
    return str(path).replace("%", "%%")


def squeue(user: str) -> list[str]:
    """Return the one query that shows all allocations of `user`, ended ones included."""
    return [
        "squeue",
        "--noheader",
        f"--user={user}",
        "--states=all",
        f"--format={SEPARATOR.join(FIELDS)}",
    ]


def squeue_folders(user: str) -> list[str]:
    """Return the query for id, name and working folder of the allocations that have not ended."""
    return ["squeue", "--noheader", f"--user={user}", f"--format={SEPARATOR.join(PLACE_FIELDS)}"]


def scancel_pending(allocation_ids: Sequence[str]) -> list[str]:
    return ["scancel", "--state=PENDING", *allocation_ids]


def scancel_batch_term(allocation_ids: Sequence[str]) -> list[str]:
    """Signal the batch shells alone.

    A plain scancel signals every process of the pilot, the one that holds its root file system
    included; nothing is evicted cleanly then and the job waits for its lease to run out.
    """
    return ["scancel", "--batch", "--signal=TERM", *allocation_ids]


def scancel_batch_usr1(allocation_ids: Sequence[str]) -> list[str]:
    """Signal the batch shells alone: finish what runs, then end."""
    return ["scancel", "--batch", "--signal=USR1", *allocation_ids]


def scancel(allocation_ids: Sequence[str]) -> list[str]:
    return ["scancel", *allocation_ids]
