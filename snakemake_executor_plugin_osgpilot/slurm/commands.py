"""Argument lists of Slurm's commands; none is interpreted by a shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..config.site import GRES, SlurmOptions
from ..pilots.batch_system import Allocation

LOG = "slurm.log"
"""The log of a pilot, in its folder."""

WARNING_S = 180
"""Slurm signals the pilot this long before the time limit, possibly 60 s earlier (sbatch(1),
--signal). A fallback: the pilot ends itself before."""

FIELDS = ("%A", "%j", "%T", "%r", "%S", "%e", "%N", "%C", "%Z")
"""Queried fields of each allocation: id, name, state, reason, start, end, node, cores, working
folder."""

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

Ids restart when slurmctld has lost its state. `scancel --name` accepts only one name, so names are
compared here; an id that `squeue` does not show proves nothing and is passed on. Lines are
`MARK:ID:NAME:MARK`: the mark is random, so that no job's name can contain it.
"""


def sbatch(allocation: Allocation, options: SlurmOptions, script: Path) -> list[str]:
    """Return the `sbatch` call for one pilot; the pilot's folder is the script's only argument."""
    argv = [
        "sbatch",
        "--parsable",
        "--export=NONE",
        "--no-requeue",
        f"--job-name={allocation.name}",
        *([] if _names(options, "--comment") else [f"--comment=osgpilot:{allocation.run}"]),
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={allocation.cores}",
        *_memory(allocation, options.memory),
        f"--time={allocation.walltime_min}",
        *([] if allocation.walltime_min * 60 <= WARNING_S else [f"--signal=B:TERM@{WARNING_S}"]),
        f"--output={_filename_pattern(allocation.folder / LOG)}",
        f"--chdir={allocation.folder}",
    ]
    if gres := _generic_resources(allocation, options):
        argv.append(f"--gres={gres}")
    if allocation.exclude:
        argv.append(f"--exclude={','.join(allocation.exclude)}")
    if partition := allocation.partition or options.partition:
        argv.append(f"--partition={partition}")
    for name, value in allocation.queue.items():
        if value:
            argv.append(f"--{name}={value}")
    argv += [option for option in options.options if not option.startswith(GRES)]
    return [*argv, str(script), str(allocation.folder)]


def _names(options: SlurmOptions, option: str) -> bool:
    return any(each.startswith(f"{option}=") for each in options.options)


def _memory(allocation: Allocation, how: str) -> list[str]:
    """Return the request for memory, as the site wants it."""
    if how == "none":
        return []
    if how == "cpu":
        return [f"--mem-per-cpu={-(-allocation.memory_mb // allocation.cores)}"]
    return [f"--mem={allocation.memory_mb}"]


def _generic_resources(allocation: Allocation, options: SlurmOptions) -> str:
    """Return GPUs and the site's own resources in one list: of two `--gres`, one would count."""
    kind = f"{allocation.gpu_type}:" if allocation.gpu_type else ""
    gpus = [f"gpu:{kind}{allocation.gpus}"] if allocation.gpus else []
    return ",".join([*gpus, *options.gres])


def sbatch_test_only(allocation: Allocation, options: SlurmOptions, script: Path) -> list[str]:
    """Return the `sbatch` call that only predicts the start of this pilot; nothing is submitted."""
    return ["sbatch", "--test-only", *sbatch(allocation, options, script)[1:]]


def _filename_pattern(path: Path) -> str:
    """Escape the characters that sbatch replaces in a file name (sbatch(1), FILENAME PATTERN)."""
    return str(path).replace("%", "%%")


def squeue(user: str, mark: str) -> list[str]:
    """Return the query for all allocations of `user`, including ended ones and hidden partitions.

    A job's name may contain any character, even line breaks; the random `mark` delimits rows and
    fields: `MARK+` before a row, `MARK,` between fields, `MARK.` after it.
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
"""Options of `scancel`: do not affect running allocations."""

END = ("--batch", "--signal=TERM")
"""Options of `scancel`: signal the batch shells only.

A plain scancel signals every process of the pilot, including the one that mounts its root file
system; then no job is evicted cleanly, and HTCondor waits for the job lease to expire.
"""

DRAIN = ("--batch", "--signal=USR1")
"""Options of `scancel`: signal the batch shells only, to finish running jobs, then end."""


def scancel(user: str, mark: str, pilots: Mapping[str, str], options: Sequence[str]) -> list[str]:
    """Return the call that runs `scancel` on allocations (name by id) that still have their name.

    See `CANCEL`; `mark` is a random word.
    """
    lines = (f"{mark}:{allocation_id}:{name}:{mark}" for allocation_id, name in pilots.items())
    return ["sh", "-c", CANCEL, "-", user, mark, " ".join(options), *lines]
