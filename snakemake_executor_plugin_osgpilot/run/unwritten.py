"""The folders of jobs: written when the queue takes a job, and cleared before it is resubmitted."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import NotRecordedError, OutcomeUnknownError
from ..htcondor.bundle_folder import STATUS
from ..htcondor.submit_description import JOB_OUTPUT
from ..jobs.state.job import Job
from ..journal.run_folder import RunFolder
from ..journal.store import Journal
from ..staging.commit_outputs import discard, empty
from ..staging.job_identity import digest
from ..staging.preparer import Prepared

_OF_THE_JOB = (errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EILSEQ)
"""Errors of a file that belong to its name; others belong to the disk, and may pass."""


class _Unwritten(NamedTuple):
    job: Job
    pack: Callable[[], Prepared]


@dataclass
class UnwrittenJobs:
    """Jobs that were handed over; Snakemake's thread adds them, the controller's writes them.
    Implements `jobs.access_point.JobFolders`.

    With more jobs than the queue takes, folders and rows of the journal exist only for those in
    the queue. After a kill, Snakemake hands the others over again.
    """

    folder: RunFolder
    journal: Journal
    _jobs: dict[str, _Unwritten] = field(default_factory=dict)

    def add(self, job: Job, pack: Callable[[], Prepared]) -> None:
        """Register a new job; `pack` is called when it is about to be submitted."""
        self._jobs[job.key] = _Unwritten(job, pack)

    def write(self, keys: Iterable[str]) -> dict[str, str]:
        """Write the folders of those of these jobs that have none, and note them for the journal.

        Return why others cannot run, by key. Raises `OutcomeUnknownError`, as when the disk is
        full, and `RunTakenOverError`; the next call continues.
        """
        problems = {}
        new = [key for key in keys if key in self._jobs]
        if new:
            # a later session of the run may have folders with these keys
            self.journal.check_held()
        for key in new:
            try:
                self._write(*self._jobs[key])
            except OutcomeUnknownError:
                discard(self.folder.job(key))
                raise
            except Exception as error:
                # any error fails this job, and not the whole workflow
                discard(self.folder.job(key))
                problems[key] = str(error)
            else:
                del self._jobs[key]
        for key in problems:
            del self._jobs[key]
        return problems

    def clear(self, keys: Iterable[str]) -> None:
        """Remove the outputs of earlier attempts before jobs are resubmitted."""
        for key in keys:
            empty(self.folder.job(key))
            for name in (JOB_OUTPUT, STATUS):
                with suppress(OSError):
                    (self.folder.job(key) / name).unlink()

    def _write(self, job: Job, pack: Callable[[], Prepared]) -> None:
        prepared = pack()
        try:
            prepared.archive.write(self.folder.job(job.key))
        except OSError as error:
            if error.errno in _OF_THE_JOB:
                raise
            raise NotRecordedError(
                f"the folder of a job cannot be written: {error.strerror}"
            ) from error
        self.journal.note(job, job.identity, digest(prepared))
