"""Jobs whose folders are not written yet: that waits until the queue takes them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ..errors import NotRecordedError
from ..jobs.state.job import Job
from ..journal.run_folder import RunFolder
from ..journal.store import Journal
from ..staging.commit_outputs import discard
from ..staging.job_identity import digest
from ..staging.preparer import Prepared

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class _Unwritten(NamedTuple):
    job: Job
    pack: Callable[[], Prepared]


@dataclass
class UnwrittenJobs:
    """Jobs that were handed over; Snakemake's thread adds them, the controller's writes them.

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
            except Exception as error:
                discard(self.folder.job(key))
                if isinstance(error, OSError) and error.errno in _NO_SPACE:
                    raise NotRecordedError(
                        f"the folder of a job cannot be written: {error.strerror}"
                    ) from error
                # any error fails this job, and not the whole workflow
                problems[key] = str(error)
            del self._jobs[key]
        return problems

    def _write(self, job: Job, pack: Callable[[], Prepared]) -> None:
        prepared = pack()
        prepared.parcel.write(self.folder.job(job.key))
        self.journal.note(job, job.identity, digest(prepared))
