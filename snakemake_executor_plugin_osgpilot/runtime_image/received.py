"""Read the archive of files that a job sent back: data, none of which is a place here.

No link of it is made or followed, no owner, device or special bit is taken over, and no more is
read at a time, or written in all, than fits.
"""

from __future__ import annotations

import errno
import gzip
import os
import shutil
import stat
import tarfile
import zlib
from pathlib import Path, PurePosixPath

PIECE_MAX = 1 << 20
"""Bytes read at a time: the headers of an archive may announce any size."""

MEMBERS_MAX = 500_000

DEPTH_MAX = 200
"""Folders within folders, beyond which Python's own tools give up."""


class DamagedArchiveError(ValueError):
    """The archive is not complete, or has something that no environment contains."""


class _Pieces:
    """A file of which only pieces of limited size are read."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= PIECE_MAX:
            raise DamagedArchiveError(f"a header of it announces {size} bytes")
        return self._file.read(size)


def unpack(archive: Path, folder: Path) -> dict[str, str]:
    """Write the files of a compressed `archive` below the new `folder`; return its links.

    These are targets by path. Raises `DamagedArchiveError`, also if this is no environment of
    conda, or `OSError` if there is no room.
    """
    folder.mkdir()
    try:
        with gzip.open(archive) as file, tarfile.open(fileobj=_Pieces(file), mode="r:") as members:  # type: ignore[call-overload]
            links = _write(members, folder)
    except (tarfile.TarError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise DamagedArchiveError(f"it is not complete: {error}") from error
    if not (folder / "conda-meta").is_dir():
        raise DamagedArchiveError("it has no folder conda-meta")
    for path, target in links.items():
        # what is made by these names later must not pass through a link
        in_link = any(str(parent) in links for parent in PurePosixPath(path).parents)
        if not target or in_link or not _is_free(folder, PurePosixPath(path)):
            raise DamagedArchiveError(f"the link {path} of it leads nowhere, or is in another one")
    return links


def _write(members: tarfile.TarFile, folder: Path) -> dict[str, str]:
    links: dict[str, str] = {}
    free = shutil.disk_usage(folder).free
    for number, member in enumerate(members):
        free -= member.size
        if free < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if number > MEMBERS_MAX:
            raise DamagedArchiveError(f"it has more than {MEMBERS_MAX} files")
        path = _below(member.name)
        if member.issym():
            links[path] = member.linkname
        else:
            _write_member(members, member, folder, path)
    return links


def _write_member(
    members: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, path: str
) -> None:
    target = folder / path
    try:
        if member.isdir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        if member.islnk():
            os.link(folder / _below(member.linkname), target)
            return
        content = members.extractfile(member) if member.isreg() else None
        if content is None:
            raise DamagedArchiveError(f"{path} is neither a file, a folder nor a link")
        with content, target.open("xb") as file:
            shutil.copyfileobj(content, file)
        target.chmod(0o755 if member.mode & stat.S_IXUSR else 0o644)
    except (FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise DamagedArchiveError(f"it has {path} twice, or in a file") from error


def _below(name: str) -> str:
    """Return the normalized path of a member. Raises `DamagedArchiveError` if it leads outside."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or len(path.parts) > DEPTH_MAX:
        raise DamagedArchiveError(f"it names a place outside, or too deep: {name[:200]!r}")
    return str(path)


def _is_free(folder: Path, path: PurePosixPath) -> bool:
    """Return True if nothing is at `path`, and only folders on the way there."""
    on_the_way = (folder / parent for parent in path.parents)
    blocked = any(os.path.lexists(each) and not each.is_dir() for each in on_the_way)
    return not (blocked or os.path.lexists(folder / path))
