"""The Python environment of this process as an image, for jobs that call Python functions.

It is made by Apptainer, once for each content, and kept in the cache folder. In it are the
environment (a venv, or one of conda) at `ENVIRONMENT`, its base interpreter at `BASE`, and of this
machine's system bash, the basic programs, and the libraries that all of these load. The places
that they have here lead there, too, except those which a container hides.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from ..common.cache_folder import key_of
from .packing import HIDDEN, Entries, Recipe, Wanted, data, images, libraries, packed, programs

ENVIRONMENT = "/osgpilot/env"
BASE = "/osgpilot/base"
_SITES = "/osgpilot/site"

PATH = f"{ENVIRONMENT}/bin:/usr/bin:/bin"
"""The folder of programs in the image."""

FORMAT = 1
"""Changes when images of another content have to be made for the same environment."""

_SYSTEM = ("/", "/usr", "/usr/local")
"""Prefixes that contain more than Python."""

_NOT_NEEDED = {"envs", "pkgs", ".git", "idlelib", "turtledemo", "pydoc_data"}
_NOT_NEEDED_BELOW_STDLIB = {"test", "site-packages", "dist-packages", "ensurepip"}


@dataclass(frozen=True)
class Python:
    """The interpreter of a process, and where its modules are.

    `prefix` is that of a venv or of an environment of conda, `base` that of the interpreter.
    """

    prefix: Path
    base: Path
    executable: Path
    stdlib: tuple[Path, ...]
    sites: tuple[Path, ...]

    @classmethod
    def of_this_process(cls) -> Python:
        """Return the one that runs here."""
        # in a venv, "platbase" is that of the venv
        paths = sysconfig.get_paths(vars={"platbase": sys.base_exec_prefix})
        prefix, base = Path(sys.prefix), Path(sys.base_prefix)
        whole = str(prefix) not in _SYSTEM
        named = [Path(entry) for entry in sys.path if entry.endswith("-packages")]
        sites = [each for each in named if not (whole and each.is_relative_to(prefix))]
        return cls(
            prefix,
            base,
            Path(sys.executable).resolve(),
            tuple(dict.fromkeys(Path(paths[name]) for name in ("stdlib", "platstdlib"))),
            tuple(dict.fromkeys(each for each in sites if each.is_dir())),
        )

    @property
    def is_own(self) -> bool:
        """True if all below `prefix` belongs to this environment."""
        return str(self.prefix) not in _SYSTEM

    @property
    def has_base(self) -> bool:
        """True if the interpreter is not in the environment itself."""
        return not self.is_own or self.prefix != self.base

    def key(self) -> str:
        """Return a name for the content: the interpreter, and the records of all packages."""
        status = self.executable.stat()
        records = {
            each.read_text("RECORD") or str(each.metadata["Name"]) for each in distributions()
        }
        conda = sorted(path.name for path in self.prefix.glob("conda-meta/*.json"))
        places = [str(self.prefix), str(self.base), str(self.executable), *map(str, self.sites)]
        system = [*os.uname()[:1], os.uname().machine, os.confstr("CS_GNU_LIBC_VERSION") or ""]
        content = (FORMAT, sys.version, status.st_size, status.st_mtime_ns, places, system, conda)
        return f"{key_of(*content, sorted(records))}"


def find(python: Python) -> Path | None:
    """Return the image of `python` if it has been made."""
    image = _place(python)
    return image if image.exists() else None


def _place(python: Python) -> Path:
    return images() / f"python-{python.key()}.sif"


_WANTED = Wanted(
    "the Python environment of Snakemake",
    "for rules that need it where they run",
    "name an image with --osgpilot-runtime-image (see `osgpilot runtime build`)",
)


def make(say: Callable[[str], None]) -> Path:
    """Return the image with the Python environment of this process, made unless it is there.

    Raises `MissingPrerequisiteError` if it cannot be made.
    """
    python = Python.of_this_process()
    return packed(_place(python), _WANTED, lambda: Recipe(contents(python), path=PATH), say)


def contents(python: Python) -> Entries:
    """Return all that the image of `python` contains."""
    found: Entries = {}
    if python.is_own:
        found |= _tree(python.prefix, ENVIRONMENT, _NOT_NEEDED, python)
    if python.has_base:
        found |= _base(python)
    for number, site in enumerate(python.sites):
        found |= _tree(site, f"{_SITES}/{number}", _NOT_NEEDED, python)
    found |= programs()
    loading = [each for each in found.values() if isinstance(each, Path)]
    found |= libraries(loading, lambda path: _place_of_library(path, python)) | data()
    return found | _aliases(python) | _settings(python) | _moved_scripts(found, python)


def _tree(source: Path, target: str, leave_out: set[str], python: Python) -> Entries:
    """Return the files below `source`, and links to them as links."""
    found: Entries = {}
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - leave_out)
        below = os.path.relpath(folder, source)
        for name in [
            *sorted(names),
            *(each for each in folders if Path(folder, each).is_symlink()),
        ]:
            path = Path(folder, name)
            if name.endswith(".a"):
                continue
            place = os.path.normpath(f"{target}/{below}/{name}")
            if entry := _entry(path, source, target, python):
                found[place] = entry
    return found


def _entry(path: Path, source: Path, target: str, python: Python) -> Path | str | None:
    """Return what a path is in the image: a copy, a link, or None for what cannot be there."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return None
    if path.is_symlink():
        if python.has_base and real == python.executable:
            return f"{BASE}/bin/{real.name}"
        to = Path(os.path.normpath(path.parent / os.readlink(path)))  # noqa: PTH115
        if to.is_relative_to(source):
            inside = f"{target}/{to.relative_to(source)}"
            return os.path.relpath(inside, f"{target}/{path.parent.relative_to(source)}")
    readable = real.is_file() and os.access(real, os.R_OK)
    return real if readable else None


def _base(python: Python) -> Entries:
    """Return the interpreter and its standard library."""
    name = python.executable.name
    found: Entries = {f"{BASE}/bin/{name}": python.executable}
    for other in {"python3", "python"} - {name}:
        found[f"{BASE}/bin/{other}"] = name
    for folder in python.stdlib:
        below = folder.relative_to(python.base)
        leave_out = _NOT_NEEDED | _NOT_NEEDED_BELOW_STDLIB
        found |= _tree(folder, f"{BASE}/{below}", leave_out, python)
    return found


def _settings(python: Python) -> Entries:
    """Return the files and links that make a venv, and the list of other folders of modules."""
    version = "{}.{}".format(*sys.version_info)
    site = f"lib/python{version}/site-packages"
    listed = "".join(f"{_SITES}/{number}\n" for number in range(len(python.sites)))
    found: Entries = {f"{ENVIRONMENT}/{site}/osgpilot.pth": listed.encode()} if listed else {}
    if python.has_base:
        text = f"home = {BASE}/bin\ninclude-system-site-packages = false\nversion = {version}\n"
        found[f"{ENVIRONMENT}/pyvenv.cfg"] = text.encode()
    if not python.is_own:
        for name in ("python", "python3"):
            found[f"{ENVIRONMENT}/bin/{name}"] = f"{BASE}/bin/{python.executable.name}"
    return found


def _moved_scripts(found: Entries, python: Python) -> Entries:
    """Return the environment's scripts with its interpreter at its place in the image."""
    old, new = f"{python.prefix}/bin/".encode(), f"{ENVIRONMENT}/bin/".encode()
    moved: Entries = {}
    for path, source in found.items():
        if isinstance(source, Path) and path.startswith(f"{ENVIRONMENT}/bin/"):
            content = source.read_bytes()
            if content.startswith(b"#!") and old in content[:_HEAD_BYTES]:
                head, rest = content[:_HEAD_BYTES], content[_HEAD_BYTES:]
                moved[path] = head.replace(old, new) + rest
    return moved


_HEAD_BYTES = 1024


def _aliases(python: Python) -> Entries:
    """Return links from the places that environment and interpreter have here."""
    places = [(python.prefix, ENVIRONMENT)] if python.is_own else []
    places += [(python.base, BASE)] if python.has_base else []
    return {
        str(place): to
        for place, to in places
        if str(place) not in _SYSTEM and not any(place.is_relative_to(top) for top in HIDDEN)
    }


def _place_of_library(path: Path, python: Python) -> str | None:
    """Return where a library of the base interpreter is in the image, None for any other."""
    if str(python.base) in _SYSTEM or not path.is_relative_to(python.base):
        return None
    top = BASE if python.has_base else ENVIRONMENT
    return f"{top}/{path.relative_to(python.base)}"
