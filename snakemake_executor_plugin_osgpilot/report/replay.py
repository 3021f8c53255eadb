"""Replay a run's history into its jobs, pilots and plans. Pure.

Lines may come twice and late (`monitoring.records`), and those of one session's jobs in any order:
`report.job_history` rebuilds each job from all events that are known of it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

from ..model.resources import JobClass, Shape
from ..monitoring.line_check import FULL, Line, is_whole
from ..monitoring.progress import Steps
from .entities import Failure, Job, Pilot
from .job_history import LAST, MOVES, OVER, RANK, JobEvent, rebuild

PLANS_MAX = 2000
"""Maximum number of plans kept for charts; the latest is always kept."""


_NEVER_SERVED = (math.inf, "", "")


class ReplayedRun:
    """The state of a run, replayed from its history; `take` continues with further lines.

    `name` is the run's if its history does not have it. `plan` is the latest plan, `plans` those
    with other numbers or decisions before it, `life` and `end` the latest lines of these kinds,
    `steps` Snakemake's own count of its jobs, done and in total. `images` has the size in bytes of
    each image that was sent for several jobs, by the cluster of one of them and time, and `shared`
    that of each input; `input_mb` the size of the inputs of each job, as far as it is known.
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
        self.steps: Steps | None = None
        self.first_s = 0.0
        self.last_s = 0.0
        self.critical_path_s = 0.0
        self.images: dict[tuple[str, float], int] = {}
        self.shared: dict[tuple[str, float], int] = {}
        self.input_mb: dict[str, float] = {}
        self.tells_needs = False
        self.is_full = False
        self._events: defaultdict[str, list[JobEvent]] = defaultdict(list)
        self._dirty: set[str] = set()
        self._failures: dict[str, Line] = {}
        self._needs: dict[str, tuple[str, ...]] = {}
        self._woken: defaultdict[str, set[float]] = defaultdict(set)
        self._ends_s: dict[int, float] = {}
        self._latest: dict[tuple[str, str], tuple[int, float, str]] = {}
        self._running: defaultdict[str, dict[str, Job]] = defaultdict(dict)
        self._served: dict[str, tuple[float, str, str]] = {}
        self._kinds: dict[str, Callable[[Line], None]] = {
            "life": self._life, "queued": self._queued, "sent": self._listed,
            "started": self._started, "ended": self._listed, "removed": self._listed,
            "held": self._listed, "waiting": self._listed, "pilot": self._pilot,
            "needed": self._needed, "plan": self._plan, "failed": self._failed,
            "woken": self._was_woken, "spent": self._spent, "steps": self._counted,
            "images": self._images, "inputs": self._inputs, "end": self._end, FULL: self._full,
        }  # fmt: skip

    def take(self, lines: Iterable[Line]) -> ReplayedRun:
        """Apply lines; unknown kinds and damaged lines are skipped."""
        for line in lines:
            if is_whole(line):
                try:
                    self._kinds[line["kind"]](line)
                except (KeyError, TypeError, ValueError, IndexError):
                    continue
        self._settle()
        return self

    @property
    def plan(self) -> Line | None:
        """The latest plan, None before the first."""
        return self.plans[-1] if self.plans else None

    @property
    def is_over(self) -> bool:
        """True if the latest session has ended."""
        return self.end is not None

    @property
    def error(self) -> str:
        """The error that stopped Snakemake in the latest session, empty if none did."""
        return str((self.end or {}).get("error", ""))

    @property
    def failures(self) -> dict[str, Failure]:
        """The failures that were reported to Snakemake, by key, in the order of time."""
        known = [line for line in self._failures.values() if line["job"] in self.jobs]
        known.sort(key=lambda line: (line["at_s"], line["job"]))
        return {
            line["job"]: Failure(self.jobs[line["job"]], line["at_s"], line["text"])
            for line in known
        }

    def is_retried(self, job: Job) -> bool:
        """Return True if the job of the workflow was submitted again under another key."""
        latest = self._latest.get((job.rule, job.label))
        return latest is not None and latest[-1] != job.key

    def state_of(self, job: Job) -> str:
        """Return the state of a job as users see it: `retried` if it was submitted again."""
        if self.is_retried(job):
            return "retried"
        return "waiting" if job.waits else job.state

    def running_on(self, pilot: str) -> list[Job]:
        """Return the jobs that run on a pilot now."""
        return list(self._running[pilot].values())

    def _at(self, at_s: float) -> None:
        self.first_s = min(self.first_s or at_s, at_s)
        self.last_s = max(self.last_s, at_s)

    def _note(self, key: str, at_s: float, kind: str, values: Iterable[object]) -> None:
        """Record an event of a job; its first line may still come."""
        self._events[key].append((self.lives, at_s, RANK[kind], tuple(values)))
        self._dirty.add(key)

    def _settle(self) -> None:
        """Rebuild the jobs that have new events."""
        for key in self._dirty & self.jobs.keys():
            job = self.jobs[key]
            if job.attempts:
                self._running[job.attempts[-1].pilot].pop(key, None)
            try:
                rebuild(job, self._events[key], self._ends_s)
            except (TypeError, ValueError):
                continue
            if key in self._needs:
                job.needs = self._needs[key]
            if key in self._failures:
                job.logs = tuple(self._failures[key].get("logs", ()))
            if key in self._woken:
                job.woken_s = sorted(self._woken[key])
            if job.state == "running" and job.attempts:
                self._running[job.attempts[-1].pilot][key] = job
        self._dirty.clear()

    def _life(self, line: Line) -> None:
        self.life, self.end, self.steps = line, None, None
        self.lives += 1
        self._at(line["at_s"])

    def _end(self, line: Line) -> None:
        self.end = line
        self.critical_path_s = max(self.critical_path_s, line.get("critical_path_s", 0.0))
        self._at(line["at_s"])
        if not (line["detached"] or self.is_full):
            self._ends_s[self.lives] = line["at_s"]
            self._dirty |= {key for key, job in self.jobs.items() if job.state not in OVER}

    def _full(self, line: Line) -> None:
        self.is_full = True
        if self._ends_s.pop(self.lives, None) is not None:
            self._dirty |= self.jobs.keys()

    def _counted(self, line: Line) -> None:
        self.steps = Steps(line["done"], line["total"], line.get("failed", 0))

    def _queued(self, line: Line) -> None:
        shape = Shape(*(line[name] for name in Shape._fields))
        job_class = JobClass(shape, line["runtime_s"])
        rule, at_s = line["rule"], line["at_s"]
        memory_mb = line.get("rule_memory_mb")
        for key, label, *names in line["jobs"]:
            attempt, job = (self.lives, at_s, key), (rule, label)
            self._latest[job] = max(self._latest.get(job, attempt), attempt)
            if key not in self.jobs:
                self.jobs[key] = Job(
                    key, rule, job_class, label, names=tuple(names), rule_memory_mb=memory_mb
                )
            self._note(key, at_s, "queued", (rule, job_class, label, *names))
        self._at(at_s)

    def _needed(self, line: Line) -> None:
        self.tells_needs = True
        for key in line["jobs"]:
            self._needs[key] = tuple(line["needs"])
            self._dirty.add(key)

    def _listed(self, line: Line) -> None:
        session, rank = self.lives, RANK[line["kind"]]
        # HTCondor gives whole seconds, a decision of our own has fractions of them
        when = math.floor if rank in MOVES else float
        for key, at_s, *values in line["jobs"]:
            self._events[key].append((session, when(at_s), rank, tuple(values)))
            self._dirty.add(key)
            if not self.first_s <= at_s <= self.last_s:
                self._at(at_s)

    def _started(self, line: Line) -> None:
        self._listed(line)
        for _, at_s, pilot, _, allocation, node in line["jobs"]:
            served = (at_s, allocation, node)
            if served < self._served.get(pilot, _NEVER_SERVED):
                self._served[pilot] = served
                if known := self.pilots.get(pilot):
                    known.serve(*served)

    def _spent(self, line: Line) -> None:
        for key, *spent in line["jobs"]:
            self._note(key, LAST, "spent", spent)

    def _inputs(self, line: Line) -> None:
        self.input_mb |= dict(line["jobs"])

    def _images(self, line: Line) -> None:
        # what a job of an earlier session shares is not known when its events are read again
        for process, at_s, image, size in line["sent"]:
            if size:
                (self.images if image else self.shared)[process, at_s] = size

    def _was_woken(self, line: Line) -> None:
        for key in line["jobs"]:
            self._woken[key].add(line["at_s"])
            self._dirty.add(key)

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
        pilot.site = line.get("site", "")
        since_s = line["since_s"]
        pilot.moves[pilot.state] = min(since_s, pilot.moves.get(pilot.state, since_s))
        if name in self._served:
            pilot.serve(*self._served[name])
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
        before = self._failures.get(line["job"], line)
        self._failures[line["job"]] = max(
            before, line, key=lambda each: (each["at_s"], each["text"])
        )
        self._note(line["job"], LAST, "failed", (line["at_s"], line["text"]))
        self._at(line["at_s"])


def fold(lines: Iterable[Line]) -> ReplayedRun:
    """Return the state that `lines` lead to."""
    return ReplayedRun().take(lines)
