"""Commit the files that a job returned to where Snakemake expects them: all or none.

The files are first moved to where HTCondor does not write (`take`). They stay there unchanged, so
that a commit can be repeated after a kill in the middle, or until Snakemake has recorded that the
job is done. The files put in place are hard links or copies, and symbolic links are made new.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from stat import S_IMODE, S_IRWXU, S_ISDIR, S_ISGID, S_ISREG, S_ISUID, S_ISVTX

from ..htcondor.submit_description import OUTPUT_FOLDER
from ..jobs.state.job import Job, JobState
from . import latency_wait as late
from .ensured_outputs import check as check_ensured
from .payload import Payload, tops
from .places import lies_in, source_of
from .returned_files import (
    TAKEN,
    IncompleteOutputError,
    JobFailedError,
    came,
    check_manifest,
    kind,
    take,
)
from .symlinks import Links, is_fit
from .usage import command_ended

KILLED = (128 + signal.SIGTERM, 128 + signal.SIGKILL)
"""Exit statuses of commands that ended with their pilot: Slurm sends SIGTERM, later SIGKILL."""

DISK_FULL = ".osgpilot-disk-full"
"""In the output folder: wrapper.sh found the node's disk full when the job failed."""

REPLACED, PLACING, EMPTIED = "replaced", "placing", "emptied"
"""Folders of a job: for files that its outputs replace, until the commit is complete; for links to
the returned files, before they are renamed into place; and for files about to be removed."""


def check_ended(job: Job) -> None:
    """Raise `JobFailedError` if a job did not end by itself."""
    if job.state is JobState.REMOVED:
        raise JobFailedError(job.text or "the job was removed from the queue")


def commit(
    payload: Payload,
    job_folder: Path,
    workdir: Path,
    exit_status: int | None,
    latency_wait_s: float = 0.0,
    benchmarks: Iterable[tuple[str, str]] = (),
) -> None:
    """Put logs and, if the job succeeded and returned all of them, outputs into `workdir`.

    The caller has waited `latency_wait_s` for outputs on a shared file system. `benchmarks` yields
    path and content of files that are written here, once the outputs are in place. Raises
    `JobFailedError` or `IncompleteOutputError` with the cause; no output is touched then. Can be
    repeated.
    """
    for left_over in (REPLACED, PLACING, EMPTIED):
        _remove(job_folder / left_over)
    back = take(job_folder)
    if exit_status != 0:
        with suppress(IncompleteOutputError, JobFailedError):
            check_manifest(back, succeeded=False)
        complaint = _bring_logs(tops(payload.logs), job_folder, workdir)
        _check_own_failure(job_folder, exit_status)
        raise JobFailedError(f"the command failed with exit status {exit_status}{complaint}")
    outputs = tops(payload.outputs)
    # logs in output folders are committed with these, logs that are links as outputs are
    logs = [log for log in tops(payload.logs) if not any(lies_in(log, each) for each in outputs)]
    listed: Mapping[str, str] = {}
    try:
        listed = check_manifest(back, succeeded=True)
    finally:
        linked = [log for log in logs if os.path.normpath(log) in listed]
        complaint = _bring_logs((log for log in logs if log not in linked), job_folder, workdir)
    made = (*outputs, *linked)
    links = Links(listed, back, workdir, made, payload.inputs, payload.shared_prefixes)
    _check(payload, links, latency_wait_s, complaint)
    try:
        _put_in_place(made, payload, links, job_folder)
        for path, text in benchmarks:
            _write(text, source_of(path, workdir), job_folder)
        for path in payload.protected:
            _protect(source_of(path, workdir))
    except OSError as error:
        raise JobFailedError(f"cannot put the outputs in place: {error}") from error


def _check(payload: Payload, links: Links, latency_wait_s: float, complaint: str) -> None:
    """Raise `JobFailedError` unless all declared outputs exist and are of the declared kind."""
    missing = [path for path in payload.outputs if path not in links and not links.came(path)]
    if missing:
        raise JobFailedError(
            f"the command succeeded but did not make {', '.join(missing)}{complaint}"
        )
    if unseen := late.missing(payload.shared):
        raise JobFailedError(
            f"the command succeeded but {', '.join(unseen)} cannot be seen here after "
            f"{latency_wait_s:.0f} s (--latency-wait){complaint}"
        )
    if complaint:
        raise JobFailedError(f"the command succeeded{complaint}")
    for path in payload.shared:
        if not is_fit(path, payload.shared_prefixes):
            raise JobFailedError(f"{path} is neither a file nor a folder in a shared folder")
    links.check()
    for path in payload.outputs:
        _check_kind(path, payload, links)


def _check_kind(path: str, payload: Payload, links: Links) -> None:
    """Raise `JobFailedError` for outputs because of which Snakemake would end the workflow."""
    found = links.leads_to(path) if path in links else links.came(path)
    if not found:
        raise JobFailedError(
            f"{path} is a link to {links.target(path)}, which is not there; "
            "declare what it leads to as an output, too, or copy it"
        )
    if found == "folder" and path not in payload.folders:
        raise JobFailedError(f"{path} is a folder; declare it as directory({path!r})")
    if found == "file" and path in payload.folders:
        raise JobFailedError(f"{path} is declared as directory() and is none")
    if found == "folder" and path in payload.protected and path in links:
        raise JobFailedError(f"{path} is a link to a folder, which protected() would write-protect")


def _put_in_place(outputs: Iterable[str], payload: Payload, links: Links, job_folder: Path) -> None:
    """Put all outputs in place, or none: then raise `OSError`, or `JobFailedError` (`ensure()`)."""
    replaced = []
    with ExitStack() as undo:
        for number, path in enumerate(outputs):
            target = source_of(path, links.workdir)
            if path not in payload.folders:
                _check_free(target)
            aside, by = _waypoints(target, job_folder, str(number))
            source = _second(links.back, path, by, links.below(path))
            if source == by:
                undo.callback(_remove, by)
            _place(source, target, aside, undo)
            replaced.append(aside)
        check_ensured(payload.ensured, links.workdir)
        undo.pop_all()
    for aside in replaced:
        _remove(aside)


def _check_free(target: Path) -> None:
    """Raise `OSError` for a folder in a file's place: it is not the job's, so it stays."""
    if kind(target, "") == "folder":
        raise IsADirectoryError(
            errno.EISDIR, "a folder is in its place, which is left as it is", str(target)
        )


def _bring_logs(logs: Iterable[str], job_folder: Path, workdir: Path) -> str:
    """Put logs in place; one that was not written becomes an empty file, as in Snakemake.

    Returns a message about those that could not be put in place, empty if there are none.
    """
    problems = ""
    for log in logs:
        found = kind(came(job_folder), log)
        try:
            _check_free(source_of(log, workdir))
            if found == "folder":
                raise IsADirectoryError(errno.EISDIR, "it is a folder", log)
            _bring_log(log, job_folder, workdir, written=bool(found))
        except OSError as error:
            problems += f"; its log {log} is not put in place: {error.strerror}"
    return problems


def _bring_log(log: str, job_folder: Path, workdir: Path, *, written: bool) -> None:
    target = source_of(log, workdir)
    _, by = _waypoints(target, job_folder, "log")
    if written:
        source = _second(came(job_folder), log, by, {})
    else:
        by.parent.mkdir(exist_ok=True)
        _remove(by)
        by.touch(exist_ok=False)
        source = by
    source.replace(target)


def _write(text: str, target: Path, job_folder: Path) -> None:
    """Write a file in one step."""
    _check_free(target)
    _, by = _waypoints(target, job_folder, "benchmark")
    by.parent.mkdir(exist_ok=True)
    _remove(by)
    by.write_text(text)
    by.replace(target)


def _waypoints(target: Path, job_folder: Path, number: str) -> tuple[Path, Path]:
    """Return a path for the file that is now at `target`, until the commit is complete, and one for
    the new file, until it is renamed to `target`.

    Both are on the disk of `target`, so that each step is a rename. That is the disk of the run's
    folder, unless a folder of outputs is a link to another disk.
    """
    if _made(target.parent).st_dev == job_folder.stat().st_dev:
        return job_folder / REPLACED / number, job_folder / PLACING / number
    run = job_folder.parents[1].name
    hidden = f"{target.parent}/.osgpilot-{run}-{job_folder.name}-{number}"
    return Path(f"{hidden}.{REPLACED}"), Path(f"{hidden}.{PLACING}")


def _made(folder: Path) -> os.stat_result:
    """Return the status of a folder, which is made unless it is there."""
    with suppress(FileNotFoundError):
        status = folder.stat()
        if S_ISDIR(status.st_mode):
            return status
    folder.mkdir(parents=True, exist_ok=True)
    return folder.stat()


def _second(back: Path, path: str, by: Path, links: Mapping[str, str]) -> Path:
    """Return `by`: hard links to the files returned at `path`, with new symbolic `links`.

    Some file systems have no hard links, or few per file: then return the path of the returned
    file itself, or, if there are `links` or on another disk, let `by` be a copy.
    """
    by.parent.mkdir(exist_ok=True)
    _remove(by)
    # else it lies beside its target, see `_waypoints`
    linked = lies_in(str(by), str(back.parent))
    try:
        _copy(back / path, by, _link if linked else _duplicate)
    except OSError:
        _remove(by)
        if not linked:
            raise
        if not links:
            return back / path
        _copy(back / path, by, _duplicate)
    for below, to in links.items():
        link = by / below if below else by
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(to)
    return by


def _link(source: Path, by: Path, mode: int) -> None:
    # a hard link would share the set-user-ID bit, which lets others run it as its owner
    if mode & _SPECIAL_BITS:
        shutil.copy2(source, by)
        by.chmod(by.stat().st_mode & 0o777)
    else:
        os.link(source, by, follow_symlinks=False)


_SPECIAL_BITS = S_ISUID | S_ISGID | S_ISVTX


def _duplicate(source: Path, by: Path, mode: int) -> None:
    shutil.copy2(source, by)


def _copy(source: Path, by: Path, copy: Callable[[Path, Path, int], object]) -> None:
    """Copy the file or folder `source` to `by`, if it exists; follow no link. `copy` gets the mode
    of a file, too.
    """
    try:
        mode = source.lstat().st_mode
    except OSError:
        return
    if S_ISREG(mode):
        copy(source, by, mode)
        return
    if not S_ISDIR(mode):
        return
    by.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            _copy(Path(entry.path), by / entry.name, copy)
    # nothing can be renamed in a folder without write permission
    by.chmod(S_IMODE(mode) & 0o777 | S_IRWXU)


def _remove(path: Path) -> None:
    """Remove what an earlier attempt left at `path`; what cannot be removed stays."""
    try:
        os.unlink(path)  # noqa: PTH108 - most often there is nothing
    except FileNotFoundError:
        return
    except OSError:
        if path.is_dir() and not path.is_symlink():
            discard(path)


def discard(folder: Path) -> None:
    """Remove a folder; what could not be removed stays for the next clean-up."""
    with suppress(RecursionError):
        shutil.rmtree(folder, ignore_errors=True)
    if kind(folder, "") == "folder":
        _remove_stubborn(folder)


def _remove_stubborn(folder: Path) -> None:
    """Remove folders without write permission (mode 0555), or nested so deep that `shutil.rmtree`
    gives up.
    """
    ahead, folders = [folder], []
    while ahead:
        folders.append(ahead.pop())
        with suppress(OSError):
            folders[-1].chmod(S_IRWXU)
            for path in folders[-1].iterdir():
                if path.is_dir() and not path.is_symlink():
                    ahead.append(path)
                else:
                    path.unlink()
    for each in reversed(folders):
        with suppress(OSError):
            each.rmdir()


def empty(job_folder: Path) -> None:
    """Remove the returned files before the job runs again.

    A kill in the middle leaves all of them or none: a part of them could look like a result.
    """
    emptied = job_folder / EMPTIED
    for back in (job_folder / TAKEN, job_folder / OUTPUT_FOLDER):
        _remove(emptied)
        try:
            back.rename(emptied)
        except FileNotFoundError:
            continue
        except OSError:
            _remove(back)
    _remove(emptied)


def _check_own_failure(job_folder: Path, exit_status: int | None) -> None:
    """Raise `IncompleteOutputError` if the node's disk was full, if the job was killed before
    wrapper.sh saw its command end, or if its files are gone: removed for the next attempt.

    When a pilot is killed, HTCondor may live long enough to report its jobs as ended.
    """
    if kind(came(job_folder), "") != "folder":
        raise IncompleteOutputError("its outputs did not come back")
    if os.path.lexists(came(job_folder) / DISK_FULL):
        raise IncompleteOutputError("the job failed because the node's disk was full")
    if exit_status in KILLED and not command_ended(job_folder):
        raise IncompleteOutputError(f"the job was killed from outside (exit status {exit_status})")


def _protect(path: Path) -> None:
    """Remove write permission, as Snakemake does for `protected()`; in folders from all files."""
    if path.is_symlink():
        return
    inside = list(path.rglob("*")) if path.is_dir() else []
    for each in (*inside, path):
        if not each.is_symlink():
            each.chmod(each.stat().st_mode & ~0o222)


def _place(source: Path, target: Path, aside: Path, undo: ExitStack) -> None:
    """Rename `source` to `target`, an existing `target` to `aside`; `undo` reverts both steps.

    All are on one disk (see `_waypoints`), so each step is atomic.
    """
    if os.path.lexists(target):
        aside.parent.mkdir(exist_ok=True)
        _remove(aside)
        mode = target.lstat().st_mode
        if S_ISDIR(mode):
            # one that was write-protected before a kill could not be renamed
            target.chmod(S_IMODE(mode) | S_IRWXU)
            undo.callback(target.chmod, S_IMODE(mode))
        target.rename(aside)
        undo.callback(aside.rename, target)
    source.rename(target)
    undo.callback(target.rename, source)
