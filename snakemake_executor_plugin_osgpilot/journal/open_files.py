"""Find out whether a process of this host has a file open."""

from __future__ import annotations

from contextlib import suppress

import psutil  # type: ignore[import-untyped]


def is_open_here(path: str) -> bool:
    """Return True if a process of this host has a file open whose path ends in `path`.

    The path is that of today, so a folder that was moved meanwhile is found. Processes of other
    users cannot be looked at.
    """
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if any(file.path.endswith(f"/{path}") for file in process.open_files()):
                return True
    return False
