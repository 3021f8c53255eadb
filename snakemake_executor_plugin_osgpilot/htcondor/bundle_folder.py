"""The folder of a bundle, from which HTCondor takes its jobs, and to which their results return.

    jobs/bundle-KEY/osgpilot-in/osgpilot-job   bundle.sh and the files of the jobs, in one file
    jobs/bundle-KEY/osgpilot-in/KEY/...        larger inputs of a job, as links
    jobs/bundle-KEY/osgpilot-out/KEY/...       output and exit status of a job
    jobs/bundle-KEY/osgpilot-out/returned/KEY  what it returned

It has the key of its first job. The results are moved to the folders of the jobs; HTCondor never
writes there for a bundle.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from stat import S_ISDIR, S_ISREG

from ..common import private_files as private
from ..jobs.state.bundles import MemberEnd
from .submit_description import BUNDLE, INPUT_FOLDER, JOB_FILE, JOB_OUTPUT, OUTPUT_FOLDER

STATUS = "bundle-status"
"""In a job's folder: exit status, and when bundle and job began and the job ended, in seconds."""

TMP = b"osgpilot-tmp"

_NUMBER = r"([0-9]{1,12}(?:[.,][0-9]{1,9})?)"
_STATUS = re.compile(rf"([0-9]{{1,3}}) {_NUMBER} {_NUMBER} {_NUMBER}\n")
_MAX_BYTES = 200


class BundleFolders:
    """The folders of the bundles of a run; `job` returns the folder of a job by its key."""

    def __init__(self, run_folder: Path, job: Callable[[str], Path]) -> None:
        self._run_folder, self._job = run_folder, job

    def _folder(self, keys: Sequence[str]) -> Path:
        return self._run_folder / "jobs" / f"{BUNDLE}{keys[0]}"

    def write(self, keys: Sequence[str], limit_s: float) -> None:
        """Create the folder of a bundle that starts no further job after `limit_s`."""
        # of a submission that the access point did not get
        self.discard(keys)
        entry = self._folder(keys) / INPUT_FOLDER
        entry.mkdir(private.FOLDER_MODE, parents=True)
        contents = [(self._job(key) / INPUT_FOLDER / JOB_FILE).read_bytes() for key in keys]
        folders = [f for pair in zip(keys, contents, strict=True) for f in _folders(*pair)]
        with open(entry / JOB_FILE, "xb", opener=private.opener) as file:
            file.write(_script() + _terminated(f"{limit_s:.0f}", str(len(keys)), *keys))
            file.write(_terminated(str(len(folders))) + b"".join(f + b"\0" for f in folders))
            before = b""
            for key, content in zip(keys, contents, strict=True):
                script, _, others = content.partition(b"\0")
                file.write(_terminated(str(content.count(b"\0"))))
                file.write((b"" if script == before else script) + b"\0" + others)
                _link_inputs(self._job(key) / INPUT_FOLDER, entry / key)
                before = script

    def make(self, keys: Sequence[str]) -> None:
        """Create the folder of a bundle, unless it is there, for what comes back."""
        self._folder(keys).mkdir(private.FOLDER_MODE, exist_ok=True)

    def discard(self, keys: Sequence[str]) -> None:
        """Remove the folder of a bundle that is of no use."""
        shutil.rmtree(self._folder(keys), ignore_errors=True)

    def take(self, keys: Sequence[str]) -> list[MemberEnd | None]:
        """Move what came back to the folders of the jobs, and return their ends; None for those
        that did not end. It can be repeated.
        """
        back = self._folder(keys) / OUTPUT_FOLDER
        ends = [self._take(back, key) for key in keys]
        self.discard(keys)
        return ends

    def _take(self, back: Path, key: str) -> MemberEnd | None:
        """Move the results of one job; its status comes last, as it says that they are there."""
        job_folder, status = self._job(key), back / key / "status"
        with suppress(OSError):
            if (end := parse(status)) is not None:
                for source, target, is_right in (
                    # bundles of an older version return their files there
                    (back / key / "returned", OUTPUT_FOLDER, S_ISDIR),
                    (back / "returned" / key, OUTPUT_FOLDER, S_ISDIR),
                    (back / key / "output", JOB_OUTPUT, S_ISREG),
                ):
                    with suppress(FileNotFoundError):
                        if is_right(source.lstat().st_mode):
                            source.rename(job_folder / target)
                status.rename(job_folder / STATUS)
                return end
        return parse(job_folder / STATUS)


def parse(path: Path) -> MemberEnd | None:
    """Return the end that a status file has; None if it is not there, or is no such file."""
    try:
        if not S_ISREG(path.lstat().st_mode):
            return None
        with path.open("rb") as file:
            found = _STATUS.fullmatch(file.read(_MAX_BYTES).decode("ascii", errors="replace"))
    except OSError:
        return None
    if found is None:
        return None
    begun_s, began_s, ended_s = (float(text.replace(",", ".")) for text in found.groups()[1:])
    return MemberEnd(int(found[1]), max(0.0, began_s - begun_s), max(0.0, ended_s - begun_s))


@cache
def _script() -> bytes:
    return files(__package__).joinpath("bundle.sh").read_bytes() + b"\0"


def _terminated(*records: str) -> bytes:
    return "".join(f"{text}\0" for text in records).encode()


def _folders(key: str, content: bytes) -> list[bytes]:
    """Return the folders that the wrapper would make for a job, the third list in its file: one
    program makes those of all jobs.
    """
    records = content.split(b"\0")
    at = 1
    for _ in range(2):
        at += 1 + int(records[at])
    found = (TMP, *records[at + 1 : at + 1 + int(records[at])])
    # some wrappers start elsewhere
    return [key.encode() + b"/" + folder for folder in found if b".." not in folder.split(b"/")]


def _link_inputs(source: Path, target: Path) -> None:
    """Link the inputs of a job beside its file; folders are made, see `job_archive`."""
    with os.scandir(source) as entries:
        others: Iterable[os.DirEntry[str]] = [each for each in entries if each.name != JOB_FILE]
    for entry in others:
        target.mkdir(private.FOLDER_MODE, exist_ok=True)
        place = target / entry.name
        if entry.is_dir(follow_symlinks=False):
            place.mkdir(private.FOLDER_MODE)
            _link_inputs(Path(entry.path), place)
        else:
            place.symlink_to(Path(entry.path).readlink() if entry.is_symlink() else entry.path)
