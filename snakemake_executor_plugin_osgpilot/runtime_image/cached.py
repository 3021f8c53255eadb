"""The images of the cache: what is in each, when it was last used, and removing them."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..common.cache_folder import locked
from . import conda
from .conda import WITH_PYTHON, Environment
from .packing import images
from .packing import remove as remove_image
from .published import url_of

DAY_S = 86400.0


@dataclass(frozen=True)
class Cached:
    """An image of the cache; without `environments` it has that of Snakemake alone.

    `url` is where pilots fetch it, empty if it is sent from here.
    """

    path: Path
    size: int
    used_s: float
    environments: tuple[Environment, ...]
    base: str
    url: str = ""

    @property
    def key(self) -> str:
        """The name by which a user asks for it."""
        return self.path.stem

    @property
    def content(self) -> str:
        """Its content, for people."""
        return ", ".join(each.name for each in self.environments) or "Python of Snakemake"

    @property
    def base_name(self) -> str:
        """The base that the environments are on, for people."""
        if not self.environments or self.base == WITH_PYTHON:
            return "Python of Snakemake"
        return self.base or "programs of this machine"


def cached() -> list[Cached]:
    """Return the images of the cache, the latest used first."""
    found = [each for path in images().glob("*.sif") if (each := _cached(path))]
    return sorted(found, key=lambda each: each.used_s, reverse=True)


def _cached(path: Path) -> Cached | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        # removed meanwhile
        return None
    known = conda.read(path)
    environments = known.environments if known else ()
    base = known.base if known else ""
    return Cached(path, status.st_size, status.st_mtime, environments, base, url_of(path))


def prune(unused_s: float) -> Iterator[Cached]:
    """Remove the images that no run has used for this time, and what killed builds left.

    Yield those that are removed. A build under way is waited for.
    """
    folder = images()
    if not folder.is_dir():
        return
    with locked(folder / ".lock"):
        for path in folder.glob(".part-*"):
            shutil.rmtree(path, ignore_errors=True)
        for each in cached():
            if time.time() - each.used_s >= unused_s:
                remove_image(each.path)
                yield each
        _forget()


def _forget() -> None:
    """Remove what jobs sent of environments that no image has, and notes about environments that
    are neither in an image nor in their folder.
    """
    packed = {made.key for each in cached() for made in each.environments}
    for folder in images().glob("built-*"):
        if folder.name.removeprefix("built-") not in packed:
            shutil.rmtree(folder, ignore_errors=True)
    for note in images().glob("environment-*.json"):
        known = conda.found(note.stem.removeprefix("environment-"))
        if known is None or not (known.key in packed or conda.is_there(known.folder)):
            note.unlink(missing_ok=True)
