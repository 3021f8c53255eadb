"""Lines for people who look at a terminal, and for programs that read them."""

from __future__ import annotations

import shutil
import sys
import textwrap


def fitted(text: str, first: str = "", then: str = "") -> str:
    """Return `first` and `text`, broken at words where a terminal is too narrow for it.

    What follows begins with `then`. Elsewhere it stays one line, for grep and for copying.
    """
    if not sys.stdout.isatty():
        return first + text
    width = shutil.get_terminal_size().columns - 1
    return textwrap.fill(
        text, width, initial_indent=first, subsequent_indent=then,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
