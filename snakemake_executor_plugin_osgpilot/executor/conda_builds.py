"""Jobs of a run that make conda environments in pilots, before the rules that need them."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.counting import count_of
from ..common.redact import Redactor
from ..common.signals import handled
from ..errors import InputError
from ..jobs.state.job import Job, place
from ..model.upcoming import UpcomingWork
from ..monitoring.records import HandedOver
from ..staging import commit_outputs as commit
from ..staging.conda_build import ARCHIVE, CondaBuild
from ..staging.container_image import Image
from ..staging.failure_message import output_tail
from ..staging.job_archive import pack
from ..staging.job_identity import digest
from ..staging.preparer import Prepared
from ..staging.returned_files import IncompleteOutputError, JobFailedError

if TYPE_CHECKING:
    from ..run.assembly import Run

logger = logging.getLogger(__name__)

RULE = "conda-environment"
"""Stands for a rule in what is recorded of such jobs; no rule can have this name."""

RECEIVED = "received"
"""In the folder of such a job: the archive, once it is known to be complete."""

SAID_LINES = 40
"""Lines of a job's output that a message shows at most, the last ones."""

POLL_S = 0.2


class CondaBuilds:
    """Makes environments by jobs of `run`; `find` returns the image of a name.

    They are submitted, recovered and resumed as the jobs of rules are. Snakemake does not know
    them: whoever reports jobs to it leaves out those with `keys`.
    """

    def __init__(self, run: Run, redact: Redactor, find: Callable[[str], Image]) -> None:
        self._run, self._redact, self._find = run, redact, find
        self.keys: set[str] = set()

    def make(self, builds: Sequence[CondaBuild]) -> Iterator[tuple[str, Path]]:
        """Submit these; yield the key of each environment and its archive as the jobs end.

        Raises `InputError` for the first that fails, with what conda said. Ctrl-C and SIGTERM end
        the wait.
        """
        names = ", ".join(each.name for each in builds)
        logger.info(
            f"creating {count_of(len(builds), 'conda environment')} in pilots, once: {names}"
        )
        queue = self._run.queue
        if not queue.upcoming.to_come:
            # the pilots stay for the jobs that follow
            queue.expect(UpcomingWork(later=1))
        waiting = self._submit(builds)
        # as Ctrl-C does: Snakemake itself would only stop to hand over jobs
        with handled(signal.default_int_handler, signal.SIGTERM):
            while waiting:
                over = [key for key in waiting if queue.ended(key)]
                for key in over if over and self._run.tenure.is_certain() else ():
                    if archive := self._archive(key, waiting[key]):
                        yield waiting.pop(key).key, archive
                        self._run.intake.done(key)
                        self._run.intake.settle()
                time.sleep(POLL_S)

    def _submit(self, builds: Sequence[CondaBuild]) -> dict[str, CondaBuild]:
        run, jobs = self._run, {}
        for build in builds:
            image = self._image(build)
            payload, request = build.payload(), build.request(image)
            # in this folder are no sources of the workflow: they do not travel
            archive = pack(payload, run.folder.path / RULE, run.workdir)
            prepared, identity = Prepared(payload, request, archive), f"{RULE} {build.key}"
            key, is_known = run.intake.key_for(identity, partial(digest, prepared))
            job = Job(key, RULE, request, identity=identity)
            if not is_known:
                run.unwritten.add(job, partial(_itself, prepared))
            jobs[key] = job, build
        self.keys |= jobs.keys()
        # one file may be for several containers, and jobs of one label count as one and its retries
        run.recorder.handed_over(
            HandedOver(job, f"{build.name} ({build.key})", (build.name,))
            for job, build in jobs.values()
        )
        run.intake.reserve()
        run.intake.hand_over([job for job, _ in jobs.values()])
        run.controller.wake()
        return {key: build for key, (_, build) in jobs.items()}

    def _image(self, build: CondaBuild) -> Image:
        try:
            return self._find(build.image)
        except InputError as error:
            raise InputError(f"{_what(build)}: {error}") from error

    def _archive(self, key: str, build: CondaBuild) -> Path | None:
        """Return the archive of a job that ended, None if the job has to run again."""
        (job,), folder = self._run.queue.jobs([key]), self._run.folder.job(key)
        try:
            commit.check_ended(job)
            commit.commit(build.payload(), folder, folder / RECEIVED, job.exit_status)
        except IncompleteOutputError as error:
            commit.empty(folder)
            if self._run.queue.run_again(key, str(error)):
                return None
            raise self._failure(build, job, str(error)) from error
        except JobFailedError as error:
            raise self._failure(build, job, str(error)) from error
        return folder / RECEIVED / ARCHIVE

    def _failure(self, build: CondaBuild, job: Job, why: str) -> InputError:
        self._run.queue.mark_incomplete(job.key)
        self._run.recorder.failed(job.key, why)
        self._run.intake.settle([job.key])
        self._run.intake.give_up([job.key])
        where = place(job.allocation_id, job.node)
        tail = output_tail(self._run.folder.job(job.key), self._redact, SAID_LINES)
        said = "".join(f"\n    {line}" for line in tail.splitlines() if line.strip())
        text = f"{_what(build)}: {why} ({where})"
        return InputError(f"{text}; it said:{said}" if said else text)


def _what(build: CondaBuild) -> str:
    return f"rule {build.rule}: its conda environment {build.name} cannot be made"


def _itself(prepared: Prepared) -> Prepared:
    return prepared
