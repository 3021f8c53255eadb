"""Files that their owner alone can read, whatever the umask."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def opener(path: str, flags: int) -> int:
    """Open a file for `open(..., opener=opener)`; one that is new is private."""
    return os.open(path, flags, FILE_MODE)


def write(path: Path, text: str) -> None:
    """Write `text` to a file; one that is new is private."""
    with open(path, "w", encoding="utf-8", opener=opener) as file:
        file.write(text)
