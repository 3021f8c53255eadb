"""Schedule the release of held jobs, with the shape to request from then on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable

from ...model.resources import JobClass, Shape
from ...model.snapshot import UpcomingGroup
from .job import Job, JobState
from .table import JobTable

GRAIN_S = 60.0
"""Jobs that are released within the same minute are one group."""


class ReleaseSchedule:
    """Jobs of `table` to release; those that the user released are dropped.

    `_released` are those whose release the event log does not show yet, with its time.
    """

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._due: dict[str, tuple[float, Shape | None]] = {}
        self._released: dict[str, float] = {}

    def plan(self, key: str, due_s: float, shape: Shape | None = None) -> None:
        """Schedule the release of a job at `due_s`, with a request for `shape` if given."""
        self._due[key] = (due_s, shape)
        self._released.pop(key, None)

    def drop(self, key: str) -> None:
        """Drop a job."""
        self._due.pop(key, None)
        self._released.pop(key, None)

    def to_come(self) -> tuple[UpcomingGroup, ...]:
        """Return the held jobs that will wait again, by what they will request and when."""
        groups: Counter[tuple[JobClass, float]] = Counter()
        for key, (due_s, shape) in self._due.items():
            job = self._table[key]
            if job.state is JobState.HELD:
                then = job.asking_for(shape) if shape else job
                groups[then.job_class, due_s // GRAIN_S * GRAIN_S] += 1
        for key, due_s in list(self._released.items()):
            job = self._table[key]
            if job.state is JobState.HELD:
                groups[job.job_class, due_s // GRAIN_S * GRAIN_S] += 1
            else:
                del self._released[key]
        return tuple(UpcomingGroup(c, jobs, at_s) for (c, at_s), jobs in groups.items())

    def due(self, now_s: float) -> dict[Shape | None, list[Job]]:
        """Return the jobs to release now, by the shape to request (None: as before)."""
        alike: defaultdict[Shape | None, list[Job]] = defaultdict(list)
        for key, (due_s, shape) in list(self._due.items()):
            if self._table[key].state is not JobState.HELD:
                del self._due[key]
            elif due_s <= now_s:
                alike[shape].append(self._table[key])
        return alike

    def done(self, jobs: Iterable[Job], shape: Shape | None) -> None:
        """Record that jobs were released with a request for `shape`."""
        for job in jobs:
            self._released[job.key], _ = self._due.pop(job.key)
            if shape is not None:
                self._table.put(job.asking_for(shape))
