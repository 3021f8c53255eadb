"""Check the files that a job returned. They are data: no link is followed, no special file opened.

HTCondor alone writes `OUTPUT_FOLDER`, and may do so once more after the job's end: a schedd that
was killed before it recorded the end runs the job again. It writes in place, so through hard and
symbolic links. So the folder is renamed (`take`) before its files are used.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import BinaryIO

from ..common.printable import one_line
from ..errors import OsgpilotError
from ..htcondor.submit_description import OUTPUT_FOLDER
from .places import ROOT

MANIFEST = ".osgpilot-manifest"
"""In the output folder: NUL-ended pairs of what there is and its path, then `end`, or `failed`
where the command failed. What there is: the size of a file, `/` for a folder, `>` and its target
for a link, which itself does not come. wrapper.sh makes it empty when it starts, so that none of an
earlier attempt is left."""

TAKEN = "returned"
"""In a job's folder: what came back, where HTCondor does not write."""

MANIFEST_MAX_BYTES = 64 * 1024 * 1024
LINKS_MAX = 100_000
DEPTH_MAX = 200
"""Folders within folders, beyond which Python's own tools give up."""
LINK_MAX_BYTES = 4095
"""No link is longer, and none has a longer path (Linux, PATH_MAX)."""

_SIZE = re.compile(rb"[0-9]{1,18}")


class _ReturnedFilesError(OsgpilotError):
    def __init__(self, text: str) -> None:
        # the user knows files outside of the working folder by their own paths
        super().__init__(one_line(text.replace(f"{ROOT}/", "/")))


class JobFailedError(_ReturnedFilesError):
    """The job did not do what its rule declares; the text gives the reason."""


class IncompleteOutputError(_ReturnedFilesError):
    """The job was interrupted, or its files did not come back complete; it may run again."""


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; never block. Raises `OSError` if it is not regular."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is no file", str(path))
    return os.fdopen(opened, "rb")


def read_small(path: Path, max_bytes: int) -> bytes:
    """Return the content of a regular file. Raises `OSError` if it is none, or is larger."""
    with open_plain(path) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {max_bytes} bytes", str(path))
    return content


def kind(folder: Path, path: str) -> str:
    """Return `file` or `folder` for `path` below `folder`, empty for anything else.

    Links are not followed.
    """
    # text, as a Path for each part takes longer than the look
    here = str(folder)
    mode = _mode(here)
    for part in Path(path).parts:
        if part == ".." or mode is None or not S_ISDIR(mode):
            return ""
        here = os.path.join(here, part)  # noqa: PTH118
        mode = _mode(here)
    if mode is None:
        return ""
    return "file" if S_ISREG(mode) else "folder" if S_ISDIR(mode) else ""


def _mode(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode
    except (OSError, ValueError):
        return None


def came(job_folder: Path) -> Path:
    """Return the folder with the returned files."""
    taken = job_folder / TAKEN
    return taken if os.path.lexists(taken) else job_folder / OUTPUT_FOLDER


def take(job_folder: Path) -> Path:
    """Move the returned files out of HTCondor's reach, unless done before; return their folder."""
    taken = job_folder / TAKEN
    if not os.path.lexists(taken):
        with suppress(FileNotFoundError):
            (job_folder / OUTPUT_FOLDER).rename(taken)
    return taken


def check_manifest(back: Path, *, succeeded: bool) -> dict[str, str]:
    """Compare the returned files with the list from wrapper.sh; return the links, path → target.

    Files that are not in the list are deleted: they are left over from an attempt whose transfer
    was interrupted, or cannot be outputs. Raises `IncompleteOutputError`, also for the list of
    another result, and `JobFailedError` for links that exceed the limits.
    """
    here = _scan(back)
    links: dict[str, str] = {}
    for what, path in _entries(back, b"end" if succeeded else b"failed"):
        if what.startswith(b">"):
            if len(path) > LINK_MAX_BYTES or len(what) > LINK_MAX_BYTES + 1:
                raise JobFailedError(f"the link {path[:20]}… is longer than {LINK_MAX_BYTES} bytes")
            if path.count("/") > DEPTH_MAX:
                raise JobFailedError(f"the link {path[:20]}… lies more than {DEPTH_MAX} deep")
            link = os.path.normpath(path)
            if link in links:
                raise JobFailedError(f"it lists the link {link} twice")
            if len(links) == LINKS_MAX:
                raise JobFailedError(f"there are more than {LINKS_MAX} links among its outputs")
            links[link] = os.fsdecode(what[1:])
        else:
            _check(path, here.pop(path, None), what)
    here.pop(MANIFEST, None)
    # the content of a folder comes before it
    for path in sorted(here, reverse=True):
        with suppress(OSError):
            (back / path).rmdir() if here[path] == _FOLDER else (back / path).unlink()
    return links


_FOLDER, _NEITHER = -1, -2


def _scan(back: Path) -> dict[str, int]:
    """Return the size of every file below `back` by path; `_FOLDER` or `_NEITHER` for the rest."""
    if kind(back, "") != "folder":
        raise IncompleteOutputError("its outputs did not come back")
    here: dict[str, int] = {}
    below = [""]
    while below:
        folder = below.pop()
        if folder.count("/") > DEPTH_MAX:
            raise JobFailedError(f"its folders lie more than {DEPTH_MAX} deep in one another")
        try:
            with os.scandir(back / folder) as entries:
                for entry in entries:
                    path = folder + entry.name
                    status = entry.stat(follow_symlinks=False)
                    if S_ISDIR(status.st_mode):
                        here[path] = _FOLDER
                        below.append(f"{path}/")
                    else:
                        here[path] = status.st_size if S_ISREG(status.st_mode) else _NEITHER
        except OSError as error:
            raise JobFailedError(f"{folder or back} cannot be read: {error.strerror}") from error
    return here


def _entries(back: Path, end: bytes) -> Iterator[tuple[bytes, str]]:
    """Yield the entries of the list one by one: it can be long."""
    try:
        text = read_small(back / MANIFEST, MANIFEST_MAX_BYTES)
    except OSError as error:
        failure = JobFailedError if error.errno == errno.EFBIG else IncompleteOutputError
        raise failure(f"the list of its outputs did not come back: {error.strerror}") from error
    if not text.endswith(b"\0" + end + b"\0") and text != end + b"\0":
        raise IncompleteOutputError("the list of its outputs did not come back complete")
    at, last = 0, len(text) - len(end) - 1
    while at < last:
        what_ends = text.find(b"\0", at)
        path_ends = text.find(b"\0", what_ends + 1)
        if path_ends >= last:
            raise IncompleteOutputError("the list of its outputs did not come back complete")
        yield text[at:what_ends], os.fsdecode(text[what_ends + 1 : path_ends])
        at = path_ends + 1


def _check(path: str, came: int | None, what: bytes) -> None:
    """Raise `IncompleteOutputError` if a returned file differs from its entry in the list."""
    if what == b"/":
        if came != _FOLDER:
            raise IncompleteOutputError(f"the folder {path} did not come back")
    elif not _SIZE.fullmatch(what) or came != int(what):
        expected = what.decode(errors="replace")[:20]
        raise IncompleteOutputError(
            f"{path} did not come back complete ({max(came or 0, 0)} of {expected} bytes)"
        )
