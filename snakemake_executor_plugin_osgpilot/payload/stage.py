"""Write a job's folder, from which HTCondor takes what travels.

jobs/KEY/in/...                    inputs at their relative paths, as links
jobs/KEY/in/osgpilot-job/...       scripts and lists for wrapper.sh
jobs/KEY/osgpilot-out/files/...    what came back (see `payload.commit`)
"""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path, PurePosixPath

from snakemake_executor_plugin_osgpilot.access_point.description import INPUT_FOLDER, WRAPPER
from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.payload.direct import Payload
from snakemake_executor_plugin_osgpilot.payload.sources import SOURCES

JOB_FILE = "osgpilot-job"


def install_wrapper(run_folder: Path) -> None:
    """Put wrapper.sh into the run's folder, once for all jobs."""
    target = run_folder / WRAPPER
    target.write_bytes(files(__package__).joinpath("wrapper.sh").read_bytes())
    target.chmod(0o700)


def stage(payload: Payload, job_folder: Path, run_folder: Path, workdir: Path) -> None:
    """Make `job_folder` complete. Raises `BadInput` if an input is not there."""
    entry = job_folder / INPUT_FOLDER
    entry.mkdir(parents=True)
    (entry / JOB_FILE).write_bytes(_records(payload))
    if (run_folder / SOURCES).exists():
        (entry / SOURCES).symlink_to(run_folder / SOURCES)
    for path in payload.inputs:
        _link(workdir / path, entry / path)


def _records(payload: Payload) -> bytes:
    """Return what wrapper.sh reads: lists one after the other, each with its length in front."""
    returned = (*payload.outputs, *payload.logs)
    made = (*returned, *payload.internal)
    folders = sorted({str(PurePosixPath(path).parent) for path in made} - {"."})
    lists = ((payload.shell,), folders, payload.touched, returned, payload.scripts)
    records = [text for entries in lists for text in (str(len(entries)), *entries)]
    if any("\0" in text for text in records):
        raise BadInput("the job's command or a file name contains a NUL character")
    return b"".join(os.fsencode(text) + b"\0" for text in records)


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
