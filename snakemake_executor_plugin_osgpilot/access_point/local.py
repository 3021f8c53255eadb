"""An access point whose schedd runs on this machine: `ports.AccessPoint` for it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from snakemake_executor_plugin_osgpilot.access_point.client import Worker
from snakemake_executor_plugin_osgpilot.access_point.description import (
    AVOID,
    avoided,
    describe,
    items,
    resource_attributes,
)
from snakemake_executor_plugin_osgpilot.access_point.events import EventLog
from snakemake_executor_plugin_osgpilot.core.events import Event
from snakemake_executor_plugin_osgpilot.core.model import Shape
from snakemake_executor_plugin_osgpilot.ports import Seat, Submission

COMMON_IMAGES_SINCE = (25, 14)
"""The first HTCondor with which `container_is_common` was seen to work as documented."""

PING_S, SUBMIT_S, QUERY_S = 20.0, 120.0, 60.0


class LocalAccessPoint:
    """Jobs of one run, in the local schedd's queue."""

    def __init__(self, seat: Seat, run_folder: Path, central_manager: str = "") -> None:
        self._seat = seat
        self._folder = run_folder
        self._manager = central_manager
        self._worker = Worker()
        self._log: EventLog | None = None
        self._version = (0, 0)

    @property
    def common_images(self) -> bool:
        """Whether the schedd sends an image once for many jobs; known after `ping`."""
        return self._version >= COMMON_IMAGES_SINCE

    @property
    def _mine(self) -> str:
        return f'OSGPilotWorkflow =?= "{self._seat.run}"'

    @property
    def removal_hint(self) -> str:
        return f"condor_rm -constraint 'OSGPilotWorkflow == \"{self._seat.run}\"'"

    def pilots(self) -> frozenset[str]:
        clause = f'OSGPILOT_RUN_ID =?= "{self._seat.run}" && PartitionableSlot =?= true'
        request = {"do": "pilots", "manager": self._manager, "constraint": clause}
        return frozenset(self._worker.ask(request, timeout_s=QUERY_S))

    def ping(self) -> None:
        """Raise `Unanswered` unless the schedd answers a query."""
        answer = self._worker.ask({"do": "ping"}, timeout_s=PING_S)
        if found := re.search(r"(\d+)\.(\d+)\.", answer["version"]):
            self._version = int(found[1]), int(found[2])

    def submit(self, submission: Submission) -> dict[str, str]:
        description = describe(
            submission, self._seat, self._folder, common_images=self.common_images
        )
        request = {"do": "submit", "description": description, "items": items(submission)}
        answer = self._worker.ask(request, timeout_s=SUBMIT_S)
        cluster, first = answer["cluster"], answer["first_proc"]
        return {key: f"{cluster}.{first + n}" for n, key in enumerate(submission.keys)}

    def find(self) -> dict[str, str]:
        found = self._worker.ask({"do": "find", "constraint": self._mine}, timeout_s=QUERY_S)
        return {key.rpartition("/")[2]: job_id for key, job_id in found.items()}

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        ids = None if job_ids is None else list(job_ids)
        request = {"do": "remove", "ids": ids, "constraint": self._mine, "reason": reason}
        self._worker.ask(request, timeout_s=QUERY_S)

    def forget(self, job_ids: Iterable[str] | None) -> None:
        ids = None if job_ids is None else list(job_ids)
        request = {"do": "forget", "ids": ids, "constraint": self._mine}
        self._worker.ask(request, timeout_s=QUERY_S)

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        edits = {} if shape is None else resource_attributes(shape)
        request = {"do": "release", "ids": list(job_ids), "edits": edits}
        self._worker.ask(request, timeout_s=QUERY_S)

    def avoid(self, pilots: Iterable[str]) -> None:
        edits = {AVOID: avoided(pilots)}
        self._worker.ask(
            {"do": "edit", "constraint": self._mine, "edits": edits}, timeout_s=QUERY_S
        )

    def events(self) -> list[tuple[str, Event]]:
        if self._log is None:
            self._log = EventLog(self._folder / "jobs.log")
        return self._log.read()

    def missed_events(self) -> bool:
        log = self._log
        missed = log is not None and log.missed
        if log is not None:
            log.missed = False
        return missed

    def interrupt(self) -> None:
        self._worker.interrupt()

    def close(self) -> None:
        """End the worker process and close the log."""
        self._worker.close()
        if self._log is not None:
            self._log.close()
