"""Place files in a job's folder: at their relative paths, if they are in the working folder;
others at their absolute paths below `ROOT`.

A job with such others starts in the place of the working folder below `ROOT`. So `../x` leads there
to what it leads to here, in any image and on any pilot. Absolute paths are made real where the job
has a root file system of its own (see wrapper.sh), and marked in its scripts in any case (see
`path_rewriting`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ROOT = "osgpilot-root"
"""The folder in a job's folder that stands for `/` of this machine."""

SYSTEM = frozenset(
    (
        *("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "root", "run"),
        *("sbin", "srv", "sys", "usr"),
    )
)
"""Top folders that belong to the system (Filesystem Hierarchy Standard), and `/srv`, where pilots
of the OSPool put the job's folder: nothing is made there. wrapper.sh has the same list."""


def working_folder() -> Path:
    """Return the current folder as `Path.cwd()` does, which is slow for thousands of jobs."""
    return _as_path(os.getcwd())  # noqa: PTH109


@lru_cache(maxsize=8)
def _as_path(folder: str) -> Path:
    return Path(folder)


def place_of(path: str, workdir: Path) -> str:
    """Return where in the job's folder a file of this machine lies."""
    if is_plain(path):
        return path
    absolute = absolute_of(path, workdir)
    if lies_in(absolute, str(workdir)):
        return os.path.relpath(absolute, workdir)
    return ROOT + absolute


def is_plain(path: str) -> bool:
    """Return True if a path lies in the working folder by its spelling: relative, without `..`."""
    return not path.startswith("/") and ".." not in path.split("/")


def absolute_of(path: str, workdir: Path) -> str:
    """Return the absolute path of a file of this machine, without `..`."""
    return os.path.normpath(f"{workdir}/{path}" if not path.startswith("/") else path)


def leads_out(path: str, workdir: Path) -> bool:
    """Return True if a path of this machine lies outside the working folder."""
    return is_outside(place_of(path, workdir))


def problem_of(path: str, workdir: Path) -> str:
    """Return why a path of this machine has no place in a job's folder, empty if it has one."""
    if ROOT in path and lies_in(os.path.normpath(path), ROOT):
        return "has the name of a folder of osgpilot's in a job: choose another"
    if is_plain(path):
        return ""
    absolute = absolute_of(path, workdir)
    if lies_in(str(workdir), absolute):
        return (
            "is the working folder or a folder around it, which cannot travel with a job: name the "
            "files in it that the rule uses"
        )
    folder, meant = os.path.dirname(path), os.path.dirname(absolute)  # noqa: PTH120
    if ".." in path.split("/") and os.path.realpath(folder) != os.path.realpath(meant):
        return (
            "goes up from a symbolic link, which leads to another place where the job runs: write "
            f"{os.path.realpath(path)}"
        )
    return ""


def passes(path: str) -> Iterator[str]:
    """Yield the folders that a path goes through and leaves again, as `a` in `a/../b`."""
    names = path.split("/")
    for number, name in enumerate(names):
        if name == ".." and any(each not in ("", ".", "..") for each in names[:number]):
            yield "/".join(names[:number])


def source_of(place: str, workdir: Path) -> Path:
    """Return the path on this machine of what lies at `place` in the job's folder."""
    if is_outside(place):
        return Path(place.removeprefix(ROOT))
    return workdir / place


def is_outside(place: str) -> bool:
    """Return True if what lies at `place` is not in the working folder here."""
    return place.startswith(f"{ROOT}/")


def is_of_system(path: str) -> bool:
    """Return True if an absolute path belongs to the system of the machine, or is `/` itself."""
    names = [name for name in path.split("/") if name]
    return not names or names[0] in SYSTEM


def lies_in(path: str, folder: str) -> bool:
    """Return True if `path` is `folder` or below it; both are normalized."""
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")
