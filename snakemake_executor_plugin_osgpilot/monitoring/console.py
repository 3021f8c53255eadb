"""Messages and progress of a run: a status line on a terminal, a line at intervals in a log.

Snakemake's logger writes to the terminal through its own handler. The stream of that is wrapped, so
that log lines appear above the status line; log files and handlers of plugins are not changed.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO, cast

from ..common.log_output import current_label
from ..common.printable import one_line, printable
from ..common.redact import Redactor
from ..common.snakemake_compat import wrap_terminal_stream
from ..common.snakemake_types import SnakemakeLogger
from .progress import Progress

logger = logging.getLogger(__name__)

REDRAW_S = 1.0

INTERVALS_S = ((300.0, 15.0), (3600.0, 60.0), (float("inf"), 300.0))
"""In a log: time between two progress lines, by the age of the run."""

_ERASE = "\r\033[2K"


class StatusLine:
    """A terminal stream with a status line at the bottom, shared by several reporters."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._texts: dict[object, tuple[str, str]] = {}
        self._drawn = False
        self._at_start = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._lock:
            self._erase()
            if text:
                self._at_start = text.endswith("\n")
            return self._stream.write(text)

    def flush(self) -> None:
        with self._lock:
            self._draw()
            self._stream.flush()

    def show(self, who: object, text: str, brief: str = "") -> None:
        """Show `text` in the status line, or `brief` if it is too long; an empty one removes it."""
        text, brief = one_line(text), one_line(brief)
        with self._lock:
            self._texts[who] = text, brief if text and brief else text
            self._erase()
            self.flush()

    def _erase(self) -> None:
        if self._drawn:
            self._stream.write(_ERASE)
            self._drawn = False

    def _draw(self) -> None:
        if not self._texts:
            return
        room = self._columns() - 1
        long, brief = (_joined(texts) for texts in zip(*self._texts.values(), strict=True))
        text = long if len(long) <= room else brief
        if text and self._at_start and not self._drawn:
            # other programs write to the terminal as well: their text begins at the left
            self._stream.write(f"{text[:room]}\r")
            self._drawn = True

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class SnakemakeHandler(logging.Handler):
    """Passes log records of this package to Snakemake's logger.

    Messages include output of HTCondor, Slurm and jobs: `redact` masks secrets in it.
    """

    def __init__(self, snakemake_logger: SnakemakeLogger, redact: Redactor) -> None:
        super().__init__()
        self._logger, self._redact = snakemake_logger, redact

    def emit(self, record: logging.LogRecord) -> None:
        """Log the message as Snakemake's own, with our name and the label of the run."""
        label = current_label()
        text = printable(self._redact(record.getMessage()))
        is_warning = record.levelno >= logging.WARNING
        log = self._logger.warning if is_warning else self._logger.info
        log(f"osgpilot: {label}: {text}" if label else f"osgpilot: {text}")


class ProgressReporter:
    """Shows the progress of one run, until it is closed."""

    def __init__(
        self, snakemake_logger: SnakemakeLogger, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._now_s = now_s
        self._status_line = _status_line(snakemake_logger)
        self._begun_s = self._now_s()
        self._shown_s = float("-inf")
        self._shown = ""

    def show(self, progress: Progress) -> None:
        """Show the progress of the run if it changed and the interval has passed."""
        now_s, text = self._now_s(), "" if progress.is_idle else progress.line
        pause_s = REDRAW_S if self._status_line else self._interval_s(now_s - self._begun_s)
        if text == self._shown or now_s - self._shown_s < pause_s:
            return
        self._shown, self._shown_s = text, now_s
        if self._status_line:
            self._status_line.show(
                self, text and f"osgpilot: {text}", f"osgpilot: {progress.brief}"
            )
        elif text:
            logger.info(text)

    def close(self) -> None:
        """Remove the status line."""
        if self._status_line:
            self._status_line.show(self, "")

    @staticmethod
    def _interval_s(age_s: float) -> float:
        return next(interval_s for until_s, interval_s in INTERVALS_S if age_s < until_s)


def _joined(texts: Iterable[str]) -> str:
    return "  |  ".join(text for text in texts if text)


def _status_line(snakemake_logger: SnakemakeLogger) -> StatusLine | None:
    """Return the status line of the terminal that Snakemake logs to; None if it logs elsewhere."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return None
    return cast("StatusLine | None", wrap_terminal_stream(snakemake_logger, StatusLine))
