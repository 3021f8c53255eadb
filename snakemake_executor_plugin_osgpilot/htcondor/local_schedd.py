"""An access point whose schedd runs on this machine."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

from ..errors import MissingPrerequisiteError, OsgpilotError, QueueFullError, RejectedError
from ..jobs.access_point import Submission
from ..jobs.state.events import Event
from ..journal.run_folder import JOB_LOG
from ..model.identity import RunIdentity
from .event_log import EventLog
from .schedd_queue import COMMON_IMAGES_SINCE, PING_S, CondorQueue, version

INPUTS = "inputs"
"""Name of the job through which the jobs of a run share inputs."""


class LocalAccessPoint(CondorQueue):
    """Jobs of one run, in the local schedd's queue, followed by the run's event log."""

    complete_until_s = math.inf
    signs = True
    can_bundle = True

    def __init__(self, identity: RunIdentity, run_folder: Path, central_manager: str = "") -> None:
        super().__init__(identity, run_folder, central_manager)
        self._log: EventLog | None = None
        self._keepers: dict[str, int] = {}

    def ping(self) -> str:
        """Detect features of the schedd; return the user name that it maps this user to.

        Raises `MissingPrerequisiteError` unless it answers a query and allows submissions.
        """
        try:
            answer = self._ask("ping", PING_S)
        except OsgpilotError as error:
            raise MissingPrerequisiteError(
                f"{error}; is this an access point? `condor_q` has to work here; one on another "
                "host is named by `access_point` in the site file"
            ) from error
        if version(answer["version"]) >= COMMON_IMAGES_SINCE:
            self.common_images = self.keeps_images = self.shares_inputs = True
            self.image_way = "once to each pilot"
        # without an answer, a wrong guess shows at the first submission
        return self._known_as(answer["user"] or self._identity.owner)

    def _with_keeper(self, submission: Submission) -> tuple[Submission, int]:
        """Return `submission` and the cluster of the job that keeps what it shares, 0 if none does:
        for an image of the first job that comes alone, or if the access point refuses such a job.

        Jobs with shared inputs get their image through that of the inputs, too: a job has one.
        """
        if submission.shared and submission.request.common:
            name, is_alone = INPUTS, False
        else:
            name, is_alone = self._shared_as(submission.request), len(submission.keys) == 1
        if not name:
            return submission, 0
        is_first = name not in self._keepers
        cluster = self._keepers.setdefault(name, 0)
        if not cluster and not (is_first and is_alone):
            with suppress(RejectedError, QueueFullError):
                cluster = int(self._keep(submission, name, sent=False)["cluster"])
            self._keepers[name] = cluster
        return submission, cluster

    def events(self) -> list[tuple[str, Event]]:
        if self._log is None:
            self._log = EventLog(self._folder / JOB_LOG)
        return [own for each in self._log.read() for own in self._expand(*each)]

    def missed_events(self) -> bool:
        return self._log is not None and self._log.take_missed()

    def close(self) -> None:
        """End the worker process and close the log."""
        super().close()
        if self._log is not None:
            self._log.close()
