"""Lock: one start or removal at a time in a working folder; a kill releases it as well."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from ..common import private_files as private
from ..common.durations import duration
from ..errors import MissingPrerequisiteError

logger = logging.getLogger(__name__)

STARTING = "starting"
"""Locked while a start looks for other runs, so that two starts see each other."""

SAY_AFTER_S, GIVE_UP_AFTER_S, LOOK_EVERY_S = 1.0, 300.0, 0.1
"""The process with the lock reads and writes a few files, which takes seconds at most."""

_FLOCK = "hhqqi4x"
"""`struct flock` of Linux: type, whence, start, length, process."""


@contextmanager
def starting(place: Path) -> Iterator[None]:
    """Hold the lock of `place`, so that no other process resumes or removes a run there.

    Logs the process that is waited for. Raises `MissingPrerequisiteError` if the lock cannot
    be created, or another process does not release it.
    """
    with ExitStack() as undo:
        with writing(place):
            place.mkdir(private.FOLDER_MODE, parents=True, exist_ok=True)
            lock = _opened(place / STARTING)
            # closing releases it
            undo.callback(os.close, lock)
            _take(lock, place / STARTING)
        yield


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Translate `OSError` to `MissingPrerequisiteError` with what to do."""
    try:
        yield
    except OSError as error:
        raise MissingPrerequisiteError(
            f"{error.filename or place}: {error.strerror}; a run keeps its journal there, so work "
            "in a folder that can be written"
        ) from error


def _opened(path: Path) -> int:
    """Open the lock for its owner alone: anybody who can open it can block others."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path, flags, private.FILE_MODE)
    status = os.fstat(lock)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(lock, private.FILE_MODE)
    return lock


def _take(lock: int, path: Path) -> None:
    begun_s, reported = time.monotonic(), False
    while not _locked(lock):
        waited_s = time.monotonic() - begun_s
        if waited_s >= GIVE_UP_AFTER_S:
            raise MissingPrerequisiteError(
                f"{path} has been locked for {duration(waited_s)} by {_holder(lock)}: "
                "end that process, then start again"
            )
        if waited_s >= SAY_AFTER_S and not reported:
            reported = True
            logger.info(
                f"waiting for {_holder(lock)}, which starts, resumes or removes a run in this "
                f"folder ({path} is locked)"
            )
        time.sleep(LOOK_EVERY_S)


def _locked(lock: int) -> bool:
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def _holder(lock: int) -> str:
    """Return the process that holds the lock, as far as known: not on a network file system."""
    pid = 0
    with suppress(OSError, struct.error):
        asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        pid = struct.unpack(_FLOCK, fcntl.fcntl(lock, fcntl.F_GETLK, asked))[4]
    if pid <= 0:
        return "a process on another host or out of sight"
    with suppress(OSError):
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()}) on this host"
    return f"process {pid} on this host"
