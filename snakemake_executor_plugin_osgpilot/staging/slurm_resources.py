"""The resources of the Slurm plugin, and what they mean for a job on a pilot. Pure.

Resources that mean cores, memory or GPUs become part of the request. What only a Slurm job of its
own can have (several nodes or tasks, a feature of the node, options of `sbatch`) decides where the
rule runs, see `routing.policy`. The rest chooses a queue of Slurm and has no effect on a pilot.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..common.snakemake_types import Resources
from ..errors import InputError

COUNTS = ("nodes", "tasks", "tasks_per_node", "tasks_per_gpu")
"""More than one of these is a job of several processes that Slurm starts; so is `mpi`."""

QUEUES = (
    "slurm_account", "slurm_partition", "qos", "slurm_cluster", "cluster", "clusters",
)  # fmt: skip
"""These choose a queue of Slurm."""

AMOUNTS = ("cpus_per_task", "cpus_per_gpu", "mem_mb_per_cpu", "gres")

NAMES = ("mpi", *COUNTS, *QUEUES, *AMOUNTS, "constraint", "slurm_extra")

_HARMLESS = {
    "--account", "-A", "--acctg-freq", "--comment", "--exclude", "-x", "--get-user-env",
    "--mail-type", "--mail-user", "--nice", "--no-requeue", "--open-mode", "--partition", "-p",
    "--priority", "--propagate", "--qos", "-q", "--quiet", "-Q", "--requeue", "--reservation",
    "--signal", "--time-min", "--verbose", "-v", "--wckey",
}  # fmt: skip
"""Options of `sbatch` in `slurm_extra` that a job can do without; any other may be needed."""

_GRES = re.compile(
    r"(?P<name>[A-Za-z0-9_]+)(:(?P<type>[A-Za-z][A-Za-z0-9_.-]*))?(:(?P<count>\d+))?"
)


@dataclass(frozen=True)
class Amounts:
    """The request in resources of the Slurm plugin; 0 or empty if there is none."""

    cores: int = 0
    memory_per_core_mb: int = 0
    gpus: int = 0
    gpu_model: str = ""


@dataclass(frozen=True)
class Ties:
    """Names of resources of the Slurm plugin that a pilot cannot grant.

    `needs`: the job does not work without; `wishes`: it was meant to have; `queues`: without effect
    on a pilot.
    """

    needs: tuple[str, ...] = ()
    wishes: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()

    def __or__(self, other: Ties) -> Ties:
        return Ties(
            _union(self.needs, other.needs),
            _union(self.wishes, other.wishes),
            _union(self.queues, other.queues),
        )


UNTIED = Ties()


def _union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one + other))


def amounts(who: str, resources: Mapping[str, object], gpus: int = 0) -> Amounts:
    """Return the cores, memory and GPUs that `resources` ask for in the words of the Slurm plugin.

    `gpus` is what `gpu` asks for. Raises `InputError` naming `who` and the resource.
    """
    model = ""
    if not gpus:
        gpus, model = _gpus(str(resources.get("gres") or ""))
    cores = max(0, _number(who, resources, "cpus_per_task"))
    if not cores and gpus:
        cores = gpus * max(0, _number(who, resources, "cpus_per_gpu"))
    return Amounts(cores, max(0, _number(who, resources, "mem_mb_per_cpu")), gpus, model)


def memory_of_plain_job(how: str, resources: Resources, threads: int) -> dict[str, int | None]:
    """Return the resources to replace, so that the Slurm plugin requests memory as a site wants it
    (`slurm.memory`): for each `cpu`, or not at all (`none`).

    What a rule asks for each core stays, where memory may be requested.
    """
    if how == "none":
        return {"mem_mb": None, "mem_mb_per_cpu": None}
    memory_mb = resources.get("mem_mb")
    if how != "cpu" or not memory_mb or resources.get("mem_mb_per_cpu"):
        return {}
    tasks = resources.get("tasks_per_node") or math.ceil(
        (resources.get("tasks") or 1) / (resources.get("nodes") or 1)
    )
    cores = max(1, resources.get("cpus_per_task") or threads) * max(1, tasks)
    return {"mem_mb_per_cpu": math.ceil(memory_mb / cores)}


def ties(resources: Mapping[str, object], constraint: str = "") -> Ties:
    """Return what binds a job with these resources to Slurm; pilots' nodes have `constraint`."""
    needs = ["mpi"] if resources.get("mpi") else []
    needs += [name for name in COUNTS if _is_several(resources.get(name))]
    feature = resources.get("constraint")
    wishes = ["constraint"] if feature and str(feature) != constraint else []
    wishes += ["gres"] if _other_gres(str(resources.get("gres") or "")) else []
    extra = list(_options(str(resources.get("slurm_extra") or "")))
    queues = [name for name in QUEUES if resources.get(name)]
    if any(option not in _HARMLESS for option in extra):
        wishes.append("slurm_extra")
    elif extra:
        queues.append("slurm_extra")
    return Ties(tuple(needs), tuple(wishes), tuple(queues))


def _is_several(value: object) -> bool:
    return isinstance(value, int | float) and value > 1


def _number(who: str, resources: Mapping[str, object], name: str) -> int:
    """Return a number, 0 if it is not set; less than 0 stands for "as Slurm likes"."""
    value = resources.get(name) or 0
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError(f"{who}: the resource {name} is {value!r}; it has to be a number")
    return math.ceil(value)


def _gpus(gres: str) -> tuple[int, str]:
    """Return number and type of the GPUs in `gpu:a100:2`, or `gpu:2`."""
    found = [each for each in _generic(gres) if each and each["name"] == "gpu"]
    types = [each["type"] for each in found if each["type"]]
    return sum(int(each["count"] or 1) for each in found), types[0] if types else ""


def _other_gres(gres: str) -> bool:
    return any(each is None or each["name"] != "gpu" for each in _generic(gres))


def _generic(gres: str) -> Iterator[re.Match[str] | None]:
    return (_GRES.fullmatch(part.strip()) for part in gres.split(",") if part.strip())


def _options(extra: str) -> Iterator[str]:
    """Yield the names of the options of `sbatch` in a text; the text if it has none."""
    try:
        words = shlex.split(extra)
    except ValueError:
        words = []
    if extra and not any(word.startswith("-") for word in words):
        yield extra
    for word in words:
        if word.startswith("--"):
            yield word.partition("=")[0]
        elif word.startswith("-"):
            yield word[:2]
