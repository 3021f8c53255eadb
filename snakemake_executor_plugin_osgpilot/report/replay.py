"""Replay a run's history into its jobs, pilots and plans. Pure.

Lines may come twice and late (`monitoring.records`); of the same thing, the latest counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..jobs.state.events import CommandUsage, Usage
from ..model.resources import JobClass, Shape
from ..monitoring.line_check import is_whole
from ..monitoring.records import FULL, Line
from .entities import Attempt, Failure, Job, Pilot

OVER = ("done", "failed")
PLANS_MAX = 2000
"""Maximum number of plans kept for charts; the latest is always kept."""


class ReplayedRun:
    """The state of a run, replayed from its history; `take` continues with further lines.

    `name` is the run's if its history does not have it. `plan` is the latest plan, `plans` those
    with other numbers or decisions before it, `life` and `end` the latest lines of these kinds.
    `tells_needs` is True if the dependencies of jobs are known, `is_full` if the history has
    reached its limit: nothing after `last_s` is known.
    """

    def __init__(self) -> None:
        self.name = ""
        self.life: Line = {}
        self.lives = 0
        self.end: Line | None = None
        self.jobs: dict[str, Job] = {}
        self.pilots: dict[str, Pilot] = {}
        self.plans: list[Line] = []
        self.decisions: list[Line] = []
        self.failures: dict[str, Failure] = {}
        self.first_s = 0.0
        self.last_s = 0.0
        self.critical_path_s = 0.0
        self.tells_needs = False
        self.is_full = False
        self._latest: dict[tuple[str, str], str] = {}
        self._running: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self._kinds: dict[str, Callable[[Line], None]] = {
            "life": self._life, "queued": self._queued, "sent": self._sent,
            "started": self._started, "ended": self._ended, "removed": self._removed,
            "held": self._held, "waiting": self._waiting, "pilot": self._pilot,
            "needed": self._needed, "plan": self._plan, "failed": self._failed,
            "woken": self._woken, "spent": self._spent, "end": self._end, FULL: self._full,
        }  # fmt: skip

    def take(self, lines: Iterable[Line]) -> ReplayedRun:
        """Apply lines; unknown kinds and damaged lines are skipped."""
        for line in lines:
            if is_whole(line):
                try:
                    self._kinds[line["kind"]](line)
                except (KeyError, TypeError, ValueError, IndexError):
                    continue
        return self

    @property
    def plan(self) -> Line | None:
        """The latest plan, None before the first."""
        return self.plans[-1] if self.plans else None

    @property
    def is_over(self) -> bool:
        """True if the latest session has ended."""
        return self.end is not None

    def state_of(self, job: Job) -> str:
        """Return the state of a job as users see it: one that failed may have been `retried`."""
        if job.state == "failed" and self._latest.get((job.rule, job.label), job.key) != job.key:
            return "retried"
        return "waiting" if job.waits else job.state

    def running_on(self, pilot: str) -> list[Job]:
        """Return the jobs that run on a pilot now."""
        return list(self._running[pilot].values())

    def _at(self, at_s: float) -> None:
        self.first_s = min(self.first_s or at_s, at_s)
        self.last_s = max(self.last_s, at_s)

    def _life(self, line: Line) -> None:
        self.life, self.end = line, None
        self.lives += 1
        self._at(line["at_s"])

    def _end(self, line: Line) -> None:
        self.end = line
        self.critical_path_s = max(self.critical_path_s, line.get("critical_path_s", 0.0))
        self._at(line["at_s"])
        for job in self.jobs.values() if not (line["detached"] or self.is_full) else ():
            if job.state not in OVER:
                self._stop(job, line["at_s"], "cancelled")
                job.state, job.since_s = "cancelled", line["at_s"]

    def _full(self, line: Line) -> None:
        self.is_full = True

    def _reported(self, line: Line) -> Iterator[tuple[Any, ...]]:
        """Yield what a line reports of jobs; nothing for a job whose first line is damaged."""
        for key, *values in line["jobs"]:
            if key in self.jobs:
                yield self.jobs[key], *values

    def _queued(self, line: Line) -> None:
        shape = Shape(*(line[name] for name in Shape._fields))
        job_class = JobClass(shape, line["runtime_s"])
        for key, label, *names in line["jobs"]:
            self._latest[line["rule"], label] = key
            known = self.jobs.get(key)
            if known is not None and known.state == "cancelled":
                self._moved(known, "waiting", line["at_s"])
            elif known is None:
                at_s = line["at_s"]
                self.jobs[key] = Job(
                    key, line["rule"], job_class, label,
                    queued_s=at_s, since_s=at_s, names=tuple(names),
                )  # fmt: skip
        self._at(line["at_s"])

    def _needed(self, line: Line) -> None:
        self.tells_needs = True
        for key in line["jobs"]:
            if key in self.jobs:
                self.jobs[key].needs = tuple(line["needs"])

    def _sent(self, line: Line) -> None:
        for job, at_s, job_id in self._reported(line):
            job.sent_s, job.job_id = job.sent_s or at_s, job_id or job.job_id
            if job.state == "queued":
                self._moved(job, "waiting", at_s)

    def _started(self, line: Line) -> None:
        for job, at_s, pilot, slot, allocation, node in self._reported(line):
            same = next((a for a in job.attempts if a.started_s == at_s), None)
            if same is not None and same.how != "cancelled":
                continue
            if same is not None:
                # it survived the end of a session
                job.attempts.remove(same)
            self._stop(job, at_s, "interrupted")
            job.attempts.append(Attempt(job, pilot, slot, at_s, allocation=allocation, node=node))
            self._running[pilot][job.key] = job
            self._moved(job, "running", at_s)
            if known := self.pilots.get(pilot):
                known.serve(at_s, allocation, node)

    def _ended(self, line: Line) -> None:
        for job, at_s, exit_status, *usage in self._reported(line):
            job.exit_status, job.usage = exit_status, Usage(*usage)
            how = "done" if exit_status == 0 else "failed"
            if job.key in self.failures:
                # incomplete outputs may be reported before its end
                how, job.text = "failed", self.failures[job.key].text
            self._stop(job, at_s, how)
            self._moved(job, how, at_s)

    def _spent(self, line: Line) -> None:
        for job, *spent in self._reported(line):
            job.spent = CommandUsage(*spent)

    def _removed(self, line: Line) -> None:
        self._back(line, "failed")

    def _held(self, line: Line) -> None:
        self._back(line, "held")

    def _waiting(self, line: Line) -> None:
        self._back(line, "waiting")

    def _woken(self, line: Line) -> None:
        for key in line["jobs"]:
            job = self.jobs.get(key)
            if job is not None and line["at_s"] not in job.woken_s:
                job.woken_s.append(line["at_s"])

    def _back(self, line: Line, state: str) -> None:
        for job, at_s, text, *asked in self._reported(line):
            if job.state == state and job.since_s >= at_s:
                continue
            if asked:
                *shape, runtime_s = asked
                job.job_class = JobClass(Shape(*shape), runtime_s)
            self._stop(job, at_s, "interrupted")
            job.text = text
            self._moved(job, state, at_s)

    def _stop(self, job: Job, at_s: float, how: str) -> None:
        attempt = job.last
        if attempt is not None and attempt.stopped_s is None:
            self._running[attempt.pilot].pop(job.key, None)
            attempt.stopped_s, attempt.how = max(at_s, attempt.started_s), how

    def _moved(self, job: Job, state: str, at_s: float) -> None:
        job.state, job.since_s = state, at_s
        self._at(at_s)

    def _pilot(self, line: Line) -> None:
        name = line["name"]
        pilot = self.pilots.get(name)
        if pilot is None:
            pilot = self.pilots[name] = Pilot(name, Shape(**line["shape"]))
        pilot.allocation = line["allocation_id"] or pilot.allocation
        pilot.node = line["node"] or pilot.node
        for fact in (
            "offer", "state", "pending_reason", "failure", "walltime_s", "asked_s", "started_s",
            "ends_s", "ended_s",
        ):  # fmt: skip
            setattr(pilot, fact, line[fact])
        pilot.allocated_cores = line.get("allocated_cores", 0)
        pilot.moves.setdefault(pilot.state, line["since_s"])
        self._at(line["since_s"])

    def _plan(self, line: Line) -> None:
        if len(self.plans) >= PLANS_MAX:
            self.plans = self.plans[::2]
        self.plans.append(line)
        if line["actions"] or line["refusals"]:
            self.decisions = [*self.decisions[-49:], line]
        self.critical_path_s = max(self.critical_path_s, line.get("critical_path_s", 0.0))
        self._at(line["at_s"])

    def _failed(self, line: Line) -> None:
        job = self.jobs[line["job"]]
        self.failures[job.key] = Failure(job, line["at_s"], line["text"])
        if job.state not in ("waiting", "running"):
            job.text, job.state = line["text"], "failed"
            if job.last is not None and job.last.how == "done":
                # it exited with 0, but its outputs were incomplete
                job.last.how = "failed"


def fold(lines: Iterable[Line]) -> ReplayedRun:
    """Return the state that `lines` lead to."""
    return ReplayedRun().take(lines)
