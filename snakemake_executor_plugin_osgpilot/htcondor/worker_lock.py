"""Of all lives of a run, one asks the access point at a time."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError

ASKING = "asking"
"""In a run's folder: locked while a request is under way."""

LOOK_EVERY_S = 0.05


class WorkerLock:
    """The right to ask, at most one holder for a run.

    When Snakemake is killed, its worker process goes on with what it was asked for, such as a
    submission, and on a busy machine that can take longer than the next start of Snakemake: what
    that one does not find in the queue it submits again. So the lock is shared with the worker,
    which releases it when it has done what it was asked for, or ends.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1

    @property
    def shared(self) -> tuple[int, ...]:
        """The descriptors that the worker has to inherit."""
        return (self._file,) if self._file >= 0 else ()

    @contextmanager
    def taken(self, within_s: float) -> Iterator[None]:
        """Have the turn meanwhile. Raises `OutcomeUnknownError` if another life has it for too
        long."""
        # without a run's folder there are no other lives
        if self._path is None or not self._path.parent.is_dir():
            yield
            return
        try:
            self._wait(time.monotonic() + within_s)
        except OSError as error:
            raise OutcomeUnknownError(f"{self._path} cannot be locked: {error.strerror}") from error
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _wait(self, until_s: float) -> None:
        if self._file < 0:
            assert self._path is not None
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
        while not self._locked():
            if time.monotonic() >= until_s:
                raise OutcomeUnknownError(
                    "a process that an earlier life of this run has left is still asking the "
                    f"access point ({self._path} is locked)"
                )
            time.sleep(LOOK_EVERY_S)

    def _locked(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno == errno.EWOULDBLOCK:
                return False
            raise
        return True

    def close(self) -> None:
        """Give the lock up."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
