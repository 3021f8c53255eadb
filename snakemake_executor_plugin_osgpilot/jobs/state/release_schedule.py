"""Held jobs that may run again: when, and what they ask for then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.table import JobTable
from snakemake_executor_plugin_osgpilot.model.resources import Shape


class Releases:
    """Jobs of `ledger` that are to be released; who was released by hand is forgotten."""

    def __init__(self, ledger: JobTable) -> None:
        self._ledger = ledger
        self._due: dict[str, tuple[float, Shape | None]] = {}

    def plan(self, key: str, due_s: float, shape: Shape | None = None) -> None:
        """Have a job released at `due_s`, asking for `shape` from then on if given."""
        self._due[key] = (due_s, shape)

    def drop(self, key: str) -> None:
        """Forget a job."""
        self._due.pop(key, None)

    def due(self, now_s: float) -> dict[Shape | None, list[Job]]:
        """Return the jobs to release now, by what they are to ask for (None: as before)."""
        alike: defaultdict[Shape | None, list[Job]] = defaultdict(list)
        for key, (due_s, shape) in list(self._due.items()):
            if self._ledger[key].state is not JobState.HELD:
                del self._due[key]
            elif due_s <= now_s:
                alike[shape].append(self._ledger[key])
        return alike

    def done(self, jobs: Iterable[Job], shape: Shape | None) -> None:
        """Take in that jobs were released, and ask for `shape` now."""
        for job in jobs:
            del self._due[job.key]
            if shape is not None:
                self._ledger.put(job.asking_for(shape))
