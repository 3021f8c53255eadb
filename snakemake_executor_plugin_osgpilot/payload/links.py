"""Symbolic links stay links. HTCondor follows those to files and does not bring others."""

from __future__ import annotations

import os
from pathlib import Path

from snakemake_executor_plugin_osgpilot.errors import Refused
from snakemake_executor_plugin_osgpilot.payload.model import HERE

LIST = "osgpilot-links"
"""What wrapper.sh lists in the output folder: path and target of every link, NUL-ended."""

_HOPS_MAX = 40
"""Links that lead to links, after which it is a circle (Linux, path_resolution(7))."""


def stays_a_link(link: Path, folder: Path) -> bool:
    """Whether `link` in an input `folder` leads to a place in that very folder, or nowhere."""
    if not link.exists():
        return True
    to = link.readlink()
    leads_to = Path(os.path.normpath(link.parent / to))
    return not to.is_absolute() and leads_to.is_relative_to(folder)


def links_within(folder: Path) -> dict[str, str]:
    """Return the links that stay links below an input, relative path → what they point to."""
    if not folder.is_dir():
        return {}
    found = {}
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            if path.is_symlink() and stays_a_link(path, folder):
                # a Path would leave out `./` and the like
                found[str(path.relative_to(folder))] = os.readlink(path)  # noqa: PTH115
    return found


def restore(back: Path, workdir: Path) -> dict[str, str]:
    """Make the links that wrapper.sh listed in `back` again; return their paths and targets.

    One that led to a place in the job's folder leads to the same place in `workdir`. Raises
    `Refused` for one that would lie elsewhere than in `back`: the list comes from a node, where
    others than the job may have had their hands on it.
    """
    listing = back / LIST
    if not listing.exists():
        return {}
    fields = os.fsdecode(listing.read_bytes()).split("\0")[:-1]
    links = {}
    # of a job that failed, it may be the list of an attempt before, whose transfer was cut off
    for path, to in zip(fields[::2], fields[1::2], strict=False):
        inside = to.startswith(f"{HERE}/")
        links[path] = f"{workdir}{to.removeprefix(HERE)}" if inside else to
        if not _lies_within(back, path):
            raise Refused(f"the job lists a link at {path!r}, which is not among its outputs")
        if not os.path.lexists(back / path):
            (back / path).parent.mkdir(parents=True, exist_ok=True)
            (back / path).symlink_to(links[path])
    return links


def _lies_within(back: Path, path: str) -> bool:
    """Whether `path` names something below `back`, and no link is on the way there."""
    parts = Path(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        return False
    on_the_way = (back.joinpath(*parts[:depth]) for depth in range(1, len(parts)))
    return not any(place.is_symlink() for place in on_the_way)


def leads_somewhere(path: str, back: Path, workdir: Path) -> bool:
    """Whether a link among the outputs in `back` leads to a file once all are in `workdir`."""
    for _ in range(_HOPS_MAX):
        came, there = back / path, workdir / path
        if not came.is_symlink():
            return came.exists() or there.exists()
        path = os.path.relpath(workdir / Path(path).parent / came.readlink(), workdir)
        if path.startswith("../"):
            return (workdir / path).exists()
    return False
