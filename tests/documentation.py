"""The documentation as tests see it: what its fenced blocks are, and which commands it names.

The words after the fence say what a block is:

    sh                 commands for the login host; they have to succeed
    sh exits N         the same, but they end with this status
    sh killed          started there, and killed as soon as a job runs
    sh elsewhere WHY   needs what no local pool has
    LANGUAGE NAME      a file of this name
    anything else      to be read
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "example-workflow/**/*.md")
    for page in ROOT.glob(pattern)
    if page.name != "CHANGELOG.md"
)
FENCE = re.compile(r"^( *)```(.*)$")


class Block(NamedTuple):
    """A fenced block: the page and line of its fence, language, what else is said, and its text."""

    page: Path
    line: int
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    opened: tuple[int, str, str] | None = None
    text: list[str] = []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = FENCE.match(line)
        if fence and opened is None:
            language, _, note = fence[2].partition(" ")
            opened, text = (number, language, note.strip()), []
        elif fence and opened:
            yield Block(page, *opened, "\n".join(text) + "\n")
            opened = None
        else:
            text.append(line)
    assert opened is None, f"{page}: a block is not closed"


def commands(page: Path) -> Iterator[str]:
    """Yield every command line of a page, in blocks and in the text, that begins with ours."""
    text = page.read_text()
    for span in re.findall(r"`(osgpilot [^`]+|snakemake [^`]+)`", text):
        yield " ".join(span.split())
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.startswith(("osgpilot ", "snakemake ")):
                    yield line
