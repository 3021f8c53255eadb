"""The full-screen view of `osgpilot status --watch`."""

from __future__ import annotations

import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable
from types import TracebackType
from typing import Any

import rich.console
from rich.live import Live

from ..report.summary import RunState, View
from ..report.terminal import PARTS, full_screen

QUIT, NEXT = "qQ\x1b", "\t "


def watch(look: Callable[[], View], console: rich.console.Console, every_s: float) -> View:
    """Show a run on the whole terminal until it is over or the user leaves; return its last view.

    Raises `KeyboardInterrupt` on Ctrl-C, with the terminal as it was.
    """
    part = 0
    with Keys() as keys, Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            seen = look()
            live.update(full_screen(seen, PARTS[part], console.height), refresh=True)
            if seen.state is not RunState.RUNNING:
                return seen
            key = keys.pressed(every_s)
            if key and key in QUIT:
                return seen
            part = (part + (key in NEXT if key else False)) % len(PARTS)


class Keys:
    """Reads single keys of the terminal without Enter; elsewhere there are none."""

    def __init__(self) -> None:
        self._before: list[Any] | None = None

    def __enter__(self) -> Keys:
        if sys.stdin.isatty():
            self._before = termios.tcgetattr(sys.stdin)
            tty.setcbreak(sys.stdin)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        if self._before is not None:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self._before)

    def pressed(self, wait_s: float) -> str:
        """Return the key that is pressed within a time, empty without one."""
        if self._before is None:
            time.sleep(wait_s)
            return ""
        ready, _, _ = select.select([sys.stdin], [], [], wait_s)
        return os.read(sys.stdin.fileno(), 1).decode("ascii", "replace") if ready else ""
