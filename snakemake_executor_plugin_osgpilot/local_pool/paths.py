"""The pool's files: all in one cache folder."""

import re
from pathlib import Path

from ..common.cache_folder import cache
from ..errors import InputError

PACKAGE = Path(__file__).parent.parent
KIT = Path(__file__).parent / "kit"
DEFAULT_NAME = "default"
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")


def images() -> Path:
    """Return the folder of what `build` makes, one subfolder for each finished stage."""
    return cache() / "images"


def devices() -> Path:
    """Return the empty folder on which each namespace mounts device nodes of its own."""
    return cache() / "dev"


def instance_folder(name: str) -> Path:
    """Return the folder of the pool `name`. Raises InputError for an invalid name."""
    if not NAME_PATTERN.fullmatch(name):
        raise InputError(
            f"--name {name!r}: use at most 32 lower-case letters, digits and any of _.-,"
            " and begin with a letter or digit"
        )
    return cache() / "run" / name
