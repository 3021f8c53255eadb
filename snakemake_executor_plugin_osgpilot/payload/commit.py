"""Put what a job brought back to where Snakemake wants it: all of it, or nothing.

What came stays in the job's folder as well, so that it can be done again after a kill in the
middle, or before Snakemake noted that the job is done.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.description import OUTPUT_FOLDER
from snakemake_executor_plugin_osgpilot.core.jobs import Job, JobState
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError
from snakemake_executor_plugin_osgpilot.payload import late
from snakemake_executor_plugin_osgpilot.payload.links import leads_somewhere, restore
from snakemake_executor_plugin_osgpilot.payload.model import Payload
from snakemake_executor_plugin_osgpilot.payload.spent import TIMES

KILLED = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
"""Exit statuses of what ended with its pilot: Slurm sends the one signal, later the other."""

MANIFEST = ".osgpilot-manifest"
"""In the output folder: NUL-ended records, the size and the path of every file, then `end`."""

DISK_FULL = ".osgpilot-disk-full"
"""In the output folder: wrapper.sh saw no room on the node's disk when the job failed."""

REPLACED, PLACING = "replaced", "placing"
"""Folders of a job: for what lay where its outputs go, until they are there, and for second links
to what came, on their way there."""


class JobFailed(OsgpilotError):
    """The job did not do what its rule declares; the text says why."""


class Incomplete(OsgpilotError):
    """The job was cut short or what it made did not come back whole; it may be run again."""


def check_ended(job: Job) -> None:
    """Raise `JobFailed` if a job did not end by itself."""
    if job.state is JobState.REMOVED:
        raise JobFailed(job.text or "the job was removed from the queue")


def commit(
    payload: Payload,
    job_folder: Path,
    workdir: Path,
    exit_status: int | None,
    latency_wait_s: float = 0.0,
) -> None:
    """Bring logs and, if the job succeeded and all are there, outputs into `workdir`.

    Outputs on a shared file system were waited for, for `latency_wait_s`. Raises `JobFailed` or
    `Incomplete` with the cause, `Refused` for links that are none of its outputs; no output is
    touched then. Can be done more than once.
    """
    back = job_folder / OUTPUT_FOLDER
    for left_over in (REPLACED, PLACING):
        shutil.rmtree(job_folder / left_over, ignore_errors=True)
    try:
        if exit_status == 0:
            _check_whole(back)
        # only now: a job that runs again must not write through a link of its first run
        links = restore(back, workdir)
    finally:
        for log in payload.logs:
            _bring_log(back / log, workdir / log, job_folder)
    if exit_status != 0:
        _check_own_failure(back, exit_status)
        raise JobFailed(f"the command failed with exit status {exit_status}")
    missing = [path for path in payload.outputs if not os.path.lexists(back / path)]
    if missing:
        raise JobFailed(f"the command succeeded but did not make {', '.join(missing)}")
    if unseen := late.missing(payload.shared):
        raise JobFailed(
            f"the command succeeded but {', '.join(unseen)} cannot be seen here after "
            f"{latency_wait_s:.0f} s (--latency-wait)"
        )
    _check_kinds(payload, back, workdir, links)
    try:
        _put_in_place(payload.outputs, job_folder, workdir)
        for path in payload.protected:
            _protect(workdir / path)
    except OSError as error:
        raise JobFailed(f"cannot put the outputs in place: {error}") from error


def _put_in_place(outputs: Iterable[str], job_folder: Path, workdir: Path) -> None:
    """Put all outputs where they belong, or none. Raises `OSError`."""
    replaced = []
    with ExitStack() as undo:
        for number, path in enumerate(outputs):
            came = job_folder / OUTPUT_FOLDER / path
            aside, by = _waypoints(workdir / path, job_folder, str(number))
            source = _second(came, by)
            if source == by:
                undo.callback(_remove, by)
            _place(source, workdir / path, aside, undo)
            replaced.append(aside)
        undo.pop_all()
    for aside in replaced:
        _remove(aside)


def _bring_log(came: Path, log: Path, job_folder: Path) -> None:
    """Put a log in place; one that was not written is empty, as Snakemake has it."""
    if not os.path.lexists(came):
        came.parent.mkdir(parents=True, exist_ok=True)
        came.touch()
    _, by = _waypoints(log, job_folder, "log")
    if log.is_dir() and not log.is_symlink():
        shutil.rmtree(log)
    _second(came, by).replace(log)


def _waypoints(target: Path, job_folder: Path, number: str) -> tuple[Path, Path]:
    """Return where what lies at `target` goes until all is in place, and where what came is before.

    Both are on the disk of `target`, so that each step there is a rename. That is the disk of the
    run's folder, unless a folder of outputs is a link to another one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if _same_disk(target.parent, job_folder):
        return job_folder / REPLACED / number, job_folder / PLACING / number
    run = job_folder.parents[1].name
    hidden = f"{target.parent}/.osgpilot-{run}-{job_folder.name}-{number}"
    return Path(f"{hidden}.{REPLACED}"), Path(f"{hidden}.{PLACING}")


def _same_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev


def _second(came: Path, by: Path) -> Path:
    """Return `by`, a second set of links to the files at `came`; `came` itself where that fails.

    Some file systems have no hard links, or few to one file. On another disk `by` is a copy.
    """
    by.parent.mkdir(exist_ok=True)
    linked = _same_disk(came.parent, by.parent)
    copy: Callable[..., object] = os.link if linked else shutil.copy2
    _remove(by)
    try:
        if came.is_dir() and not came.is_symlink():
            shutil.copytree(came, by, symlinks=True, copy_function=copy)
        else:
            copy(came, by, follow_symlinks=False)
    except OSError:
        _remove(by)
        if not linked:
            raise
        return came
    return by


def _remove(path: Path) -> None:
    """Remove what is left there by an attempt before, if anything; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _check_kinds(payload: Payload, back: Path, workdir: Path, links: Mapping[str, str]) -> None:
    """Raise `JobFailed` for what Snakemake would end the whole workflow for."""
    for path in payload.outputs:
        came = back / path
        if path in links:
            if not leads_somewhere(path, back, workdir):
                raise JobFailed(
                    f"{path} is a link to {links[path]}, which is not there; "
                    "declare what it leads to as an output, too, or copy it"
                )
        elif came.is_dir() and path not in payload.folders:
            raise JobFailed(f"{path} is a folder; declare it as directory({path!r})")
        elif not came.is_dir() and path in payload.folders:
            raise JobFailed(f"{path} is declared as directory() and is none")


def discard(job_folder: Path) -> None:
    """Remove a job's folder; what could not be removed stays for the next clean-up."""
    shutil.rmtree(job_folder, ignore_errors=True)


def _check_own_failure(back: Path, exit_status: int | None) -> None:
    """Raise `Incomplete` for a job that met a full disk on its node, or that was killed before
    wrapper.sh has seen its command's end.

    Where a pilot is killed, HTCondor may live long enough to report its jobs as ended.
    """
    if (back / DISK_FULL).exists():
        raise Incomplete("the job failed for want of room on the node's disk")
    if exit_status in KILLED and not (back / TIMES).exists():
        raise Incomplete(f"the job was killed from outside (exit status {exit_status})")


def _check_whole(back: Path) -> None:
    """Compare what came back with what wrapper.sh listed.

    A file that is not in the list is left over from an attempt whose transfer was cut off, and is
    deleted.
    """
    listed = _manifest(back)
    here: dict[str, Path] = {}
    for folder, _, names in os.walk(back):
        for name in names:
            path = Path(folder, name)
            here[os.path.relpath(path, back)] = path
    here.pop(MANIFEST, None)
    for name, size in listed.items():
        file = here.pop(name, None)
        came = file.stat().st_size if file and file.exists() else None
        if came != size:
            raise Incomplete(f"{name} did not come back whole ({came or 0} of {size} bytes)")
    for left_over in here.values():
        if left_over.is_file() and not left_over.is_symlink():
            left_over.unlink()


def _manifest(back: Path) -> dict[str, int]:
    try:
        records = (back / MANIFEST).read_bytes().split(b"\0")
    except OSError as error:
        raise Incomplete(f"the list of its outputs did not come back: {error.strerror}") from error
    if records[-2:] != [b"end", b""]:
        raise Incomplete("the list of its outputs did not come back whole")
    pairs = zip(records[0:-2:2], records[1:-2:2], strict=True)
    return {os.fsdecode(name): int(size) for size, name in pairs}


def _protect(path: Path) -> None:
    """Take away write permission, as Snakemake does for `protected()`; in folders for all files."""
    inside = list(path.rglob("*")) if path.is_dir() else []
    for each in (*inside, path):
        if not each.is_symlink():
            each.chmod(each.stat().st_mode & ~0o222)


def _place(source: Path, target: Path, aside: Path, undo: ExitStack) -> None:
    """Rename `source` to `target`, what is there to `aside`; `undo` takes both steps back.

    All are on one disk (see `_waypoints`), so each step is atomic.
    """
    if os.path.lexists(target):
        aside.parent.mkdir(exist_ok=True)
        _remove(aside)
        target.rename(aside)
        undo.callback(aside.rename, target)
    source.rename(target)
    undo.callback(target.rename, source)
