"""Create files that only their owner can read, independent of the umask."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=opener)`; a new file is private."""
    return os.open(path, flags, FILE_MODE)


def append(path: Path, text: str) -> None:
    """Append `text` to a file; a new file is private."""
    with open(path, "a", encoding="utf-8", opener=opener) as file:
        file.write(text)


def write(path: Path, text: str) -> None:
    """Write `text` to a file; a new file is private."""
    with open(path, "w", encoding="utf-8", opener=opener) as file:
        file.write(text)
