"""`osgpilot pool build` as a whole: checks, build with progress, removal of outdated stages."""

import json
import time
from pathlib import Path

from ..common.build_progress import Progress
from ..common.cache_folder import cache, locked
from . import host, mirror
from .build import Builder, store
from .recipe import NEWER_SUITE, SUITE, recipe
from .stages import Store


def make(uri: str | None) -> None:
    """Build what is missing, from `uri` or the mirror apt uses here.

    Raises MissingPrerequisiteError if this machine cannot, or if a stage fails.
    """
    started_s = time.monotonic()
    host.require_buildable(cache())
    target = store()
    waits = "another build is running: waiting for it"
    with (
        Progress() as progress,
        locked(target.root / ".lock", before_waiting=lambda: progress.say(waits)),
    ):
        _make(target, uri, progress)
    print(f"built in {time.monotonic() - started_s:.0f} s: {target.root}")


def _make(target: Store, uri: str | None, progress: Progress) -> None:
    wanted = recipe()
    missing = [stage for stage in wanted.used().values() if not target.has(stage)]
    address = ""
    if missing:
        address = uri.rstrip("/") if uri else mirror.mirror_uri()
    if not target.has(wanted.host):
        for suite in (SUITE, NEWER_SUITE):
            mirror.require_reachable(address, suite)
    options = tuple(mirror.apt_options()) if missing else ()
    Builder(wanted, target, address, options, progress.watch).build()
    with locked(cache() / "lock" / "images in use"):
        keep = {target.path(stage) for stage in wanted.used().values()}
        target.collect(keep | in_use())


def outdated() -> bool:
    """Return True if `build` would make something new."""
    target = store()
    return any(not target.has(stage) for stage in recipe().used().values())


def in_use() -> set[Path]:
    """Return the images that running or starting pools consist of."""
    found: set[Path] = set()
    for file in (cache() / "run").glob("*/pool.json"):
        found |= {Path(path) for path in json.loads(file.read_text())["images"]}
    return found
