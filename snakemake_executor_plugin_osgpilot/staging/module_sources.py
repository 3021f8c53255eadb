"""Find the workflow's own Python modules, which travel as sources."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from ..common.snakemake_types import Workflow
from .transfer_policy import is_below

FROM_ELSEWHERE = "osgpilot-modules"
"""Folder, where the job runs, with modules of this machine that lie outside the working folder."""


def own_folders(workflow: Workflow) -> list[str]:
    """Return the folders of this process's `sys.path` that belong to the workflow.

    These lie below the working folder, or below the folder of a Snakefile.
    """
    own = [str(Path.cwd()), *_folders_of_snakefiles(workflow)]
    found = dict.fromkeys(Path(entry).absolute() for entry in sys.path if entry)
    # Snakemake has a folder of its own there
    folders = (str(folder) for folder in found if ".snakemake" not in folder.parts)
    return [f for f in folders if is_below(f, own) and not is_below(f, installed_folders())]


def _folders_of_snakefiles(workflow: Workflow) -> Iterator[str]:
    for snakefile in workflow.included:
        located = hasattr(snakefile, "get_path_or_uri")
        path = snakefile.get_path_or_uri(secret_free=True) if located else snakefile
        folder = Path(str(path)).parent
        if folder.is_absolute():
            # in the standard layout, modules may lie beside the folder `workflow`
            yield str(folder.parent if folder.name == "workflow" else folder)


@cache
def installed_folders() -> tuple[str, ...]:
    """Return the folders of installed modules: these are known by name where the job runs."""
    paths = sysconfig.get_paths()
    standard = (paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
    sites = (entry for entry in sys.path if entry.endswith("-packages"))
    return tuple(dict.fromkeys((sys.prefix, *standard, *sites)))


def places(folders: Sequence[str], workdir: Path) -> dict[str, str]:
    """Return where each folder is below the folder in which a job runs."""
    inside = {f: str(Path(f).relative_to(workdir)) for f in folders if is_below(f, [str(workdir)])}
    outside = (folder for folder in folders if folder not in inside)
    return inside | {folder: f"{FROM_ELSEWHERE}/{n}" for n, folder in enumerate(outside)}


def module_files(folders: Sequence[str], workdir: Path) -> dict[str, Path]:
    """Return the Python files in `folders`, by their path where the job runs.

    Of the working folder itself these are modules and packages, as data lies there, too.
    """
    found = {}
    for folder, place in places(folders, workdir).items():
        top = Path(folder)
        if top == workdir:
            tops = [path.parent for path in top.glob("*/__init__.py")]
            files = [*top.glob("*.py"), *(file for each in tops for file in each.rglob("*.py"))]
        else:
            files = list(top.rglob("*.py"))
        for file in files:
            below = file.relative_to(top)
            if file.is_file() and not any(part.startswith(".") for part in below.parts):
                found[str(Path(place) / below)] = file
    return found
