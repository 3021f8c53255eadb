"""Summaries of runs for a list, each stored beside the history of a run that has ended."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from ..common.atomic_write import write_atomically
from ..errors import InputError, OsgpilotError
from ..monitoring.history_file import HISTORY
from .locate import Watched
from .summary import view

KEPT = "listed.json"
"""File in the folder of a run: reading its history takes half a second for 10,000 jobs."""

KEPT_VERSION = 1
"""Increase it when a run would be listed with other values."""

KEPT_BYTES_MAX = 1000


@dataclass(frozen=True)
class ListedRun:
    """A run in a list: its state, duration in seconds, jobs, and core-hours charged."""

    state: str
    took_s: float
    done: int
    jobs: int
    failed: int
    core_h: float


UNREADABLE = ListedRun("unreadable", 0.0, 0, 0, 0, 0.0)


def listed(folder: Path) -> ListedRun:
    """Return what is listed of a run; of one that has ended, replay the history only once."""
    try:
        mark = _mark(folder)
        return _kept(folder, mark) or _replayed(folder, mark)
    except (InputError, OSError):
        return UNREADABLE


def _mark(folder: Path) -> list[int]:
    """Return numbers that change when the history changes."""
    history = (folder / HISTORY).stat()
    return [KEPT_VERSION, history.st_ino, history.st_size, history.st_mtime_ns]


def _replayed(folder: Path, mark: list[int]) -> ListedRun:
    watched = Watched(folder)
    seen = view(watched.look(), time.time(), alive=watched.is_alive())
    found = ListedRun(
        seen.state.value,
        seen.at_s - seen.begun_s,
        seen.progress.done,
        seen.progress.total,
        seen.progress.failed,
        seen.charged_core_h,
    )
    if watched.replayed.is_over:
        # in a folder that cannot be written, each list replays the history
        with suppress(OSError, OsgpilotError):
            write_atomically(folder / KEPT, json.dumps({"of": mark, **asdict(found)}))
    return found


def _kept(folder: Path, mark: list[int]) -> ListedRun | None:
    """Return what was kept of this very history; None if nothing was, or it is damaged."""
    try:
        with (folder / KEPT).open() as file:
            content = json.loads(file.read(KEPT_BYTES_MAX))
        if content.pop("of") != mark:
            return None
        found = ListedRun(**content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    fitting = all(type(value) is type(getattr(UNREADABLE, n)) for n, value in asdict(found).items())
    return found if fitting else None
