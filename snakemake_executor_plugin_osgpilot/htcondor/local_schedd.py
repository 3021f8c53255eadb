"""An access point whose schedd runs on this machine."""

from __future__ import annotations

import math
from pathlib import Path

from ..errors import MissingPrerequisiteError, OsgpilotError
from ..jobs.state.events import Event
from ..journal.run_folder import JOB_LOG
from ..model.identity import RunIdentity
from .event_log import EventLog
from .schedd_queue import COMMON_IMAGES_SINCE, PING_S, CondorQueue, version


class LocalAccessPoint(CondorQueue):
    """Jobs of one run, in the local schedd's queue, followed by the run's event log."""

    complete_until_s = math.inf
    signs = True

    def __init__(self, identity: RunIdentity, run_folder: Path, central_manager: str = "") -> None:
        super().__init__(identity, run_folder, central_manager)
        self._log: EventLog | None = None

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
            self.common_images = True
            self.image_way = "once to a pilot for all jobs submitted together"
        # without an answer, a wrong guess shows at the first submission
        return self._known_as(answer["user"] or self._identity.owner)

    def events(self) -> list[tuple[str, Event]]:
        if self._log is None:
            self._log = EventLog(self._folder / JOB_LOG)
        return self._log.read()

    def missed_events(self) -> bool:
        return self._log is not None and self._log.take_missed()

    def close(self) -> None:
        """End the worker process and close the log."""
        super().close()
        if self._log is not None:
            self._log.close()
