"""Write a job's folder, from which HTCondor takes what travels.

    jobs/KEY/osgpilot-in/osgpilot-job   wrapper, scripts, lists, small inputs, in one file
    jobs/KEY/osgpilot-in/...            other inputs at their relative paths, as links
    jobs/KEY/osgpilot-shared            names of the inputs that other jobs have, too
    jobs/shared/NAME                    links to these, which are sent once to each pilot
    jobs/KEY/osgpilot-out/...           returned files, moved to `returned/` once it has ended
                                        (see `returned_files`)

One file matters: HTCondor 25.14 starts a job that has two or more input files and a named output
folder about 5 s late, more often than not. The starter asks the shadow for guidance before that has
finished the transfer, and has to retry later (see docs/dev/lessons/htcondor-files.md).
"""

from __future__ import annotations

import base64
import io
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path, PurePosixPath
from stat import S_ISREG

from ..common import private_files as private
from ..errors import InputError
from ..htcondor.submit_description import INPUT_FOLDER, JOB_FILE, SHARED_FOLDER
from . import shared_inputs
from .input_files import contents, is_link, link
from .payload import Payload, lies_in_any, tops
from .places import is_outside, source_of
from .shared_inputs import SharedInput
from .snakemake_modules import MODULES, archive_path
from .steps import runner
from .workflow_sources import SOURCES, WITH_SNAKEFILES, WITHOUT_SNAKEFILES, has_outside

PACKED_MAX_BYTES = 64 * 1024
"""Maximum total size of inputs and sources that are packed into the job's file: the access point's
disk has room for a copy for each waiting job. Modules of Snakemake are packed on top (75 KB)."""


@dataclass(frozen=True)
class JobArchive:
    """The content of a job's folder: its file, made of wrapper and `records`, and the inputs that
    are not in it, of which some are `shared` with other jobs.
    """

    records: bytes
    inputs: Mapping[str, Path]
    shared: tuple[SharedInput, ...] = ()

    @property
    def linked(self) -> dict[str, Path]:
        """The inputs that travel with this job alone."""
        if not self.shared:
            return dict(self.inputs)
        apart = {os.path.normpath(each.path) for each in self.shared}
        return {
            path: source for path, source in self.inputs.items() if not lies_in_any(path, apart)
        }

    @property
    def digest(self) -> str:
        """A digest of the content, the same in any process and whichever inputs are shared; of
        linked files, of size and time.
        """
        digest = _wrapper_digest().copy()
        digest.update(self.records)
        for name, source in self.inputs.items():
            for path, status in sorted(contents(source)):
                entry = f"{name}\0{source}/{path}\0{status.st_size}\0{status.st_mtime_ns}\0"
                digest.update(os.fsencode(entry))
        return digest.hexdigest()

    def write(self, job_folder: Path) -> None:
        """Create `job_folder`."""
        entry = job_folder / INPUT_FOLDER
        job_folder.mkdir(private.FOLDER_MODE, parents=True)
        entry.mkdir(private.FOLDER_MODE)
        for name, source in self.linked.items():
            link(source, entry / name)
        if self.shared:
            shared_inputs.keep(self.shared, job_folder.parent / SHARED_FOLDER)
            shared_inputs.write_list(self.shared, job_folder / shared_inputs.LIST)
        table = [text for each in self.shared for text in (each.name, each.path, f"{each.mode:o}")]
        _write_private(entry / JOB_FILE, _wrapper() + _terminated(_counted([table])) + self.records)


def pack(
    payload: Payload,
    run_folder: Path,
    workdir: Path,
    shared: tuple[SharedInput, ...] = (),
) -> JobArchive:
    """Return the archive of a job; `shared` are those of its inputs that others have, too.

    Raises `InputError` if an input is missing.
    """
    travelling = {path: source_of(path, workdir) for path in payload.inputs}
    archive = _sources(run_folder, with_snakefiles=payload.with_snakefiles)
    archives = {SOURCES: archive} if _exists(archive) else {}
    if payload.modules is not None:
        archives[MODULES] = archive_path(run_folder, payload.modules)
    travelling |= archives
    packed = _pack(travelling) if payload.inputs else _pack_shared(tuple(archives.items()))
    links: dict[str, str] = {}
    if packed is None:
        for name, source in travelling.items():
            kept = ((path, source / path) for path, status in contents(source) if is_link(status))
            # a Path would drop `./` and the like
            links |= {f"{name}/{path}": os.readlink(link) for path, link in kept}  # noqa: PTH115
    root, names = _root(payload, workdir, archive)
    records = _records(payload, packed, links, root, names)
    if packed is not None:
        return JobArchive(records, {})
    return JobArchive(records, travelling, shared)


@cache
def _sources(run_folder: Path, *, with_snakefiles: bool) -> Path:
    return run_folder / (WITH_SNAKEFILES if with_snakefiles else WITHOUT_SNAKEFILES)


@cache
def _exists(archive: Path) -> bool:
    """Return True if there is an archive of sources: it is made before the first job, if at all."""
    return archive.exists()


def _write_private(path: Path, content: bytes) -> None:
    """Write a new file for its owner alone: the environment's values may be secrets."""
    with open(path, "xb", opener=private.opener) as file:
        file.write(content)


@cache
def _wrapper() -> bytes:
    """Return the script with the separator that ends it."""
    return files(__package__).joinpath("wrapper.sh").read_bytes() + b"\0"


@cache
def _wrapper_digest() -> blake2b:
    return blake2b(_wrapper(), digest_size=16)


@cache
def _pack_shared(archives: tuple[tuple[str, Path], ...]) -> list[str] | None:
    """Return the packed archives for jobs without inputs; the same for all jobs of a run."""
    return _pack(dict(archives)) if archives else []


def _pack(travelling: dict[str, Path]) -> list[str] | None:
    """Return small files as one base64 archive, None if they have to travel as separate files."""
    found = []
    left_bytes = PACKED_MAX_BYTES
    for name, source in travelling.items():
        try:
            status = source.stat()
        except FileNotFoundError:
            return None
        left_bytes -= 0 if name == MODULES else status.st_size
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
    """Return an archive entry; `tarfile` itself would look up the owner's name each time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = status.st_size, status.st_mode, int(status.st_mtime)
    return member


def _root(
    payload: Payload, workdir: Path, archive: Path
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the working folder, and the absolute paths that wrapper.sh has to make real.

    There are none of both if the job uses relative paths below the working folder.
    """
    back = (*payload.outputs, *payload.logs, *payload.internal)
    given = [source_of(place, workdir) for place in payload.inputs if is_outside(place)]
    made = [source_of(place, workdir).parent for place in back if is_outside(place)]
    if not (given or made or payload.is_named or has_outside(archive)):
        return (), ()
    names = dict.fromkeys(map(str, (workdir, *given, *made))) if payload.is_named else ()
    return (str(workdir),), tuple(names)


def _records(
    payload: Payload,
    packed: list[str] | None,
    links: Mapping[str, str],
    root: tuple[str, ...],
    names: tuple[str, ...],
) -> bytes:
    """Return the lists that wrapper.sh reads, each preceded by its length."""
    # files in a listed folder come with it
    returned, logs = tops((*payload.logs, *payload.outputs)), tops(payload.logs)
    fetched = [(PurePosixPath(url).name, path) for url, path in payload.urls]
    made = (*payload.outputs, *payload.logs, *payload.internal, *links, *(p for _, p in fetched))
    folders = sorted({*map(_folder_of, made), *payload.passed} - {"", "."})
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
        root,
        names,
        payload.unknown,
        (payload.storage,) if payload.storage else (),
        (runner(),) if payload.schedule else (),
    )
    records = _counted(tables)
    if schedule := payload.schedule:
        steps = _counted(schedule.step_lists())
        records += [*_counted(schedule.lists()), str(len(schedule.steps)), *steps]
    return _terminated(records)


def _terminated(records: Sequence[str]) -> bytes:
    text = "".join(f"{record}\0" for record in records)
    if text.count("\0") > len(records):
        raise InputError("the job's command or a file name contains a NUL character")
    return os.fsencode(text)


def _folder_of(path: str) -> str:
    return os.path.dirname(path.rstrip("/"))  # noqa: PTH120


def _counted(tables: Iterable[Sequence[str]]) -> list[str]:
    """Return the lists one after the other, each preceded by its length."""
    return [text for table in tables for text in (str(len(table)), *table)]
