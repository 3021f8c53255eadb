"""Choose the inputs that are sent once to each pilot for all jobs that have them, and keep links to
these in the run's folder, from which the access point sends them.

A job gets them under names of their own (`SharedInput.name`), and wrapper.sh copies each to its
place: what HTCondor puts there is one file for all jobs of a pilot.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from stat import S_IMODE, S_ISREG, S_IXUSR
from typing import NamedTuple

from ..common import private_files as private
from ..common.snakemake_types import SingleJob
from ..errors import InputError
from ..jobs.state.job import SharedFile
from .input_files import contents, link
from .places import place_of

LIST = "osgpilot-shared"
"""File in a job's folder with its shared inputs; it does not travel."""

NAME_MAX = 24
"""Characters of a file's own name in that of a shared input; HTCondor uses 64 of all."""

USERS_MIN = 3
"""Fewest jobs that share an input: two jobs are likely to run on two pilots."""

PER_JOB_MAX = 16
"""Most shared inputs of one job: HTCondor sends one after the other, and lists all in the job's
attributes. The largest are chosen; the others travel with the job."""


class SharedInput(NamedTuple):
    """An input that is sent once to each pilot: its name in the run, where it lies in the job's
    folder, its permissions (0 of a folder), and where it is here.
    """

    name: str
    path: str
    mode: int
    source: Path
    size_bytes: int


class Found(NamedTuple):
    """An input on this machine. `digest` is of paths, sizes and times of all that is in it."""

    digest: str
    size_bytes: int
    mode: int
    is_plain: bool
    """False for a folder with programs: a copy that jobs share has no such permissions."""


class InputTotals(NamedTuple):
    """Sizes of the inputs of jobs: if each job gets all of its own, of those that each job gets,
    and of those that go once to each pilot, with their number.
    """

    every_bytes: int = 0
    own_bytes: int = 0
    shared: int = 0
    shared_bytes: int = 0

    def sent_bytes(self, pilots: int) -> int:
        """Return what is sent with this number of pilots."""
        return self.own_bytes + self.shared_bytes * pilots


def worth_sharing(
    found: Mapping[str, Found], users: Mapping[str, int], least_bytes: int | None
) -> list[str]:
    """Return the inputs of a job, by path, that are worth being sent once to each pilot.

    `users` are the jobs that have each; `least_bytes` is None if none is to be shared.
    """
    if least_bytes is None:
        return []
    worth = [
        path
        for path, each in found.items()
        if each.is_plain and each.size_bytes >= least_bytes and users.get(path, 0) >= USERS_MIN
    ]
    largest = sorted(worth, key=lambda path: -found[path].size_bytes)[:PER_JOB_MAX]
    return [path for path in worth if path in set(largest)]


@dataclass
class Sharing:
    """The inputs that the jobs of a run share; `least_bytes` is None if none."""

    least_bytes: int | None = None
    workdir: Path = field(default_factory=Path.cwd)
    _users: dict[str, int] = field(default_factory=dict)

    def count(self, jobs: Iterable[SingleJob]) -> None:
        """Count the jobs that have each input, from now on of these jobs."""
        if self.least_bytes is not None:
            counted: Counter[str] = Counter()
            for job in jobs:
                counted.update({str(path) for path in job.input})
            shared = {path: users for path, users in counted.items() if users >= USERS_MIN}
            self._users = {place_of(path, self.workdir): n for path, n in shared.items()}

    def of(self, sources: Mapping[str, Path]) -> tuple[SharedInput, ...]:
        """Return the shared ones of a job's inputs, which are given by path in the job's folder."""
        candidates = {path: look(sources[path]) for path in sources if path in self._users}
        chosen = worth_sharing(candidates, self._users, self.least_bytes)
        return tuple(_shared(path, sources[path], candidates[path]) for path in chosen)

    def totals(self, jobs: Iterable[Mapping[str, Path]]) -> InputTotals:
        """Return the sizes of the inputs of these jobs, each given like those of `of`.

        What is not there yet is left out.
        """
        known: dict[str, Found | None] = {}
        shared: dict[str, int] = {}
        every_bytes = own_bytes = 0
        for sources in jobs:
            known |= {path: _look(sources[path]) for path in sources.keys() - known.keys()}
            found = {path: each for path in sources if (each := known[path])}
            chosen = set(worth_sharing(found, self._users, self.least_bytes))
            shared |= {path: found[path].size_bytes for path in chosen}
            every_bytes += sum(each.size_bytes for each in found.values())
            own_bytes += sum(e.size_bytes for path, e in found.items() if path not in chosen)
        return InputTotals(every_bytes, own_bytes, len(shared), sum(shared.values()))


def _look(source: Path) -> Found | None:
    try:
        return look(source)
    except InputError:
        return None


def _shared(path: str, source: Path, found: Found) -> SharedInput:
    # an attribute of the job is named after it, and messages of HTCondor have it
    plain = re.sub("[^A-Za-z0-9]+", "_", source.name)[:NAME_MAX]
    name = f"osgpilot_{found.digest}_{plain}"
    return SharedInput(name, path, found.mode, source, found.size_bytes)


def look(source: Path) -> Found:
    """Return what an input is here. Raises `InputError` if something of it is not there."""
    digest, size_bytes, mode, is_plain = blake2b(digest_size=12), 0, 0, True
    for path, status in sorted(contents(source)):
        entry = f"{source}/{path}\0{status.st_size}\0{status.st_mtime_ns}\0"
        digest.update(os.fsencode(entry))
        if S_ISREG(status.st_mode):
            size_bytes += status.st_size
            mode = S_IMODE(status.st_mode) & 0o777 if not path else 0
            is_plain &= not path or not status.st_mode & S_IXUSR
    return Found(digest.hexdigest(), size_bytes, mode, is_plain)


def keep(shared: Iterable[SharedInput], folder: Path) -> None:
    """Link shared inputs by their names in `folder`, from which the access point sends them."""
    for each in shared:
        place = folder / each.name
        if place.is_symlink() or place.exists():
            continue
        folder.mkdir(private.FOLDER_MODE, exist_ok=True)
        # a kill in between leaves nothing that looks complete
        part = folder / f".{each.name}"
        if part.is_symlink():
            part.unlink()
        elif part.exists():
            shutil.rmtree(part)
        link(each.source, part)
        part.rename(place)


def files(shared: Iterable[SharedInput]) -> tuple[SharedFile, ...]:
    """Return what the access point has to know of shared inputs."""
    return tuple(SharedFile(each.name, each.size_bytes) for each in shared)


def write_list(shared: Iterable[SharedInput], file: Path) -> None:
    """Note the shared inputs of a job for later sessions, whatever these would share."""
    if lines := [f"{each.name} {each.size_bytes}\n" for each in files(shared)]:
        with open(file, "x", encoding="ascii", opener=private.opener) as noted:
            noted.writelines(lines)


def read_list(file: Path) -> tuple[SharedFile, ...]:
    """Return the shared inputs of a job of an earlier session."""
    try:
        lines = file.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ()
    pairs = (line.split() for line in lines)
    return tuple(SharedFile(name, int(size)) for name, size in pairs)
