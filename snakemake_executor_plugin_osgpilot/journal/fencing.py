"""Whoever lost a run stops at once: no cancel, no commit, no failure told to Snakemake."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RunTakenOverError

LOST_STATUS = 1

_ALWAYS = ("interrupt", "close")
"""What ends something of ours alone, whoever has the run."""


class Guarded:
    """Stands for `port`, and calls `check` before each call of it, which raises if it must not be.

    A process that was stopped wakes up in the middle of whatever it was about to do, so each
    request is checked, and not each round of requests.
    """

    def __init__(self, port: Any, check: Callable[[], None]) -> None:
        self._port, self._check = port, check

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if name in _ALWAYS or not callable(found):
            return found

        def checked(*arguments: Any, **named: Any) -> Any:
            self._check()
            return found(*arguments, **named)

        return checked


class Tenure:
    """Whether a run is certainly ours; `warn` is called once while that is not known."""

    def __init__(self, check: Callable[[], None], warn: Callable[[str], None]) -> None:
        self._check, self._warn = check, warn
        self._in_doubt = False

    def is_certain(self) -> bool:
        """Ask the journal; a run that was lost ends this process."""
        try:
            self._check()
        except OutcomeUnknownError as error:
            if not self._in_doubt:
                self._warn(f"jobs that end are looked at later: {error}")
            self._in_doubt = True
            return False
        self._in_doubt = False
        return True


def stop(lost: RunTakenOverError) -> NoReturn:
    """End this process and all that it has started, with one line.

    There is no way through Snakemake: what it takes for failed or cancelled it deletes, and at any
    end it removes the locks, the temporary files and the empty folders of the workflow. All of
    these are somebody else's now.
    """
    _kill_children()
    begin = "\n" if sys.stderr.isatty() else ""
    line = (
        f"{begin}osgpilot: {lost}; this Snakemake was not heard of for too long and stops here, "
        "leaving jobs, pilots and files as they are\n"
    )
    with suppress(OSError):
        os.write(2, line.encode())
    os._exit(LOST_STATUS)


def _kill_children() -> None:
    """End local jobs, whose outputs the other Snakemake makes, too, and our helpers."""
    import psutil  # type: ignore[import-untyped]

    with suppress(psutil.Error):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()
