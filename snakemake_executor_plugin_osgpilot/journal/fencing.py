"""Fencing: a process that lost its run stops at once; no cancel, no commit, no reported failure."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import psutil  # type: ignore[import-untyped]

from ..errors import OutcomeUnknownError, RunTakenOverError

logger = logging.getLogger(__name__)

LOST_STATUS = 1

_ALWAYS = ("interrupt", "close")
"""Methods that affect only this process, whoever holds the run."""


class Guarded:
    """Proxy of `port` that calls `check` before each call; `check` raises if the run is lost.

    A suspended process may wake up in the middle of any action, so each single request is checked.
    """

    def __init__(self, port: object, check: Callable[[], None]) -> None:
        self._port, self._check = port, check

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in _ALWAYS or not callable(found):
            return found

        def checked(*arguments: object, **named: object) -> Any:
            self._check()
            return found(*arguments, **named)

        return checked


FRESH_S = 0.2
"""A check counts for this time: it reads the journal, and many jobs may end together. Others take a
run over only when its lease is minutes old."""


def _since_boot_s() -> float:
    """Return a time that also advances while the machine or this process is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tenure:
    """Checks that this process still holds the run; warns once while that is unknown."""

    def __init__(
        self, check: Callable[[], None], clock_s: Callable[[], float] = _since_boot_s
    ) -> None:
        self._check, self._clock_s = check, clock_s
        self._in_doubt = False
        self._checked_s = float("-inf")

    def is_certain(self) -> bool:
        """Return True if the journal confirms it; a run that was lost ends this process."""
        now_s = self._clock_s()
        if now_s - self._checked_s < FRESH_S:
            return True
        try:
            self._check()
        except OutcomeUnknownError as error:
            if not self._in_doubt:
                logger.warning(f"jobs that finish are processed later: {error}")
            self._in_doubt = True
            return False
        self._in_doubt, self._checked_s = False, now_s
        return True


def stop(lost: RunTakenOverError) -> NoReturn:
    """End this process and its children with one line on stderr.

    An exit through Snakemake would do harm: it deletes the outputs of jobs that it considers failed
    or cancelled, and on any exit the locks, temporary files and empty folders of the workflow. All
    of these belong to another process now.
    """
    _kill_children()
    begin = "\n" if sys.stderr.isatty() else ""
    line = (
        f"{begin}osgpilot: {lost}; this Snakemake did not renew its lease in time and stops; jobs, "
        "pilots and files stay as they are\n"
    )
    with suppress(OSError):
        os.write(2, line.encode())
    os._exit(LOST_STATUS)


def _kill_children() -> None:
    """Kill local jobs, whose outputs the other Snakemake creates as well, and helper processes."""
    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
