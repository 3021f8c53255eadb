"""The cache folder: images and other things that are expensive to build."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path


def cache() -> Path:
    """Return the folder of images and running pools: $OSGPILOT_CACHE, else in the XDG cache."""
    if own := os.environ.get("OSGPILOT_CACHE"):
        return Path(own).resolve()
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache").resolve() / "osgpilot"


def key_of(*parts: object) -> str:
    """Return a hash of `parts`; a Path counts by the content of the file, or of files below it."""
    digest = hashlib.sha256()
    for part in parts:
        files = [part] if isinstance(part, Path) else []
        if isinstance(part, Path) and part.is_dir():
            files = sorted(path for path in part.rglob("*") if path.is_file())
        if isinstance(part, Path):
            for file in files:
                digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
        else:
            digest.update(json.dumps(part, sort_keys=True).encode() + b"\0")
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(
    file: Path, *, shared: bool = False, before_waiting: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold a lock on `file`; if another process holds it, call `before_waiting`, then wait."""
    file.parent.mkdir(parents=True, exist_ok=True)
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    with file.open("a") as handle:
        try:
            fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            before_waiting()
            fcntl.flock(handle, mode)
        yield
