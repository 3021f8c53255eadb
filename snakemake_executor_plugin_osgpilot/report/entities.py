"""Jobs and pilots of a run, as `report.replay` rebuilds them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..jobs.state.events import NO_USAGE, CommandUsage, Usage
from ..model.resources import JobClass, Shape


@dataclass(slots=True)
class Attempt:
    """One start of a job. `how` is `running`, `done`, `failed`, `interrupted` or `cancelled`."""

    job: Job
    pilot: str
    slot: str
    started_s: float
    stopped_s: float | None = None
    how: str = "running"
    allocation: str = ""
    node: str = ""

    def until_s(self, now_s: float) -> float:
        """Return its last known time."""
        until_s = now_s if self.stopped_s is None else self.stopped_s
        return until_s if until_s > self.started_s else self.started_s

    def core_s(self, now_s: float) -> float:
        """Return cores × time."""
        return (self.until_s(now_s) - self.started_s) * self.job.job_class.shape.cores


@dataclass(slots=True)
class Job:
    """A job. `state` is `queued` (not sent yet), `waiting`, `running`, `held`, `done`, `failed` or
    `cancelled`; `text` says why it is held, waits again, or failed, `code` and `subcode` are
    HTCondor's for a hold (0: the history does not have them). `names` are Snakemake's number of it
    and its outputs, `needs` the keys of the jobs that it had to wait for, `woken_s` when osgpilot
    had it matched again, `rule_memory_mb` the memory that its rule names. `usage` is what HTCondor
    measured, `spent` what its shell counted. `logs` are those of its rule if it failed.
    """

    key: str
    rule: str
    job_class: JobClass
    label: str = ""
    queued_s: float = 0.0
    sent_s: float | None = None
    job_id: str = ""
    state: str = "queued"
    since_s: float = 0.0
    attempts: list[Attempt] = field(default_factory=list)
    exit_status: int | None = None
    usage: Usage = NO_USAGE
    spent: CommandUsage | None = None
    text: str = ""
    code: int = 0
    subcode: int = 0
    names: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    woken_s: list[float] = field(default_factory=list)
    rule_memory_mb: int | None = None
    logs: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its rule, and its wildcards."""
        return f"rule {self.rule}" + (f" ({self.label})" if self.label else "")

    @property
    def waits(self) -> bool:
        """True if it is pending: it would start given capacity."""
        return self.state in ("queued", "waiting")

    @property
    def cpu_s(self) -> float:
        """CPU time of its last start.

        HTCondor may miss short processes, the shell those that were left behind.
        """
        return max(self.usage.cpu_s, self.spent.cpu_s if self.spent else 0.0)

    def waits_s(self, now_s: float) -> list[tuple[float, float]]:
        """Return the intervals in which it waited for a pilot."""
        spans, from_s = [], self.queued_s
        for attempt in self.attempts:
            if attempt.started_s > from_s:
                spans.append((from_s, attempt.started_s))
            from_s = attempt.until_s(now_s)
        over_s = now_s if self.waits else self.since_s
        if self.state == "running":
            over_s = from_s if self.attempts else now_s
        if over_s > from_s:
            spans.append((from_s, over_s))
        return spans

    @property
    def last(self) -> Attempt | None:
        """The latest start."""
        return self.attempts[-1] if self.attempts else None


@dataclass(slots=True)
class Pilot:
    """A pilot; times in seconds since the epoch, None if unknown.

    `moves` has the time of entry of each state, `ready_s` that of the first job or report.
    """

    name: str
    shape: Shape
    offer: str = ""
    state: str = ""
    allocation: str = ""
    node: str = ""
    pending_reason: str = ""
    failure: str = ""
    walltime_s: int = 0
    asked_s: float = 0.0
    started_s: float | None = None
    ends_s: float | None = None
    ended_s: float | None = None
    moves: dict[str, float] = field(default_factory=dict)
    allocated_cores: int = 0
    site: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """The names by which a user may ask for it: ids of two clusters may coincide."""
        return self.name, self.allocation, f"{self.site}:{self.allocation}"

    @property
    def charged_cores(self) -> int:
        """The cores that Slurm gave it, which may be more than it asked for."""
        return self.allocated_cores or self.shape.cores

    @property
    def waits(self) -> bool:
        """True if Slurm has not started it yet."""
        return self.state in ("intended", "pending")

    @property
    def serves(self) -> bool:
        """True if it takes jobs, now or as soon as it runs."""
        return self.waits or self.state in ("booting", "ready")

    @property
    def over(self) -> bool:
        return self.state in ("done", "failed", "cancelled")

    @property
    def since_s(self) -> float:
        """The time when it entered its state."""
        return self.moves.get(self.state, self.asked_s)

    @property
    def ready_s(self) -> float | None:
        return self.moves.get("ready")

    def serve(self, at_s: float, allocation: str, node: str) -> None:
        """Record that a job started there: it is ready, whatever Slurm has reported so far."""
        self.moves["ready"] = min(at_s, self.moves.get("ready", at_s))
        if self.waits or self.state == "booting":
            self.state, self.pending_reason = "ready", ""
            self.allocation, self.node = allocation or self.allocation, node or self.node

    def until_s(self, now_s: float) -> float:
        """Return the last known time of its allocation."""
        return now_s if self.ended_s is None else self.ended_s

    def serves_s(self, now_s: float) -> float:
        """Return when it was ready; its end, if it never was."""
        ready_s = self.ready_s
        return self.until_s(now_s) if ready_s is None else min(ready_s, self.until_s(now_s))

    def charged_s(self, now_s: float) -> float:
        """Return how long the allocation has been running."""
        return 0.0 if self.started_s is None else max(0.0, self.until_s(now_s) - self.started_s)


@dataclass(slots=True)
class Failure:
    """Why a job failed, as reported to the user, and when."""

    job: Job
    at_s: float
    text: str
