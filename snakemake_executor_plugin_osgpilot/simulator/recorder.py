"""Record the course of a simulated run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from time import process_time

from ..model.plan import Plan
from ..model.resources import Pilot, PilotState, Policy
from ..model.snapshot import Snapshot
from ..pilots.state.lifecycle import Seen
from ..scaling.planner.estimates import Estimates
from ..scaling.ports import Planner
from .clock import MS
from .jobs import Jobs
from .model import Charged, Life, Moment, Outcome
from .pilots import PilotPool, SimulatedPilot

SERIES_MAX = 2000
"""With so many moments, every second one is dropped."""

_STATE = {
    Seen.COMPLETED: PilotState.DONE,
    Seen.FAILED: PilotState.FAILED,
    Seen.CANCELLED: PilotState.CANCELLED,
}


class TimedPlanner:
    """A planner that records the processor time of each call in `plan_s`."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self.plan_s = array("d")

    def __call__(self, snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Plan:
        begun_s = process_time()
        decided = self._planner(snapshot, estimates, policy)
        self.plan_s.append(process_time() - begun_s)
        return decided


class Series:
    """Demand and supply over time, in a bounded number of moments."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self._every = 1
        self._looks = 0

    def note(self, now_s: float, jobs: Jobs, pilot_pool: PilotPool, live: Iterable[Pilot]) -> None:
        """Add one moment."""
        self._looks += 1
        if self._looks % self._every:
            return
        pairs = zip(jobs.classes, jobs.lines, strict=True)
        waiting = sum(job_class.shape.cores * line.count for job_class, line in pairs)
        up = {name: p for name, p in pilot_pool.pilots.items() if p.up_ms is not None}
        running = sum(pilot.tally.taken for pilot in up.values())
        ready = sum(pilot.allocation.shape.cores for pilot in up.values())
        coming = sum(p.shape.cores for p in live if p.state.serves and p.name not in up)
        self.moments.append(Moment(now_s, waiting, running, ready, coming))
        if len(self.moments) >= SERIES_MAX:
            self.moments = self.moments[1::2]
            self._every *= 2


def outcome(
    names: tuple[str, str, int], pilots: Iterable[SimulatedPilot], series: Series,
    plan_s: array[float], *, makespan_ms: int, jobs_left: int, stopped: str, flow_ms: int,
) -> Outcome:  # fmt: skip
    """Return what became of a run. `names` are those of workload and site, and the seed."""
    lives = tuple(_life(pilot) for pilot in pilots)
    first_s = [life.first_job_s for life in lives if life.first_job_s is not None]
    return Outcome(
        *names,
        makespan_s=makespan_ms / MS,
        first_job_s=min(first_s, default=None),
        charged=sum((life.charged for life in lives), Charged()),
        pilots=lives,
        series=tuple(series.moments),
        plan_s=plan_s,
        jobs_left=jobs_left,
        stopped=stopped if jobs_left else "",
        flow_s=flow_ms / MS,
    )


def _life(pilot: SimulatedPilot) -> Life:
    allocation = pilot.allocation
    began = allocation.started_ms >= 0
    return Life(
        pilot.name,
        pilot.offer,
        allocation.shape.cores,
        allocation.walltime_ms // MS,
        asked_s=allocation.submitted_ms / MS,
        started_s=allocation.started_ms / MS if began else None,
        ready_s=_seconds(pilot.up_ms),
        first_job_s=_seconds(pilot.first_job_ms),
        ended_s=_seconds(allocation.ended_ms),
        state=_STATE[allocation.seen].value,
        charged=pilot.tally.charged() if began else Charged(),
    )


def _seconds(at_ms: int | None) -> float | None:
    return None if at_ms is None else at_ms / MS
