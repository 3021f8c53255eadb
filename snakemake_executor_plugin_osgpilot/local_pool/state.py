"""Running pools, from their folders and /proc; without slow imports."""

import json
from dataclasses import dataclass
from pathlib import Path

from ..common.cache_folder import cache
from ..errors import MissingPrerequisiteError
from .paths import DEFAULT_NAME, instance_folder

HOSTS = ("login", "ap")
STATE = "pool.json"


@dataclass(frozen=True)
class Running:
    """A pool that is up.

    supervisor: process whose end is the pool's end
    started_ticks: its start, in clock ticks since boot; a process number alone may be used again
    hosts: for each host the process that is PID 1 there
    work: folders of the host that are visible inside, read-write
    images: folders of the build that it consists of
    """

    name: str
    supervisor: int
    started_ticks: int
    hosts: dict[str, int]
    work: list[str]
    images: list[str]


def find(name: str) -> Running | None:
    """Return the pool `name` if it is up, else None."""
    try:
        state = json.loads((instance_folder(name) / STATE).read_text())
    except FileNotFoundError:
        return None
    running = Running(**state)
    if alive(running.supervisor, running.started_ticks) and running.hosts:
        return running
    return None


def require(name: str) -> Running:
    """Return the pool `name`; raises MissingPrerequisiteError if it is not up."""
    running = find(name)
    if running is None:
        raise MissingPrerequisiteError(f"the pool {name!r} is not up: osgpilot pool up{flag(name)}")
    return running


def names() -> list[str]:
    """Return the names of all pools that have a folder, up or not."""
    folder = cache() / "run"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def start_ticks(pid: int) -> int | None:
    """Return the start of process `pid` in clock ticks since boot; None if it is gone (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    after_name = text.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else int(after_name[19])


def alive(pid: int, started_ticks: int) -> bool:
    """Return True if process `pid` exists and is the one that started then."""
    return start_ticks(pid) == started_ticks


def flag(name: str) -> str:
    """Return the option that names the pool on a command line, empty for the default one."""
    return "" if name == DEFAULT_NAME else f" --name {name}"
