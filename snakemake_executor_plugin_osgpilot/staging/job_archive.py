"""Write a job's folder, from which HTCondor takes what travels.

    jobs/KEY/osgpilot-in/osgpilot-job   wrapper, scripts, lists, small inputs, in one file
    jobs/KEY/osgpilot-in/...            other inputs at their relative paths, as links
    jobs/KEY/osgpilot-out/...           what came back, once it has ended in `returned/`
                                        (see `payload.returned`)

One file matters: HTCondor 25.14 starts a job that has two or more input files and a named output
folder about 5 s late, more often than not. The starter asks the shadow for guidance while that has
yet to finish the transfer, and is told to come back later (see docs/dev/lessons.md).
"""

from __future__ import annotations

import base64
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISLNK, S_ISREG

from snakemake_executor_plugin_osgpilot.common import private_files as private
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.submit_description import INPUT_FOLDER, JOB_FILE
from snakemake_executor_plugin_osgpilot.staging.payload import Payload, tops
from snakemake_executor_plugin_osgpilot.staging.symlinks import leads_nowhere, stays_a_link
from snakemake_executor_plugin_osgpilot.staging.workflow_sources import (
    SOURCES,
    WITH_SNAKEFILES,
    WITHOUT_SNAKEFILES,
)

PACKED_MAX_BYTES = 64 * 1024
"""Inputs and sources up to this size in all are packed into the job's file; a copy of them for
every waiting job is no burden for the access point's disk."""


@dataclass(frozen=True)
class JobArchive:
    """A job as it will lie in its folder: its file, and what is linked beside it."""

    content: bytes
    linked: Mapping[str, Path]

    @property
    def digest(self) -> str:
        """What tells this parcel from others, in any process; of linked files size and time."""
        digest = blake2b(self.content, digest_size=16)
        for name, source in self.linked.items():
            for path, status in sorted(contents(source)):
                told = f"{name}\0{source}/{path}\0{status.st_size}\0{status.st_mtime_ns}\0"
                digest.update(os.fsencode(told))
        return digest.hexdigest()

    def write(self, job_folder: Path) -> None:
        """Make `job_folder`."""
        entry = job_folder / INPUT_FOLDER
        job_folder.mkdir(private.FOLDER_MODE, parents=True)
        entry.mkdir(private.FOLDER_MODE)
        for name, source in self.linked.items():
            _link(source, entry / name)
        _write_private(entry / JOB_FILE, self.content)


def pack(payload: Payload, run_folder: Path, workdir: Path) -> JobArchive:
    """Return what travels for a job. Raises `InputError` if an input is not there."""
    travelling = {path: workdir / path for path in payload.inputs}
    archive = run_folder / (WITH_SNAKEFILES if payload.with_snakefiles else WITHOUT_SNAKEFILES)
    if archive.exists():
        travelling[SOURCES] = archive
    packed = _pack(travelling) if payload.inputs else _pack_sources(archive)
    links: dict[str, str] = {}
    if packed is None:
        for name, source in travelling.items():
            kept = ((path, source / path) for path, status in contents(source) if _is_link(status))
            # a Path would leave out `./` and the like
            links |= {f"{name}/{path}": os.readlink(link) for path, link in kept}  # noqa: PTH115
    content = _wrapper() + b"\0" + _records(payload, packed, links)
    return JobArchive(content, travelling if packed is None else {})


def _write_private(path: Path, content: bytes) -> None:
    """Write a new file for its owner alone: the environment's values may be secrets."""
    with open(path, "xb", opener=private.opener) as file:
        file.write(content)


@cache
def _wrapper() -> bytes:
    return files(__package__).joinpath("wrapper.sh").read_bytes()


@cache
def _pack_sources(archive: Path) -> list[str] | None:
    """Return what a job without inputs takes along; the same for all of a run."""
    return _pack({SOURCES: archive}) if archive.exists() else []


def _pack(travelling: dict[str, Path]) -> list[str] | None:
    """Return small files as one archive in text form, None if they are to travel as they are."""
    found = []
    left_bytes = PACKED_MAX_BYTES
    for name, source in travelling.items():
        try:
            status = source.stat()
        except FileNotFoundError:
            return None
        left_bytes -= status.st_size
        if left_bytes < 0 or not S_ISREG(status.st_mode):
            return None
        found.append((_member(name, status), source))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for member, source in found:
            with source.open("rb") as file:
                archive.addfile(member, file)
    return [base64.b64encode(buffer.getvalue()).decode("ascii")]


def _member(name: str, status: os.stat_result) -> tarfile.TarInfo:
    """Return an archive's entry; `tarfile` itself would look the owner's name up each time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = status.st_size, status.st_mode, int(status.st_mtime)
    return member


def _records(payload: Payload, packed: list[str] | None, links: Mapping[str, str]) -> bytes:
    """Return what wrapper.sh reads: lists one after the other, each with its length in front."""
    # what lies in another comes with it
    returned, logs = tops((*payload.logs, *payload.outputs)), tops(payload.logs)
    fetched = [(PurePosixPath(url).name, path) for url, path in payload.urls]
    made = (*payload.outputs, *payload.logs, *payload.internal, *links, *(p for _, p in fetched))
    folders = sorted({str(PurePosixPath(path).parent) for path in made} - {"."})
    tables = (
        (payload.interpreter,),
        folders,
        payload.touched,
        returned,
        logs,
        payload.scripts,
        packed or (),
        payload.inputs,
        [text for pair in fetched for text in pair],
        [text for pair in links.items() for text in pair],
    )
    records = [text for table in tables for text in (str(len(table)), *table)]
    if any("\0" in text for text in records):
        raise InputError("the job's command or a file name contains a NUL character")
    return b"".join(os.fsencode(text) + b"\0" for text in records)


def contents(source: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield all that travels for an input, by its path below `source` (empty for itself).

    Links to a place within the same folder stay links; others are followed, and are what they lead
    to. Raises `InputError` for an input that is not there, for what is neither a file nor a folder,
    and for a folder that a link has contain itself: there would be no end to it.
    """
    ahead: list[tuple[str, bool, tuple[tuple[int, int], ...]]] = [("", False, ())]
    while ahead:
        path, followed, above = ahead.pop()
        place = source / path
        if path and place.is_symlink():
            if leads_nowhere(place) or (not followed and stays_a_link(place, source)):
                yield path, place.lstat()
                continue
            followed = True
        try:
            status = place.stat()
        except OSError as error:
            raise InputError(f"the input {place} is not there ({error.strerror})") from error
        yield path, status
        if S_ISREG(status.st_mode):
            continue
        this = (status.st_dev, status.st_ino)
        if not S_ISDIR(status.st_mode):
            raise InputError(f"the input {place} is neither a file nor a folder")
        if this in above:
            raise InputError(
                f"the input {source} has no end: {place} is a link to a folder above it"
            )
        inside = (f"{path}/{each.name}".lstrip("/") for each in place.iterdir())
        ahead += [(each, followed, (*above, this)) for each in inside]


def _is_link(status: os.stat_result) -> bool:
    return S_ISLNK(status.st_mode)


def _link(source: Path, target: Path) -> None:
    """Link `source` at `target`; HTCondor follows links to files, so folders are made anew."""
    for path, status in contents(source):
        place = target / path
        if S_ISDIR(status.st_mode):
            place.mkdir(parents=True, exist_ok=True)
        elif not _is_link(status):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(source / path)
