"""Checks of this host: versions, site file, project, the folder of runs."""

from __future__ import annotations

import json
import platform
import secrets
import shutil
import time
import urllib.request
from collections.abc import Iterable
from contextlib import closing
from importlib import metadata
from pathlib import Path

from ..common.counting import count_of
from ..config.site import OSPOOL, all_complaints
from ..errors import InputError
from ..htcondor.neutral_path import neutral
from ..journal.run_folder import JOURNAL
from ..journal.store import Journal
from ..model.identity import RunIdentity
from .context import CheckContext
from .findings import Finding, failed, of_error, ok, untested, warning

NEEDED = {"snakemake": ((9, 20), (10,)), "htcondor": ((24, 5), (26,))}
"""Supported versions (from, below), as in `pyproject.toml`."""

REGISTRY = "https://topology.opensciencegrid.org/miscproject/json"
"""The projects that the OSG knows, by name (opensciencegrid/topology, src/app.py)."""

REGISTRY_S = 15.0
JOURNAL_SLOW_S = 2.0


def versions(context: CheckContext) -> list[Finding]:
    """Check the versions of packages."""
    found, trouble = [f"Python {platform.python_version()}"], []
    for package, (least, below) in NEEDED.items():
        try:
            text = metadata.version(package)
        except metadata.PackageNotFoundError:
            fix = f"pip install '{_wanted(package)}' into the environment of Snakemake"
            trouble.append(failed("versions", f"{package} is not installed here", fix))
            continue
        found.append(f"{package} {text}")
        if not least <= numbers(text) < below:
            fix = f"pip install '{_wanted(package)}'"
            trouble.append(failed("versions", f"{package} {text} is not known to work", fix))
    return trouble or [ok("versions", ", ".join(found))]


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, as far as they are plain."""
    parts = version.split(".")
    plain = [part.isdigit() for part in parts]
    length = plain.index(False) if False in plain else len(parts)
    return tuple(int(part) for part in parts[:length])


def _wanted(package: str) -> str:
    least, below = NEEDED[package]
    return f"{package}>={'.'.join(map(str, least))},<{below[0]}"


def site_file(context: CheckContext) -> list[Finding]:
    """Check the site file by itself."""
    if complaints := all_complaints(context.site_file):
        fix = "`osgpilot site schema` prints the known keys"
        return [failed("site-file", complaint, fix) for complaint in complaints]
    site = context.site.reported()
    count = count_of(len(site.partitions), "partition")
    return [ok("site-file", f"{context.site_file}: {site.resource}, {count}")]


def project(context: CheckContext) -> list[Finding]:
    """Check that there is a project and that the OSG knows it."""
    try:
        name = context.project.reported()
    except InputError as error:
        return [of_error("project", error, "choose one of letters, digits, `.`, `_` and `-`")]
    if context.site().central_manager != OSPOOL:
        return [ok("project", f"{name} (a pool of your own registers none)")]
    try:
        with urllib.request.urlopen(REGISTRY, timeout=REGISTRY_S) as answer:
            known = json.load(answer)
    except (OSError, ValueError) as error:
        fix = f"look for it in {REGISTRY}"
        return [untested("project", f"{name}: the OSG's list cannot be fetched ({error})", fix)]
    return [known_project(name, known)]


def known_project(name: str, known: Iterable[str]) -> Finding:
    """Check that a project is `known`; pilots compare names case-sensitively."""
    names = set(known)
    if name in names:
        return ok("project", f"{name} is known to the OSG")
    alike = sorted(each for each in names if each.lower() == name.lower())
    if alike:
        return failed("project", f"{name} is not known to the OSG", f"write it {alike[0]}")
    fix = "ask for it: `osgpilot doctor --mail` has the text"
    return failed("project", f"{name} is not known to the OSG", fix)


def run_folder(context: CheckContext) -> list[Finding]:
    """Check that a run's journal works in the folder of runs."""
    neutral(context.state_folder)
    mark = f"doctor-{secrets.token_hex(4)}"
    folder = context.state_folder / mark
    fix = "work in a folder on another file system, one that you can write and lock files in"
    try:
        folder.mkdir(parents=True)
        began_s = time.monotonic()
        _use_journal(folder / JOURNAL, RunIdentity("doctor", "doctor", mark))
        took_s = time.monotonic() - began_s
    except OSError as error:
        return [failed("run-folder", f"{folder}: {error.strerror}", fix)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    where = f"{context.state_folder.parent}: a journal was written and read back in {took_s:.2f} s"
    if took_s > JOURNAL_SLOW_S:
        return [warning("run-folder", where, "a faster file system serves large workflows better")]
    return [ok("run-folder", where)]


def _use_journal(path: Path, seat: RunIdentity) -> None:
    """Write a journal and read it back as another process would, while the first is open."""
    with closing(Journal(path, seat)) as journal:
        journal.hold(None)
        journal.check()
        with closing(Journal(path)) as other:
            other.finish()
        if not journal.is_finished:
            raise OSError(0, "what one process writes another does not see")
