"""Schedule the release of held jobs, with the shape to request from then on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from ...model.resources import Shape
from .job import Job, JobState
from .table import JobTable


class ReleaseSchedule:
    """Jobs of `table` to release; those that the user released are dropped."""

    def __init__(self, table: JobTable) -> None:
        self._table = table
        self._due: dict[str, tuple[float, Shape | None]] = {}

    def plan(self, key: str, due_s: float, shape: Shape | None = None) -> None:
        """Schedule the release of a job at `due_s`, with a request for `shape` if given."""
        self._due[key] = (due_s, shape)

    def drop(self, key: str) -> None:
        """Drop a job."""
        self._due.pop(key, None)

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
            del self._due[job.key]
            if shape is not None:
                self._table.put(job.asking_for(shape))
