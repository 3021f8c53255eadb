"""Images of the cache that are somewhere else, too, from where pilots fetch them by URL."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from ..common.atomic_write import write_atomically
from ..common.subprocesses import run
from ..errors import InputError
from .packing import images

PUSH_S = 4 * 3600.0
ANSWER_S = 30.0

READABLE = 0o644
"""Mode of a copy: whoever serves the folder has to read it."""

COMMANDS = {
    "oras": "apptainer push {file} {url}",
    "osdf": "pelican object put {file} {url}",
    "pelican": "pelican object put {file} {url}",
}
"""Programs that write to a URL, by its scheme; each finds its credentials itself."""

_IN_POOL, _SERVED = "/ospool/", "osdf://"
"""Folders of an OSPool access point that its data origin serves under their own path."""

_SECRET = re.compile(r"://[^/]*@|[?#]")
_SAID_MAX = 500


def url_of(image: Path) -> str:
    """Return the URL of an image, empty if it was not published or is another one since.

    Beside an image that is not in the cache, others might have written a file of that name.
    """
    if image.parent != images():
        return ""
    try:
        noted = json.loads(_note(image).read_text())
        url, content = noted["url"], noted["content"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    try:
        return str(url) if content == _content(image) else ""
    except OSError:
        return ""


def target(image: Path, destination: str, url: str) -> str:
    """Return the URL that an image gets at `destination`, a folder or URL; `url` is that of the
    folder, empty if known. Raises `InputError`.
    """
    place = url or destination
    if not url and "://" not in destination:
        folder = str(Path(destination).resolve())
        if not folder.startswith(_IN_POOL):
            raise InputError(f"name the URL by which pilots see the folder {folder} (--url)")
        place = f"{_SERVED}{folder}"
    if _SECRET.search(place):
        raise InputError(
            "a URL with a user, password or query would be seen in the queue: name one that pilots "
            "can fetch without"
        )
    whole = place.endswith(".sif") or place.startswith("oras://")
    return place if whole else f"{place.rstrip('/')}/{image.name}"


def push(image: Path, destination: str, url: str, command: str) -> None:
    """Copy an image to `destination`, a folder or URL, and record that pilots fetch it by `url`.

    `command` writes to a URL, empty for the usual one. Raises `InputError`.
    """
    if "://" in destination:
        usual = COMMANDS.get(destination.partition("://")[0], "")
        _send(image, target(image, destination, ""), command or usual)
    else:
        _copy(image, Path(destination), url.rpartition("/")[2])
    _check(url, image.stat().st_size)
    write_atomically(_note(image), json.dumps({"url": url, "content": _content(image)}))


def forget(image: Path) -> bool:
    """Have an image sent from here again; return False if it was not published."""
    was = bool(url_of(image))
    _note(image).unlink(missing_ok=True)
    return was


def _note(image: Path) -> Path:
    return image.with_suffix(".url")


def _content(image: Path) -> list[int]:
    # not its date, which says when a run used it last
    status = image.stat()
    return [status.st_size, status.st_ino]


def _copy(image: Path, folder: Path, name: str) -> None:
    part = folder / f".{name}.{os.getpid()}.part"
    try:
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}")
        shutil.copyfile(image, part)
        part.chmod(READABLE)
        part.rename(folder / name)
    except OSError as error:
        raise InputError(f"{image} cannot be copied to {folder}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)


def _send(image: Path, url: str, command: str) -> None:
    if not command:
        known = ", ".join(f"{scheme}://" for scheme in COMMANDS)
        raise InputError(
            f"osgpilot can write to {known} or a folder: for {url} name a command that can (--with)"
        )
    argv = _argv(command, {"{file}": str(image), "{url}": url})
    if shutil.which(argv[0]) is None:
        raise InputError(f"{argv[0]} is not on this machine; it would write to {url}")
    done = run(argv, timeout_s=PUSH_S)
    if done.returncode != 0:
        said = " ".join(f"{done.stdout} {done.stderr}".split())[-_SAID_MAX:]
        raise InputError(f"{image.name} cannot be written to {url}; {argv[0]} said: {said}")


def _argv(command: str, values: dict[str, str]) -> Sequence[str]:
    """Return a command as a list of arguments, with `values` in it. Raises `InputError`."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--with {command}: {error}") from error
    if not words or not all(name in command for name in values):
        raise InputError("--with names a program and its arguments, {file} and {url} among them")
    for name, value in values.items():
        words = [word.replace(name, value) for word in words]
    return words


def _check(url: str, size: int) -> None:
    """Raise `InputError` unless a web server answers that it has `size` bytes at `url`."""
    if not url.startswith(("http://", "https://")):
        return
    try:
        asked = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(asked, timeout=ANSWER_S) as answer:
            served = answer.headers.get("Content-Length")
    except (OSError, ValueError) as error:
        raise InputError(f"{url} cannot be fetched: {error}") from error
    if served is not None and served != str(size):
        raise InputError(f"{url} has {served} bytes, and the image {size}: it is another file")
