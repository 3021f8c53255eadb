"""The argument lists we hand to Slurm's commands. Nothing here passes a shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from snakemake_executor_plugin_osgpilot.config.site import SlurmOptions
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation

LOG = "slurm.log"
"""The log of a pilot, in its folder."""

WARNING_S = 180
"""Slurm warns the pilot this long before the walltime. It may do so up to 60 s early (sbatch(1),
--signal), and the pilot ends itself before, so this is the second line of defence."""

FIELDS = ("%A", "%j", "%T", "%r", "%S", "%e", "%N", "%Z")
"""What is asked of each allocation: id, name, state, reason, start, end, node, working folder."""

CANCEL = """
user=$1 mark=$2 options=$3; shift 3
shown=$(squeue --noheader --all --user="$user" --states=all --format="$mark:%A:%j:$mark") || exit
ids=$({ printf '%s\\n' "$@"; echo; printf '%s\\n' "$shown"; } | awk -F: -v mark="$mark" '
    !all && NF { wanted[$2] = $0; next }
    { all = 1 }
    $1 == mark && ($2 in wanted) && $0 != wanted[$2] { delete wanted[$2] }
    END { for (id in wanted) print id }
') || exit
[ -z "$ids" ] || exec scancel --user="$user" $options $ids
"""
"""Runs `scancel` with those of the wanted ids that do not belong to another job by now.

Ids start again when slurmctld has lost its state. `scancel --name` takes one name alone, so names
are compared here; an id that `squeue` does not show proves nothing and is passed on. Lines are
`MARK:ID:NAME:MARK`: a job cannot have a mark in its name that was made for this call.
"""


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


def squeue(user: str, mark: str) -> list[str]:
    """Return the one query that shows all allocations of `user`, ended ones included.

    Hidden partitions are included. A job's name may have any character in it, line breaks too;
    `mark`, made for this query, tells where rows and fields begin and end: `MARK+` before a row,
    `MARK,` between fields, `MARK.` after it.
    """
    row = f"{mark},".join(FIELDS)
    return [
        "squeue",
        "--noheader",
        "--all",
        f"--user={user}",
        "--states=all",
        f"--format={mark}+{row}{mark}.",
    ]


PENDING = ("--state=PENDING",)
"""Options of `scancel`: leave running allocations alone."""

TERM = ("--batch", "--signal=TERM")
"""Options of `scancel`: signal the batch shells alone.

A plain scancel signals every process of the pilot, the one that holds its root file system
included; nothing is evicted cleanly then and the job waits for its lease to run out.
"""

USR1 = ("--batch", "--signal=USR1")
"""Options of `scancel`: signal the batch shells alone: finish what runs, then end."""


def scancel(user: str, mark: str, pilots: Mapping[str, str], options: Sequence[str]) -> list[str]:
    """Return the call that runs `scancel` on allocations (name by id) that still have their name.

    See `CANCEL`; `mark` is made for this call.
    """
    lines = (f"{mark}:{allocation_id}:{name}:{mark}" for allocation_id, name in pilots.items())
    return ["sh", "-c", CANCEL, "-", user, mark, " ".join(options), *lines]
