"""Pictures of what programs print: a terminal of a fixed width, drawn and photographed.

The terminal is a real one (a pty), so programs show their colours and their progress; Rich draws
what they wrote, and Chromium takes the picture.
"""

from __future__ import annotations

import base64
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from chromium import chromium
from PIL import Image
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

WIDTH, HEIGHT = 100, 40
"""Columns and lines of the terminal."""

COLOURS = 256
"""Of a picture: it is half as large then."""

PAPER = TerminalTheme(
    (24, 26, 31),
    (222, 224, 228),
    [(86, 90, 99), (240, 113, 120), (152, 205, 121), (229, 192, 123), (97, 175, 239),
     (198, 146, 233), (86, 193, 203), (222, 224, 228)],
)  # fmt: skip

_CONTROL = re.compile(r"\x1b\[(\d*)A|\x1b\[2K|\x1b\[\?25[lh]|\r|\n")
"""What moves the cursor of the programs that are shown: up, the line is erased, back, and on."""


class Terminal:
    """A program in a terminal; what it writes is kept."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._end, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
        env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self._written = bytearray()
        self._process = subprocess.Popen(
            argv, stdin=there, stdout=there, stderr=there, env=env, start_new_session=True
        )
        os.close(there)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        # a terminal whose last program has ended cannot be read any more: EIO
        with suppress(OSError):
            while data := os.read(self._end, 65536):
                self._written += data

    def type(self, text: str) -> None:
        """Do what somebody at the keyboard does."""
        os.write(self._end, text.encode())

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def text(self) -> str:
        """What stands on the terminal, with its colours."""
        return on_screen(self._written.decode("utf-8", "replace"))

    def wait(self, patience_s: float = 300) -> int:
        """Return the exit status."""
        status = self._process.wait(patience_s)
        self._reader.join(patience_s)
        return status


def on_screen(written: str) -> str:
    """Return the lines that are left of what a program wrote: some it has drawn over."""
    lines, row, fresh, at = [""], 0, False, 0
    for control in [*_CONTROL.finditer(written), None]:
        text = written[at : control.start() if control else len(written)]
        if text:
            lines[row] = text if fresh else lines[row] + text
            fresh = False
        if control is None:
            break
        at = control.end()
        match control[0][-1]:
            case "\n":
                row, fresh = row + 1, False
                lines += [""] * (row == len(lines))
            case "\r":
                fresh = True
            case "K":
                lines[row] = ""
            case "A":
                row = max(0, row - int(control[1] or 1))
    return "\n".join(lines)


def plain(text: str) -> str:
    """Return `text` without colours, and without blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in Text.from_ansi(text).plain.splitlines())


def drawing(text: str, title: str) -> str:
    """Return an SVG of a terminal with this text; lines are broken where a terminal does."""
    console = Console(
        record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor"
    )
    for line in Text.from_ansi(text).split(allow_blank=True):
        edges = range(WIDTH, max(WIDTH, len(line)), WIDTH)
        for part in line.divide(edges):
            console.print(part, no_wrap=True, overflow="ignore", crop=False)
    # the last line is cut below its letters otherwise
    console.print()
    return console.export_svg(title=title, theme=PAPER)


class Camera:
    """A browser that takes pictures."""

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def shoot(
        self, page: Path, picture: Path, selector: str, width: int = 1240, scheme: str = "light"
    ) -> None:
        """Write what a page shows of `selector` as a PNG of few colours.

        `scheme` is what the user prefers: `light` or `dark`.
        """
        self._driver.set_window_size(width, 900)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self._driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        self._driver.get(page.as_uri())
        box = self._driver.execute_script(
            "const box = document.querySelector(arguments[0]).getBoundingClientRect();"
            "return [box.x + scrollX, box.y + scrollY, box.width, box.height];",
            selector,
        )
        clip = dict(zip(("x", "y", "width", "height"), box, strict=True), scale=1)
        asked = {"clip": clip, "captureBeyondViewport": True}
        shot = self._driver.execute_cdp_cmd("Page.captureScreenshot", asked)["data"]
        image = Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB")
        image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(
            picture, optimize=True
        )


@contextmanager
def camera() -> Iterator[Camera]:
    """Start a browser for as long as it is needed."""
    with chromium("--hide-scrollbars") as driver:
        yield Camera(driver)
