"""Options of `sbatch` that a site file may add (`slurm.options`). Pure."""

from __future__ import annotations

import re

INSTEAD = {
    "account": "slurm.account",
    "clusters": "slurm.cluster",
    "constraint": "slurm.constraint",
    "cpus-per-gpu": "cores of pilots",
    "cpus-per-task": "cores of pilots",
    "gpus": "gpus of pilots",
    "gpus-per-node": "gpus of pilots",
    "gpus-per-socket": "gpus of pilots",
    "gpus-per-task": "gpus of pilots",
    "mem": "memory_mb of pilots, and slurm.memory",
    "mem-per-cpu": "memory_mb of pilots, and slurm.memory",
    "mem-per-gpu": "memory_mb of pilots, and slurm.memory",
    "partition": "partitions",
    "qos": "slurm.qos",
    "reservation": "slurm.reservation",
    "time": "walltimes of pilots",
    "time-min": "walltimes of pilots",
}
"""Options that follow from other keys of the site file."""

OURS = (
    "array", "chdir", "error", "exclude", "export", "export-file", "help", "hold", "input",
    "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-core", "ntasks-per-gpu",
    "ntasks-per-node", "ntasks-per-socket", "open-mode", "output", "parsable", "requeue",
    "signal", "test-only", "usage", "version", "wait", "wrap",
)  # fmt: skip
"""Options that osgpilot sets, or with which it would not work."""

_OPTION = re.compile(r"--([a-z][a-z0-9-]*)(=[^\s\x00-\x1f\x7f]+)?")


def option_problem(option: str) -> str:
    """Return why an option cannot be given, with what to do; empty if it can.

    `sbatch` takes any beginning of an option's name for the whole.
    """
    found = _OPTION.fullmatch(option)
    if not found:
        return "write it as --name or --name=value, without blanks"
    name, value = found[1], found[2] or ""
    if name == "gres" and re.search(r"[=,]gpu(:|,|$)", value):
        return "GPUs follow from `gpus` of pilots"
    for other, instead in INSTEAD.items():
        if other.startswith(name):
            return f"--{other} follows from {instead}"
    for other in OURS:
        if other.startswith(name):
            return f"osgpilot itself decides on --{other}"
    return ""
