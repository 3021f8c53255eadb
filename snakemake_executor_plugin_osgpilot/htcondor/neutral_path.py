"""A path of a run's folder that HTCondor reads unchanged, whatever the working folder is called.

Submit descriptions have no quoting for paths. So if the path of a run's folder has characters that
HTCondor would misread, HTCondor gets a symbolic link to it, in the user's state folder (XDG Base
Directory Specification). Everything stays in the run's folder; the link is removed with the run.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path

from ..common import private_files as private
from ..errors import InputError
from .submit_description import is_plain


def neutral(folder: Path) -> Path:
    """Return `folder`, or a path that leads to it and that HTCondor reads unchanged.

    Raises `InputError` if there is none.
    """
    if is_plain(folder):
        return folder
    place = _state_folder() / f"{folder.name}-{_digest(folder)}"
    if not is_plain(place):
        raise InputError(
            f"HTCondor would misread characters in the working folder {str(folder)!r} and in "
            f"{str(place.parent)!r}, where a link to it would be: set XDG_STATE_HOME to a folder "
            "with letters, digits and - _ . only in its path"
        )
    return place


def link(folder: Path) -> None:
    """Make `neutral(folder)` lead to the folder of a run. Raises `InputError`."""
    place = neutral(folder)
    if place == folder or _leads_to(place, folder):
        return
    try:
        place.parent.mkdir(private.FOLDER_MODE, parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(folder)
    except OSError as error:
        raise InputError(
            f"{place}, by which HTCondor finds the run's folder, cannot be made "
            f"({error.strerror}): set XDG_STATE_HOME to a folder that you can write"
        ) from error


def unlink(folder: Path) -> None:
    """Remove the link to a run's folder, if there is one."""
    with suppress(InputError, OSError):
        place = neutral(folder)
        if place != folder and place.is_symlink():
            place.unlink()


def _state_folder() -> Path:
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "osgpilot" / "runs"


def _digest(folder: Path) -> str:
    return blake2b(os.fsencode(folder), digest_size=4).hexdigest()


def _leads_to(place: Path, folder: Path) -> bool:
    return place.is_symlink() and place.readlink() == folder
