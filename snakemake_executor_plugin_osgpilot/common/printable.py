"""Make text safe to show: texts of jobs, nodes and file names may control a terminal."""

from __future__ import annotations

TAB = 8
KEPT = "\n\N{NO-BREAK SPACE}"


def printable(text: str) -> str:
    """Return `text` with all except visible characters and line breaks escaped.

    `str.isprintable` excludes C0 and C1 controls (and so every escape sequence),
    DEL, bidirectional overrides and other invisible format characters, line and paragraph
    separators, and lone surrogates, which stand for bytes that are not UTF-8. Tabs become spaces.
    """
    return "\n".join(
        line if line.isprintable() else "".join(map(_visible, line.expandtabs(TAB)))
        for line in text.replace("\r\n", "\n").split("\n")
    )


def one_line(text: str) -> str:
    """Return `text` printable and on one line."""
    return printable(text).replace("\n", "\\n")


def storable(text: str) -> str:
    """Return `text` with lone surrogates escaped, so that it can be encoded as UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _visible(character: str) -> str:
    if character.isprintable() or character in KEPT:
        return character
    if "\udc80" <= character <= "\udcff":
        # a byte that is not UTF-8, as decoded by `os.fsdecode`
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
