"""Allow one session of a run at a time to make requests to the access point."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutcomeUnknownError

ASKING = "asking"
"""In a run's folder: locked while a request is under way."""

LOOK_EVERY_S = 0.05


class WorkerLock:
    """A lock on requests to the access point, held by one session of a run.

    When Snakemake is killed, its worker process completes its request, such as a submission, and on
    a busy machine that can take longer than the next start of Snakemake, which would submit again
    what it does not find in the queue. So the lock is shared with the worker, which releases it
    when its request is done, or when it ends.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file = -1

    @property
    def shared(self) -> tuple[int, ...]:
        """The file descriptors that the worker inherits."""
        return (self._file,) if self._file >= 0 else ()

    @contextmanager
    def taken(self, within_s: float) -> Iterator[None]:
        """Hold the lock. Raises `OutcomeUnknownError` if another session holds it for too long."""
        # without a run folder there are no other sessions
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
                    "a process of a previous session of this run is still making a request to the "
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
        """Close the lock file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
