"""Write a job's folder, from which HTCondor takes what travels.

jobs/KEY/in/...                    inputs at their relative paths, as links
jobs/KEY/in/osgpilot-job/...       scripts and lists for wrapper.sh
jobs/KEY/osgpilot-out/files/...    what came back (see `payload.commit`)
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path, PurePosixPath

from snakemake_executor_plugin_osgpilot.access_point.description import INPUT_FOLDER, WRAPPER
from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.payload.direct import Payload

JOB_FILES = "osgpilot-job"
SOURCES = "sources.tar"


def install_wrapper(run_folder: Path) -> None:
    """Put wrapper.sh into the run's folder, once for all jobs."""
    target = run_folder / WRAPPER
    target.write_bytes(files(__package__).joinpath("wrapper.sh").read_bytes())
    target.chmod(0o700)


def bundle_sources(run_folder: Path, sources: Iterable[str], workdir: Path) -> None:
    """Pack the workflow's source files below `workdir` into one archive for all jobs."""
    with tarfile.open(run_folder / SOURCES, "w") as archive:
        for name in sorted(set(sources)):
            path = Path(os.path.normpath(workdir / name))
            if path.is_relative_to(workdir) and path.is_file():
                archive.add(path, arcname=str(path.relative_to(workdir)))


def stage(payload: Payload, job_folder: Path, run_folder: Path, workdir: Path) -> None:
    """Make `job_folder` complete. Raises `BadInput` if an input is not there."""
    entry = job_folder / INPUT_FOLDER
    own = entry / JOB_FILES
    own.mkdir(parents=True)
    for number, script in enumerate(payload.scripts):
        (own / f"script-{number:05}").write_text(script, encoding="utf-8", errors="surrogateescape")
    (own / "shell").write_text(payload.shell + "\n", encoding="utf-8")
    returned = (*payload.outputs, *payload.logs)
    folders = {str(PurePosixPath(path).parent) for path in returned} - {"."}
    _write_list(own / "folders", sorted(folders))
    _write_list(own / "returned", returned)
    _write_list(own / "touched", payload.touched)
    if (run_folder / SOURCES).exists():
        (own / SOURCES).symlink_to(run_folder / SOURCES)
    for path in payload.inputs:
        _link(workdir / path, entry / path)


def _write_list(path: Path, names: Iterable[str]) -> None:
    path.write_bytes(b"".join(os.fsencode(name) + b"\0" for name in names))


def _link(source: Path, target: Path) -> None:
    """Link `source` at `target`; HTCondor follows links to files, so folders are made anew."""
    if not source.exists():
        raise BadInput(f"the input {source} is not there")
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        for child in source.iterdir():
            _link(child, target / child.name)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_symlink():
        target.symlink_to(source)
