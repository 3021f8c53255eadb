"""Pack the modules of Snakemake that its Python scripts import, for images without Snakemake."""

from __future__ import annotations

import io
import pickle
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from snakemake.common import get_snakemake_searchpaths
from snakemake.iocontainers import (
    InputFiles,
    Log,
    OutputFiles,
    Params,
    ResourceList,
    Snakemake,
    Wildcards,
)

from ..common.atomic_write import write_atomically
from ..errors import InputError

MODULES = "osgpilot-snakemake.zip"
"""Name of the archive in the run's folder, and where the job runs; Python imports from it."""

_NAMED = re.compile(r"^[ \t]*(?:from|import)[ \t]+(snakemake(?:\.\w+)+)", re.MULTILINE)

_TRACE = """\
import pickle, sys
class Missing:
    def find_spec(self, name, *_):
        if name in missing:
            raise ModuleNotFoundError(name)
split = sys.argv.index("")
given = [folder for folder in sys.argv[1:split] if folder not in sys.path]
named, _, missing = (text.split() for text in " ".join(sys.argv[split + 1:]).partition("-"))
sys.meta_path.insert(0, Missing())
sys.path.extend(given)
snakemake = pickle.loads(sys.stdin.buffer.read())
from snakemake.logging import logger
from snakemake.iocontainers import Snakemake
from snakemake.shell import shell
snakemake.params, snakemake.log_fmt_shell(), snakemake.report_href("x"), shell(":")
for name in named:
    try:
        __import__(name)
    except ImportError:
        pass
for name, module in list(sys.modules.items()):
    file = getattr(module, "__file__", None) or ""
    for folder in given:
        if file.startswith(folder + "/"):
            print(name, folder, file[len(folder) + 1:], sep="\\t")
            break
"""
"""Does what scripts and wrappers do, in a Python that has its standard library alone (-I -S), and
prints the files that it has imported. Arguments: folders, an empty one, modules that a script names
beside these, a hyphen, and packages that are to be missing."""

_PACKAGE, _IMPORT_OF_SHELL = "snakemake/__init__.py", b"\nfrom snakemake.shell import shell\n"
_SHELL_ON_USE = b"""
class _Package(type(sys)):
    @property
    def shell(self):
        from snakemake.shell import shell
        return shell
    @shell.setter
    def shell(self, _):
        pass
sys.modules[__name__].__class__ = _Package
"""
"""Takes the place of the package's import (9.27.1), which takes half the time in which a script
starts, in a container 0.3 s, though most scripts do not call `shell()`. Python assigns a module to
its name in the package, hence the setter."""

_STORED_AT = (1980, 1, 1, 0, 0, 0)
"""Time of each file, so that the archive is the same in every session."""

_ATTEMPTS = 10


def modules_named(source: str) -> tuple[str, ...]:
    """Return the modules of Snakemake that a script in Python names, but that not all need."""
    return tuple(sorted(set(_NAMED.findall(source)) - _imported(()).keys()))


def write_modules(run_folder: Path, named: tuple[str, ...] = ()) -> Path:
    """Write the archive for scripts that name these modules into `run_folder` unless it is there,
    and return its path.

    A named module that is not plain Python is left out. Raises `InputError` if one that all
    scripts need is not.
    """
    path, content = archive_path(run_folder, named), _archive(named)
    # jobs of an earlier session may be reading it
    if not path.exists() or path.read_bytes() != content:
        write_atomically(path, content)
    return path


def archive_path(run_folder: Path, named: tuple[str, ...]) -> Path:
    """Return the path of the archive for scripts that name these modules."""
    return run_folder / "-".join((*named, MODULES))


@cache
def _archive(named: tuple[str, ...]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in sorted(set(_imported(named).values())):
            entry = zipfile.ZipInfo(name, _STORED_AT)
            content = Path(source, name).read_bytes()
            if name == _PACKAGE:
                content = content.replace(_IMPORT_OF_SHELL, _SHELL_ON_USE)
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


@cache
def _imported(named: tuple[str, ...]) -> dict[str, tuple[str, str]]:
    """Return the files of the modules that scripts import: path below a folder, and that folder.

    A package with compiled modules is left out where Snakemake can do without.
    """
    missing: list[str] = []
    for _ in range(_ATTEMPTS):
        found = _traced(named, missing)
        compiled = [name for name, (path, _) in found.items() if not path.endswith(".py")]
        if not compiled:
            return _others_of(found) | found
        missing.append(compiled[0].partition(".")[0])
    raise InputError(f"{_UNUSABLE}: {', '.join(missing)} are not plain Python")


def _others_of(found: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Return all modules of the packages in `found` that are not Snakemake's own.

    These may import more where more is installed: tenacity has a module for tornado.
    """
    places = {(folder, name.partition(".")[0]) for name, (_, folder) in found.items()}
    others: dict[str, tuple[str, str]] = {}
    for folder, package in places:
        if not package.startswith("snakemake"):
            for file in Path(folder, package).rglob("*.py"):
                path = file.relative_to(folder)
                others[".".join(path.with_suffix("").parts)] = (str(path), folder)
    return others


def _traced(named: Iterable[str], missing: Iterable[str]) -> dict[str, tuple[str, str]]:
    empty = (InputFiles(), OutputFiles(), Params(), Wildcards(), 1, ResourceList(), Log())
    sample = pickle.dumps(Snakemake(*empty, {}, "sample", None, "."), protocol=4)
    # Snakemake's own folder comes first
    argv = [sys.executable, "-I", "-S", "-c", _TRACE, *get_snakemake_searchpaths(), ""]
    argv += [*named, "-", *missing]
    done = subprocess.run(argv, input=sample, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise InputError(f"{_UNUSABLE}: they cannot be imported alone ({last})")
    lines = (line.split("\t") for line in done.stdout.decode().splitlines())
    return {module: (path, folder) for module, folder, path in lines}


_UNUSABLE = (
    "the modules of Snakemake that Python scripts need cannot travel, as osgpilot does not support "
    "this version of Snakemake"
)
