"""Where the event log may have left something out: ask the queue, and its history, instead."""

from __future__ import annotations

import threading

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.access_point import AccessPoint
from snakemake_executor_plugin_osgpilot.jobs.gaps import fill, gone, on_hold, release
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker

HISTORY_TRIES = 3
"""How often the history is asked; then what jobs brought back tells how they ended."""


class EventLogRepair:
    """Learns of all jobs in `registry` where they are. `lock` guards it, and is never held while
    the access point is asked.
    """

    def __init__(
        self, access_point: AccessPoint, registry: JobTracker, lock: threading.Lock
    ) -> None:
        self._access_point, self._registry, self._lock = access_point, registry, lock
        self._unanswered = 0

    def run(self) -> None:
        """Ask, and take in what follows. Raises `OutcomeUnknownError`."""
        with self._lock:
            were_held = on_hold(self._registry)
        there = frozenset(self._access_point.find().values())
        held = self._access_point.held()
        with self._lock:
            ended = gone(self._registry, there)
        how = self._how(ended) if ended else {}
        # what the log has told meanwhile is better than what we conclude
        told = self._access_point.events()
        with self._lock:
            for job_id, event in told:
                self._registry.apply(job_id, event)
                held.pop(job_id, None)
                were_held.discard(job_id)
            release(self._registry, (were_held & there) - held.keys())
            fill(self._registry, ended, how, held)

    def _how(self, ended: list[str]) -> dict[str, Event]:
        try:
            how = self._access_point.ended(ended)
        except OutcomeUnknownError:
            self._unanswered += 1
            if self._unanswered < HISTORY_TRIES:
                raise
            how = {}
        except RejectedError:
            how = {}
        self._unanswered = 0
        return how
