"""The history of a run: an append-only file, one JSON object per line, for `status` and `report`.

It is not part of the journal: a run is resumed from that one, each write of it waits for the disk,
and a reader's lock could delay a submission. This file has one writer and no lock, a reader takes
the complete lines, and its loss costs only the view.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path

from ..errors import OsgpilotError
from .line_check import FULL, Line

HISTORY = "history.jsonl"

_JSON = json.JSONDecoder()

ALWAYS = ("life", "end")
"""Kinds that are written even above `SIZE_MAX`."""

SIZE_MAX = 256 * 1024 * 1024
"""Above this, only `ALWAYS` is written; 100,000 jobs take 20 MB."""


class HistoryFullError(OsgpilotError):
    """The history has reached its size limit; the text names the consequences."""


class History:
    """Appends lines to the file at `path`; safe from several threads.

    Lines are kept until `flush`, which raises `OSError` if they cannot be written; the next call
    retries. Above `SIZE_MAX`, it raises `HistoryFullError`, and writes only the lines that show
    whether the run is alive or has ended. A line that is not plain data is replaced by one that
    says so.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._file = -1
        self._torn = False
        self._is_full = False

    def put(self, lines: Iterable[Line]) -> None:
        """Append lines with the next `flush`."""
        with self._lock:
            self._lines += lines

    def flush(self) -> None:
        """Write the lines that were put."""
        with self._lock:
            if self._lines:
                self._open()
                self._append("".join(map(_encoded, self._due())).encode())
                self._lines.clear()
        if self._is_full:
            raise HistoryFullError(
                f"{self._path} has reached its limit of {SIZE_MAX / 1024**2:.0f} MB; `osgpilot "
                "status`, `explain` and `report` show the run up to now only; the run itself "
                "continues, and so do Snakemake's messages and `osgpilot cleanup`"
            )

    def _due(self) -> list[Line]:
        """Return the lines to write, within the size limit."""
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
        # until all of it is written, the file may end in half a line
        self._torn = True
        while content:
            content = content[os.write(self._file, content) :]
        self._torn = False

    def close(self) -> None:
        """Write the remaining lines, and close the file."""
        try:
            self.flush()
        finally:
            with self._lock:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1


def read(path: Path, offset: int = 0) -> tuple[list[Line], int]:
    """Return the complete lines from `offset` on, and the offset of the next read.

    Damaged lines are skipped. Raises `OSError`.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read()
    end = content.rfind(b"\n") + 1
    lines = map(_decoded, content[:end].splitlines())
    return [line for line in lines if line is not None], offset + end


def _encoded(line: Line) -> str:
    # ASCII only: file names may contain bytes that are not UTF-8
    try:
        text = json.dumps(line, separators=(",", ":"), default=str)
    except (TypeError, ValueError, RecursionError) as error:
        text = json.dumps({"kind": "damaged", "was": str(line.get("kind")), "why": str(error)})
    return text + "\n"


def _decoded(line: bytes) -> Line | None:
    content: object
    try:
        # half the cost of `json.loads` for a short line
        text = line.decode()
        content, end = _JSON.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return content if end == len(text) and type(content) is dict and "kind" in content else None


def _ends_in_line_break(file: int) -> bool:
    size = os.fstat(file).st_size
    return not size or os.pread(file, 1, size - 1) == b"\n"
