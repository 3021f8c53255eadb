"""How far a run is, and how long it will take from here as far as can be told."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.core.actions import Forecast
from snakemake_executor_plugin_osgpilot.core.estimates import Estimates
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Pilot, PilotState
from snakemake_executor_plugin_osgpilot.core.snapshot import Snapshot


@dataclass(frozen=True)
class Progress:
    """Jobs and pilots by state; `to_come` are jobs that Snakemake has not handed over yet.

    `eta_s` is in how many seconds the run is expected to end, None if nothing tells.
    """

    waiting: int
    running: int
    done: int
    failed: int
    to_come: int = 0
    pending: int = 0
    booting: int = 0
    ready: int = 0
    eta_s: float | None = None

    @property
    def line(self) -> str:
        """The run in one line, for a user who waits."""
        counts = (("failed", self.failed), ("to come", self.to_come))
        more = "".join(f", {count} {name}" for name, count in counts if count)
        states = (("pending", self.pending), ("booting", self.booting), ("ready", self.ready))
        pilots = ", ".join(f"{count} {name}" for name, count in states if count) or "none"
        eta = "" if self.eta_s is None else f"; about {duration(round(self.eta_s, -1))} to go"
        jobs = f"{self.waiting} waiting, {self.running} running, {self.done} done{more}"
        return f"jobs: {jobs}; pilots: {pilots}{eta}"

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to tell."""
        return not (self.waiting or self.running or self.pending or self.booting or self.ready)


def pilots_by_state(pilots: Iterable[Pilot]) -> dict[str, int]:
    """Return the numbers of pilots that `Progress` has."""
    states = Counter(pilot.state for pilot in pilots)
    return {
        "pending": states[PilotState.INTENDED] + states[PilotState.PENDING],
        "booting": states[PilotState.BOOTING],
        "ready": states[PilotState.READY],
    }


def eta_s(snapshot: Snapshot, estimates: Estimates, forecast: Forecast) -> float | None:
    """Return in how many seconds the run is expected to end, None if nothing tells.

    Work over cores, and never less than the longest job; jobs that are further off are taken to be
    like those in sight. Without a pilot that serves, the first one has to come.
    """
    work = Counter(dict(snapshot.waiting))
    for soon in snapshot.soon:
        work[soon.job_class] += soon.jobs
    rests = [
        (group, max(0.0, estimates.runtime_s(group.job_class) - (snapshot.now_s - group.since_s)))
        for groups in snapshot.running.values()
        for group in groups
    ]
    jobs = sum(work.values()) + sum(group.jobs for group, _ in rests)
    if not jobs:
        return None
    core_s = sum(n * _core_s(c, estimates) for c, n in work.items())
    whole_core_s = core_s + sum(g.jobs * _core_s(g.job_class, estimates) for g, _ in rests)
    core_s += sum(g.jobs * g.job_class.shape.cores * rest_s for g, rest_s in rests)
    core_s += snapshot.later * whole_core_s / jobs
    cores = max(forecast.live_cores, _finite(forecast.wanted_cores), 1)
    longest_s = max(
        [*(rest_s for _, rest_s in rests), *(estimates.runtime_s(c) for c in work)], default=0.0
    )
    serving = any(pilot.state is PilotState.READY for pilot in snapshot.pilots)
    return (0.0 if serving else forecast.lead_s) + max(core_s / cores, longest_s)


def duration(seconds: float) -> str:
    """Return a time for people: the two largest units, whole minutes from ten on."""
    seconds = max(0, round(seconds))
    if 600 <= seconds < 3600:
        return f"{seconds // 60} min"
    for unit, size, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= size:
            rest = seconds % size // part
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"


def _core_s(job_class: JobClass, estimates: Estimates) -> float:
    return job_class.shape.cores * estimates.runtime_s(job_class)


def _finite(number: float) -> float:
    return number if math.isfinite(number) else 0.0
