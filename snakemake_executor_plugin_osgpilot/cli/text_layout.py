"""Line breaking for terminals; unbroken lines for programs."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterator, Sequence

from ..common.printable import one_line

_UNIT = re.compile(r"(\d) (?=(?:s|min|h|d|MB|GB|cores?|core-hours)\b)")
_STAYS = "\N{NO-BREAK SPACE}"


def fitted(text: str, first: str = "", then: str = "") -> str:
    """Return `first` and `text`, wrapped to the terminal's width; further lines begin with `then`.

    Elsewhere it stays one line, for grep and for copying.
    """
    text = one_line(text)
    if not sys.stdout.isatty():
        return first + text
    return broken(text, shutil.get_terminal_size().columns - 1, first, then)


def columns(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> Iterator[str]:
    """Yield rows as aligned lines without trailing blanks; columns in `right` end together."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            one_line(cell).rjust(width) if number in right else one_line(cell).ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def broken(text: str, width: int, first: str = "", then: str = "") -> str:
    """Return `first` and `text` in lines of `width`; a number is not separated from its unit."""
    whole = _UNIT.sub(f"\\1{_STAYS}", text)
    lines = textwrap.fill(
        whole, width, initial_indent=first, subsequent_indent=then,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return lines.replace(_STAYS, " ")
