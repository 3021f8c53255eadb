"""Find the container image that a rule names, and how it gets to the pilot."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from ..common import private_files as private
from ..common.messages import Messages
from ..errors import InputError
from ..htcondor.submit_description import image_name, is_plain_image
from ..runtime_image.published import url_of
from .transfer_policy import is_below

_FETCHED_BY_NAME = ("docker://", "oras://")
_FETCHED_AS_FILE = ("osdf://", "pelican://", "stash://", "https://", "http://", "s3://")
_NOWHERE_ELSE = "give a .sif file, or a URL that begins with "
_EVERYWHERE = ("/cvmfs",)
"""Folders that all pilots see; HTCondor uses images there in place (CONTAINER_SHARED_FS)."""

_MB = 1024 * 1024


@dataclass(frozen=True)
class Image:
    """An image as HTCondor needs it; `size_mb` travels to pilots, 0 if unknown."""

    name: str = ""
    transferred: bool = True
    size_mb: int = 0


NO_IMAGE = Image()


@dataclass
class Images:
    """Images of one workflow, each checked once.

    `way` describes how image files travel; below `shared_prefixes` pilots see the same files as
    this machine. `links` is a folder for links to images whose paths HTCondor would misread.
    """

    workdir: Path
    messages: Messages
    way: str = "with each job"
    shared_prefixes: tuple[str, ...] = ()
    links: Path | None = None
    _known: dict[str, Image] = field(default_factory=dict)

    def find(self, name: str) -> Image:
        """Return the image `name`: a URL, or a path relative to the working folder.

        Raises `InputError` if HTCondor cannot use it.
        """
        if not name:
            return NO_IMAGE
        name = name.removeprefix("file://")
        place = name if "://" in name else str(self.workdir / name)
        if place not in self._known:
            self._known[place] = by_url(place) if "://" in place else self._local(Path(place))
        return self._known[place]

    def _local(self, path: Path) -> Image:
        if is_below(str(path), _EVERYWHERE):
            return Image(image_name(str(path)), transferred=False)
        if not path.exists():
            raise InputError(
                f"the container image {path} does not exist (one in a registry begins with docker://)"
            )
        if not path.is_dir() and path.suffix != ".sif":
            raise InputError(f"the container image {path} has to be a folder or end in .sif")
        if is_below(str(path), self.shared_prefixes):
            self.messages.info(f"image {path} is read where it is")
            return Image(image_name(str(path)), transferred=False)
        size_mb = _size_mb(path)
        if url := url_of(path):
            self.messages.info(f"image {path} ({size_mb} MB) is fetched by pilots from {url}")
            return Image(image_name(url), size_mb=size_mb)
        self.messages.info(f"image {path} ({size_mb} MB) is sent {self.way}")
        return Image(image_name(str(self._plain(path))), size_mb=size_mb)

    def _plain(self, path: Path) -> Path:
        """Return the path of an image, or of a link to it that HTCondor reads unchanged."""
        if is_plain_image(str(path)) or self.links is None:
            return path
        link = self.links / f"{blake2b(os.fsencode(path), digest_size=8).hexdigest()}{path.suffix}"
        if is_plain_image(str(link)) and not link.is_symlink():
            link.parent.mkdir(private.FOLDER_MODE, exist_ok=True)
            link.symlink_to(path)
        return link


def by_url(url: str) -> Image:
    """Return an image that pilots fetch. Raises `InputError` if HTCondor cannot."""
    image_name(url)
    if url.startswith(_FETCHED_BY_NAME):
        return Image(url)
    if not url.startswith(_FETCHED_AS_FILE):
        known = ", ".join((*_FETCHED_BY_NAME, *_FETCHED_AS_FILE))
        raise InputError(f"HTCondor cannot fetch the container image {url}; {_NOWHERE_ELSE}{known}")
    if not url.endswith(".sif"):
        raise InputError(f"the container image {url} has to end in .sif")
    return Image(url)


def base_of(name: str, workdir: Path) -> str:
    """Return an image as Apptainer reads it, to make another one of. Raises `InputError`."""
    name = name.removeprefix("file://")
    if name.startswith(_FETCHED_BY_NAME):
        return name
    if "://" in name:
        known = " or ".join(_FETCHED_BY_NAME)
        raise InputError(
            f"a conda environment cannot be put on the container image {name}: name a file, or one "
            f"of a registry ({known})"
        )
    path = workdir / name
    if not path.exists():
        raise InputError(f"the container image {path} does not exist")
    return str(path)


def _size_mb(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return -(-sum(file.stat().st_size for file in files) // _MB)
