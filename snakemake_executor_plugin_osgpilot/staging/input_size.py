"""The size of a job's inputs."""

from __future__ import annotations

import os
from collections.abc import Iterable
from stat import S_ISREG


def input_bytes(paths: Iterable[str]) -> int | None:
    """Return the size of all inputs in bytes; None if one is no file of this machine, as a URL or a
    folder, or if there is none.
    """
    total, count = 0, 0
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - for thousands of files
        except OSError:
            return None
        if not S_ISREG(status.st_mode):
            return None
        total, count = total + status.st_size, count + 1
    return total if count else None
