"""List the content of an input, and create links to it for HTCondor."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG

from ..errors import InputError
from .symlinks import leads_nowhere, stays_a_link


def contents(source: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each file, folder and link of an input, by path below `source` (empty for itself).

    Links to a place within the same folder stay links; others are followed. Raises `InputError` if
    something is missing, is neither a file nor a folder, or if a link makes a folder contain
    itself.
    """
    ahead: list[tuple[str, bool, tuple[tuple[int, int], ...]]] = [("", False, ())]
    while ahead:
        path, followed, above = ahead.pop()
        place = source / path
        if path and place.is_symlink():
            if leads_nowhere(place) or (not followed and stays_a_link(place, source)):
                yield path, place.lstat()
                continue
            followed = True
        try:
            status = place.stat()
        except OSError as error:
            raise InputError(f"the input {place} is not there ({error.strerror})") from error
        yield path, status
        if S_ISREG(status.st_mode):
            continue
        this = (status.st_dev, status.st_ino)
        if not S_ISDIR(status.st_mode):
            raise InputError(f"the input {place} is neither a file nor a folder")
        if this in above:
            raise InputError(
                f"the input {source} contains itself: {place} is a link to a folder above it"
            )
        inside = (f"{path}/{each.name}".lstrip("/") for each in place.iterdir())
        ahead += [(each, followed, (*above, this)) for each in inside]


def is_link(status: os.stat_result) -> bool:
    return S_ISLNK(status.st_mode)


def link(source: Path, target: Path) -> None:
    """Link `source` at `target`; HTCondor follows links to files only, so folders are created."""
    for path, status in contents(source):
        place = target / path
        if S_ISDIR(status.st_mode):
            place.mkdir(parents=True, exist_ok=True)
        elif not is_link(status):
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.is_symlink():
                place.symlink_to(source / path)
