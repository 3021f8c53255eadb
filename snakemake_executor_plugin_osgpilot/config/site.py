"""A site as described by its file; each error names the file and what to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..model.resources import UNBOUNDED_MB
from .sbatch_options import option_problem
from .site_schema import complaints, read

OSPOOL = "ospool"

WALLTIMES_MIN = (30, 60, 120, 240, 480, 720, 1440, 2880, 4320, 10080)
"""Walltimes of pilots, up to the maximum that the site file names."""


@dataclass(frozen=True)
class SlurmOptions:
    """Host of Slurm, and options of every sbatch call; empty means the default.

    `ssh` is the host with Slurm's commands (empty: this one), `folder` the folder there for the
    files of pilots, `cluster` the one of several that the commands work on. `memory` says how
    memory is requested: for the `node`, for each `cpu`, or not at all (`none`). `options` are
    further options of `sbatch`.
    """

    partition: str = ""
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""
    gpu_type: str = ""
    ssh: str = ""
    folder: str = ""
    cluster: str = ""
    memory: str = "node"
    options: tuple[str, ...] = ()

    @property
    def gres(self) -> tuple[str, ...]:
        """The generic resources among `options`."""
        return tuple(each.removeprefix(GRES) for each in self.options if each.startswith(GRES))


GRES = "--gres="

QUEUE = ("account", "qos", "constraint", "reservation")
"""Options of `sbatch` that a partition of the site file may have of its own."""


@dataclass(frozen=True)
class PilotOptions:
    """Options of all pilots of the site."""

    memory_headroom_mb: int = 200
    idle_min: int = 30
    remote_log: bool = False


UPDATE_INTERVAL_S = 300
"""HTCondor's default of UPDATE_INTERVAL: how often a pilot checks whether it has been idle for too
long, and updates the pool when nothing has changed."""

POLL_S = 60.0
"""HTCondor's advice: poll a schedd once a minute at most (Scalable Job Tracking)."""


@dataclass(frozen=True)
class RemoteSchedd:
    """An access point on another host, found through a collector (empty: the central manager)."""

    schedd: str
    collector: str = ""
    poll_s: float = POLL_S


@dataclass(frozen=True)
class Partition:
    """A Slurm partition (no name: the cluster's default) and the largest pilot in it.

    `memory_mb` is the allocation's, headroom included. Smaller pilots are halves, quarters and so
    on of the largest, down to `smallest_cores`. The walltime of a pilot is one of `walltimes_min`.
    The options in `QUEUE` are its own, or those of the site.
    """

    name: str
    cores: int
    memory_mb: int
    walltimes_min: tuple[int, ...]
    disk_mb: int = UNBOUNDED_MB
    gpus: int = 0
    gpu_type: str = ""
    smallest_cores: int = 1
    account: str = ""
    qos: str = ""
    constraint: str = ""
    reservation: str = ""

    @property
    def queue(self) -> dict[str, str]:
        """The options of `sbatch` in `QUEUE`."""
        return {name: getattr(self, name) for name in QUEUE}


@dataclass(frozen=True)
class OwnLimits:
    """Limits on the pilots of a run at this site (None: only those of the run)."""

    max_pilots: int | None = None
    max_cores: int | None = None
    max_core_hours: float | None = None


@dataclass(frozen=True)
class Site:
    """A Slurm cluster where pilots run. `project` is the default of its runs.

    `shared_folders` of the nodes are visible to jobs; they and the `offer_prefix` of the names of
    its pilot types come from the run, not from the file. Pilots are fixed if the file has
    `pilot.cores` instead of `partitions`.
    """

    site: str
    resource: str
    token: Path
    image: str
    partitions: tuple[Partition, ...]
    pilot: PilotOptions = field(default_factory=PilotOptions)
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    central_manager: str = OSPOOL
    scratch: str = "/var/tmp"
    setup: tuple[str, ...] = ()
    condor: dict[str, str] = field(default_factory=dict)
    access_point: RemoteSchedd | None = None
    shared_folders: tuple[str, ...] = ()
    project: str = ""
    has_fixed_pilots: bool = False
    limits: OwnLimits = field(default_factory=OwnLimits)
    cost_per_core_h: float | None = None
    offer_prefix: str = ""


def load(path: Path) -> Site:
    """Return the site described by the YAML file `path`.

    `~` in paths is the home folder; relative paths are relative to the site file. If Slurm is
    behind SSH, paths are on the cluster, which expands `~`. Raises `InputError` with file, line and
    key.
    """
    content, tree = read(path)
    if problems := complaints(path, content, tree):
        raise InputError(problems[0])
    return _site(content, path)


def all_complaints(path: Path) -> list[str]:
    """Return all errors within a site file, one line each, the most important first."""
    try:
        content, tree = read(path)
        if problems := complaints(path, content, tree):
            return problems
        _site(content, path)
    except InputError as problem:
        return [str(problem)]
    return []


def _site(content: dict[str, Any], path: Path) -> Site:
    remote = bool(content.get("slurm", {}).get("ssh"))

    def place(key: str) -> Path:
        value = Path(content[key])
        if not remote:
            return path.parent.absolute() / value.expanduser()
        if value.parts[:1] not in (("/",), ("~",)):
            raise InputError(
                f"site file {path}: `{key}` is a path on the cluster, because of `slurm.ssh`; "
                "begin it with / or ~/"
            )
        return value

    image = content["image"]
    names = ("site", "resource", "central_manager", "scratch", "project", "cost_per_core_h")
    known = {k: content[k] for k in names if k in content}
    shared = {k: v for k, v in content.get("pilot", {}).items() if k in _SHARED_KEYS}
    site = Site(
        **known,
        token=place("token"),
        image=image if "://" in image else str(place("image")),
        partitions=_partitions(content, path),
        pilot=PilotOptions(**shared),
        slurm=_slurm(content),
        setup=tuple(content.get("setup", ())),
        condor={k: str(v) for k, v in content.get("condor", {}).items()},
        access_point=RemoteSchedd(**there) if (there := content.get("access_point")) else None,
        has_fixed_pilots="partitions" not in content,
        limits=OwnLimits(**content.get("limits", {})),
    )
    _check(site, path)
    return site


_SHARED_KEYS = ("memory_headroom_mb", "idle_min", "remote_log")


def _partitions(content: dict[str, Any], path: Path) -> tuple[Partition, ...]:
    """Return the partitions; a fixed pilot is a partition with one shape and one walltime."""
    pilot = {k: v for k, v in content.get("pilot", {}).items() if k not in _SHARED_KEYS}
    listed = content.get("partitions", [])
    if bool(pilot) == bool(listed):
        raise InputError(
            f"site file {path}: give either `pilot.cores`, `.memory_mb` and `.walltime_min` "
            "(all pilots are alike) or `partitions` (the shape follows from the jobs)"
        )
    slurm = _slurm(content)
    queue = {name: getattr(slurm, name) for name in QUEUE}
    if listed:
        return tuple(_partition(queue | entry) for entry in listed)
    fixed = {"walltimes_min": (pilot.pop("walltime_min"),), "smallest_cores": pilot["cores"]}
    return (Partition(slurm.partition, gpu_type=slurm.gpu_type, **fixed, **pilot, **queue),)


def _slurm(content: dict[str, Any]) -> SlurmOptions:
    given = dict(content.get("slurm", {}))
    return SlurmOptions(**given | {"options": tuple(given.get("options", ()))})


def _partition(entry: dict[str, Any]) -> Partition:
    longest = entry.pop("walltime_max_min")
    steps = (step for step in WALLTIMES_MIN if step < longest)
    return Partition(walltimes_min=(*steps, longest), **{"smallest_cores": 4, **entry})


def idle_floor_min(condor: Mapping[str, str]) -> int:
    """Return the least `pilot.idle_min` with which a pilot waits for its first job.

    A pilot checks its idleness once per UPDATE_INTERVAL, counted from its start. At the first
    check its node may just have been tested, and the negotiator needs a cycle to send jobs.
    """
    interval = condor.get("UPDATE_INTERVAL", "")
    interval_s = int(interval) if interval.isdecimal() else UPDATE_INTERVAL_S
    return max(1, -(-2 * interval_s // 60))


def _check(site: Site, path: Path) -> None:
    floor_min = idle_floor_min(site.condor)
    if site.pilot.idle_min < floor_min:
        raise InputError(
            f"site file {path}: `pilot.idle_min` is {site.pilot.idle_min}; with less than "
            f"{floor_min} minutes a pilot may leave before it gets its first job"
        )
    if site.slurm.folder and not site.slurm.ssh:
        raise InputError(f"site file {path}: `slurm.folder` needs `slurm.ssh`, the host it is on")
    there = site.access_point
    if there and there.poll_s < POLL_S and site.central_manager == OSPOOL:
        raise InputError(
            f"site file {path}: `access_point.poll_s` is {there.poll_s:g}; access points of the "
            f"Open Science Pool are polled every {POLL_S:.0f} s at most"
        )
    for option in site.slurm.options:
        if why := option_problem(option):
            raise InputError(f"site file {path}: `slurm.options` has {option!r}: {why}")
    names = [partition.name for partition in site.partitions]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(
            f"site file {path}: `partitions` has {twice} twice; to run in it under two accounts, "
            "use two site files"
        )
    if site.slurm.gpu_type and not any(partition.gpus for partition in site.partitions):
        raise InputError(f"site file {path}: `slurm.gpu_type` needs `pilot.gpus`, how many of them")
    for partition in site.partitions:
        if partition.memory_mb - site.pilot.memory_headroom_mb < 100:
            raise InputError(
                f"site file {path}: `pilot.memory_headroom_mb` leaves "
                f"{partition.memory_mb - site.pilot.memory_headroom_mb} MB of "
                f"{partition.memory_mb} MB for jobs"
            )
