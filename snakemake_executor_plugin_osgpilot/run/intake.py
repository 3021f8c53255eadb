"""Assign keys to jobs and pass them to the queue: new ones and those of a previous session."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock

from ..common.counting import count_of
from ..errors import OsgpilotError
from ..htcondor.submit_description import INPUT_FOLDER, JOB_FILE
from ..jobs.manager import JobManager
from ..jobs.state.job import Job
from ..jobs.state.recovery import Adopt, Leftover, Replace, decide
from ..journal.run_folder import RunFolder
from ..journal.store import Journal
from ..staging.commit_outputs import discard
from .ports import JobRecorder

logger = logging.getLogger(__name__)


@dataclass
class Intake:
    """Assigns keys to jobs and passes them to the queue; used by Snakemake's threads.

    `left` has the jobs of the previous session. `recorder` records the ends of jobs before the
    journal does: after that, no session follows them.
    """

    queue: JobManager
    journal: Journal
    folder: RunFolder
    left: Leftover = field(default_factory=Leftover)
    count: int = 0
    recorder: JobRecorder | None = None
    _taken: set[str] = field(default_factory=set)
    _again: Counter[str] = field(default_factory=Counter)
    _done: deque[str] = field(default_factory=deque)
    _unsettled: list[str] = field(default_factory=list)
    _trouble: str = ""
    _settling: Lock = field(default_factory=Lock)
    _instead: dict[str, str] = field(default_factory=dict)
    _adopted: set[str] = field(default_factory=set)

    def key_for(self, identity: str, digest: Callable[[], str]) -> tuple[str, bool]:
        """Return the key of a job, and True if it was submitted by an earlier session.

        `digest` is called for a job that an earlier session left.
        """
        # only once: a job that is handed over a second time is a retry
        is_first = identity not in self._taken
        self._taken.add(identity)
        entry = self.left.entries.get(identity) if is_first else None
        gone = self.left.gone.get(identity, "") if is_first else ""
        complete = (
            entry is not None and (self.folder.job(entry.key) / INPUT_FOLDER / JOB_FILE).exists()
        )
        ended = entry is not None and self.queue.ended(entry.key)
        content = digest() if entry else ""
        verdict = decide(entry, content, complete=complete, ended=ended, gone=gone)
        if isinstance(verdict, Adopt):
            self._adopted.add(verdict.key)
            return verdict.key, True
        self.count += 1
        key = f"{self.count:06}"
        if isinstance(verdict, Replace):
            self._instead[key] = verdict.key
        if verdict.why:
            self._again[verdict.why] += 1
            if self.recorder:
                self.recorder.again(key, verdict.why)
        return key, False

    def reserve(self) -> None:
        """Record the keys given so far, so that no later session gives them to other jobs.

        Of a job that is not written yet, only the history has the key.
        """
        self.journal.reserve(self.count)

    def hand_over(self, jobs: Iterable[Job]) -> int:
        """Pass jobs to the queue; return how many of them were there already."""
        new, instead, known = [], [], []
        for job in jobs:
            if job.key in self._adopted:
                known.append(job)
            elif old_key := self._instead.pop(job.key, ""):
                instead.append((job, old_key))
            else:
                new.append(job)
        self._adopted.clear()
        for why, number in self._again.items():
            logger.info(f"resubmitting {count_of(number, 'job')} of the previous session: {why}")
        self._again.clear()
        self.queue.claim(known, instead)
        self.queue.add(new)
        return len(known)

    def done(self, key: str) -> None:
        """Note that Snakemake itself has recorded a job as done."""
        self._done.append(key)

    def give_up(self, failed: Iterable[str]) -> None:
        """Record that these jobs failed and are not retried."""
        self.queue.gave_up(failed)

    def settle(self, failed: Iterable[str] = ()) -> None:
        """Record that jobs are done or failed; then remove the folders of those done.

        Of failed jobs, only the job file is removed, which has the values of `envvars:`. Call it
        before Snakemake learns of a failure: what it hands over again is a retry. What cannot be
        written is retried with the next call.
        """
        # at the end, the main thread takes over from the status thread
        with self._settling:
            self._settle(failed)

    def _settle(self, failed: Iterable[str]) -> None:
        for key in failed:
            self._unsettled.append(key)
            with suppress(OSError):
                (self.folder.job(key) / INPUT_FOLDER / JOB_FILE).unlink()
        done = list(self._done)
        if not (done or self._unsettled):
            return
        ended = self.queue.jobs([*self._unsettled, *done])
        if self.recorder:
            self.recorder.ended(ended)
        try:
            self.journal.settled(ended)
        except OsgpilotError as error:
            # after a kill, these jobs would be checked once more
            if str(error) != self._trouble:
                logger.warning(str(error))
            self._trouble = str(error)
            return
        self._trouble = ""
        self._unsettled.clear()
        for key in done:
            self._done.popleft()
            discard(self.folder.job(key))
