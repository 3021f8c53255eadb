"""The history of a run: a file that only grows, one JSON object a line, for whoever looks at it.

Not in the journal: that one is the truth a run is taken up from, each write waits for the disk, and
a reader's lock could make a submission wait. This file has one writer and no lock, a reader takes
what lines are complete, and losing it costs nothing but the view.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.monitoring.records import ALWAYS, FULL, Line

HISTORY = "history.jsonl"

SIZE_MAX = 256 * 1024 * 1024
"""Little is written then; 100,000 jobs take 20 MB."""


class HistoryFullError(OsgpilotError):
    """The history has reached its limit; the text says what that means."""


class History:
    """Appends lines to the file at `path`; safe from several threads.

    Lines are kept until `flush`, which raises `OSError` where they cannot be written; they are
    tried again then. Above `SIZE_MAX`, it raises `HistoryFullError`, and writes only those without
    which a reader would not know that the run goes on or has ended. A line that is not plain data
    is replaced by one that says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._file = -1
        self._torn = False
        self._is_full = False

    def put(self, lines: Iterable[Line]) -> None:
        """Have lines written with the next `flush`."""
        with self._lock:
            self._lines += lines

    def flush(self) -> None:
        """Write what was put."""
        with self._lock:
            if self._lines:
                self._open()
                self._append("".join(map(_encoded, self._due())).encode())
                self._lines.clear()
        if self._is_full:
            raise HistoryFullError(
                f"{self._path} has reached its limit of {SIZE_MAX / 1024**2:.0f} MB; `osgpilot "
                "status`, `explain` and `report` show the run up to now and learn no more of it; "
                "the run continues, and so do Snakemake's messages, its record and `cleanup`"
            )

    def _due(self) -> list[Line]:
        """Return what there is room for."""
        was_full, self._is_full = self._is_full, os.fstat(self._file).st_size > SIZE_MAX
        if not self._is_full:
            return self._lines
        kept = [line for line in self._lines if line["kind"] in ALWAYS]
        return kept if was_full else [{"kind": FULL}, *kept]

    def _open(self) -> None:
        if self._file < 0:
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._file = os.open(self._path, flags, 0o600)
            self._torn = not _ends_in_line_break(self._file)

    def _append(self, content: bytes) -> None:
        if self._torn:
            content = b"\n" + content
        # until all of it is there, what is there may be half a line
        self._torn = True
        while content:
            content = content[os.write(self._file, content) :]
        self._torn = False

    def close(self) -> None:
        """Write what is left, and close the file."""
        try:
            self.flush()
        finally:
            with self._lock:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1


def read(path: Path, offset: int = 0) -> tuple[list[Line], int]:
    """Return the complete lines from `offset` on, and where to go on later.

    What is damaged is left out. Raises `OSError`.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    end = content.rfind(b"\n") + 1
    lines = (_decoded(line) for line in content[:end].splitlines())
    return [line for line in lines if line is not None], offset + end


def _encoded(line: Line) -> str:
    # all of it in ASCII: names of files may have bytes in them that are no UTF-8
    try:
        text = json.dumps(line, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps({"kind": "damaged", "was": str(line.get("kind")), "why": str(error)})
    return text + "\n"


def _decoded(line: bytes) -> Line | None:
    try:
        content: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) and "kind" in content else None


def _ends_in_line_break(file: int) -> bool:
    size = os.fstat(file).st_size
    return not size or os.pread(file, 1, size - 1) == b"\n"
