"""Pack the modules of Snakemake that its Python scripts import, for images without Snakemake."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import zipfile
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

from ..common import private_files as private
from ..errors import InputError

MODULES = "osgpilot-snakemake.zip"
"""Name of the archive in the run's folder, and where the job runs; Python imports from it."""

_TRACE = """\
import pickle, sys
given = sys.argv[1:]
sys.path.extend(given)
snakemake = pickle.loads(sys.stdin.buffer.read())
from snakemake.logging import logger
from snakemake.iocontainers import Snakemake
from snakemake.shell import shell
snakemake.params, snakemake.log_fmt_shell(), snakemake.report_href("x"), shell(":")
for module in list(sys.modules.values()):
    file = getattr(module, "__file__", None) or ""
    for folder in given:
        if file.startswith(folder + "/"):
            print(folder, file[len(folder) + 1:], sep="\\t")
            break
"""
"""Does what scripts and wrappers do, in a Python that has its standard library alone (-I -S), and
prints the files that it has imported."""

_STORED_AT = (1980, 1, 1, 0, 0, 0)
"""Time of each file, so that the archive is the same in every session."""


def write_modules(run_folder: Path) -> Path:
    """Write the archive into `run_folder` unless it is there, and return its path.

    Raises `InputError` if Snakemake needs a module that is not plain Python.
    """
    path, content = run_folder / MODULES, _archive()
    # jobs of an earlier session may be reading it
    if not path.exists() or path.read_bytes() != content:
        part = path.with_suffix(".part")
        with open(part, "wb", opener=private.opener) as file:
            file.write(content)
        part.replace(path)
    return path


@cache
def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, source in sorted(_imported().items()):
            entry = zipfile.ZipInfo(name, _STORED_AT)
            archive.writestr(entry, source.read_bytes(), zipfile.ZIP_DEFLATED, 9)
    return buffer.getvalue()


def _imported() -> dict[str, Path]:
    """Return the imported files of Snakemake, by path below the folder that was searched."""
    empty = (InputFiles(), OutputFiles(), Params(), Wildcards(), 1, ResourceList(), Log())
    sample = pickle.dumps(Snakemake(*empty, {}, "sample", None, "."), protocol=4)
    # Snakemake's own folder comes first; the standard library is there already
    searched = [path for path in get_snakemake_searchpaths() if path not in _standard_library()]
    argv = [sys.executable, "-I", "-S", "-c", _TRACE, *searched]
    done = subprocess.run(argv, input=sample, capture_output=True, check=False)
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise InputError(f"{_UNUSABLE}: they cannot be imported alone ({last})")
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    found = {name: Path(folder, name) for folder, name in lines}
    if compiled := [name for name in found if not name.endswith(".py")]:
        raise InputError(f"{_UNUSABLE}: {compiled[0]} is not plain Python")
    return found


_UNUSABLE = (
    "the modules of Snakemake that Python scripts need cannot travel (osgpilot_payload=snakemake "
    "and an image that has Snakemake make do without)"
)


@cache
def _standard_library() -> frozenset[str]:
    argv = [sys.executable, "-I", "-S", "-c", "import sys; print(*sys.path, sep='\\n')"]
    return frozenset(subprocess.run(argv, capture_output=True, text=True).stdout.splitlines())
