"""Write files so that a reader, or the next start after a kill, never finds half of one."""

from __future__ import annotations

import os
from pathlib import Path

from .private_files import FILE_MODE

READABLE_MODE = 0o666
"""Whoever the umask lets read may read the file."""


def write_atomically(path: Path, content: str | bytes, mode: int = FILE_MODE) -> None:
    """Write a file, or replace it, in one step. Raises `OSError`; what was there stays then."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    raw = content.encode() if isinstance(content, str) else content
    try:
        part.unlink(missing_ok=True)
        with open(part, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(raw)
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
