"""How far a run is, for who waits: one changing line on a terminal, now and then one in a log.

Snakemake's logger writes to the terminal through a handler of its own. Its stream is wrapped, so
that what is logged goes above our line; a log file, or a handler of a plugin, is left alone.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, TextIO, cast

from snakemake_executor_plugin_osgpilot.common.printable import one_line, printable
from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.common.snakemake_compat import wrap_terminal_stream
from snakemake_executor_plugin_osgpilot.monitoring.progress import Progress

REDRAW_S = 1.0

INTERVALS_S = ((300.0, 15.0), (3600.0, 60.0), (float("inf"), 300.0))
"""In a log: how long between two lines, by the age of the run."""

_ERASE = "\r\033[2K"


class StatusLine:
    """A terminal's stream that keeps a last line; several who have something to say share it."""

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
        """Have `text` in the last line, or `brief` where it is too long; nothing if it is empty."""
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
            # other programs write to the terminal, too: their text begins at the left
            self._stream.write(f"{text[:room]}\r")
            self._drawn = True

    def _columns(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            return 80


class ConsoleReporter:
    """Tells of one run through Snakemake's logger, until it is closed.

    Part of it is what HTCondor, Slurm and jobs said: `redact` takes secrets out of it.
    """

    def __init__(
        self,
        logger: Any,
        redact: Redactor | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger, self._now_s = logger, now_s
        self.redact = redact or Redactor()
        self._footer = _footer(logger)
        self._begun_s = self._now_s()
        self._told_s = float("-inf")
        self._told = ""

    def say(self, text: str) -> None:
        """Tell what happened."""
        self._logger.info(f"osgpilot: {printable(self.redact(text))}")

    def warn(self, text: str) -> None:
        """Tell what the user should look at."""
        self._logger.warning(f"osgpilot: {printable(self.redact(text))}")

    def show(self, progress: Progress) -> None:
        """Tell how far the run is, if there is something new and the time has come."""
        now_s, text = self._now_s(), "" if progress.is_idle else progress.line
        pause_s = REDRAW_S if self._footer else self._interval_s(now_s - self._begun_s)
        if text == self._told or now_s - self._told_s < pause_s:
            return
        self._told, self._told_s = text, now_s
        if self._footer:
            self._footer.show(self, text and f"osgpilot: {text}", f"osgpilot: {progress.brief}")
        elif text:
            self.say(text)

    def close(self) -> None:
        """Take our line off the terminal."""
        if self._footer:
            self._footer.show(self, "")

    @staticmethod
    def _interval_s(age_s: float) -> float:
        return next(interval_s for until_s, interval_s in INTERVALS_S if age_s < until_s)


def _joined(texts: Iterable[str]) -> str:
    return "  |  ".join(text for text in texts if text)


def _footer(logger: Any) -> StatusLine | None:
    """Return the last line of the terminal that Snakemake logs to; None if it logs elsewhere."""
    if os.environ.get("TERM", "dumb") == "dumb":
        return None
    return cast("StatusLine | None", wrap_terminal_stream(logger, StatusLine))
