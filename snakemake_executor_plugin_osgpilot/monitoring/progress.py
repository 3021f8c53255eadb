"""Progress of a run and its estimated time remaining."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..common.counting import count_of
from ..model.resources import Pilot, PilotState
from ..scaling.planner.eta import Eta

BEFORE_READY = (PilotState.INTENDED, PilotState.PENDING, PilotState.BOOTING)


class Steps(NamedTuple):
    """Snakemake's own count of the jobs of a session: local ones and members of groups too."""

    done: int
    total: int
    failed: int = 0


StepCounter = Callable[[], Steps | None]
"""Returns Snakemake's count, None before it counts."""


@dataclass(frozen=True)
class Progress:
    """Jobs and pilots by state; `to_come`: jobs that Snakemake has not handed over yet.

    A job that failed and was submitted again is one job; `retries` counts how often that was done.

    `eta` is the estimated time remaining, None if there is nothing left to do.
    """

    waiting: int
    running: int
    done: int
    failed: int
    to_come: int = 0
    pending: int = 0
    booting: int = 0
    ready: int = 0
    eta: Eta | None = None
    cancelled: int = 0
    retries: int = 0
    steps: Steps | None = None

    @property
    def total(self) -> int:
        """The number of jobs, as far as it is known."""
        over = self.done + self.failed + self.cancelled
        return self.waiting + self.running + over + self.to_come

    @property
    def parts(self) -> tuple[str, str]:
        """Jobs and pilots by state."""
        counts = (
            ("failed", self.failed), ("cancelled", self.cancelled), ("not yet ready", self.to_come),
        )  # fmt: skip
        more = "".join(f", {count} {name}" for name, count in counts if count)
        if self.retries:
            more += f"; {count_of(self.retries, 'retry', 'retries')}"
        states = (("pending", self.pending), ("booting", self.booting), ("ready", self.ready))
        pilots = ", ".join(f"{count} {name}" for name, count in states if count) or "none"
        return f"{self.waiting} waiting, {self.running} running, {self.done} done{more}", pilots

    @property
    def line(self) -> str:
        """The progress in one line."""
        jobs, pilots = self.parts
        eta = f"; {self.eta.text}" if self.eta else ""
        steps = f"{self.steps.done} of {self.steps.total} steps done; " if self.steps else ""
        return f"{steps}jobs: {jobs}; pilots: {pilots}{eta}"

    @property
    def brief(self) -> str:
        """The progress for a narrow terminal."""
        failed = f", {self.failed} failed" if self.failed else ""
        pilots = self.pending + self.booting + self.ready
        eta = f"; {self.eta.text}" if self.eta else ""
        jobs = f"{self.done}/{self.total} jobs, {self.running} running{failed}"
        return f"{jobs}, {self.ready}/{pilots} pilots{eta}"

    @property
    def is_idle(self) -> bool:
        """True if no job or pilot is active."""
        return not (self.waiting or self.running or self.pending or self.booting or self.ready)


def pilots_by_state(pilots: Iterable[Pilot], served: Container[str]) -> dict[str, int]:
    """Return the numbers of pilots as fields of `Progress`.

    Those named in `served` have started jobs, so they are ready, even if Slurm's last answer is
    older.
    """
    states = Counter(
        PilotState.READY if pilot.name in served and pilot.state in BEFORE_READY else pilot.state
        for pilot in pilots
    )
    return {
        "pending": states[PilotState.INTENDED] + states[PilotState.PENDING],
        "booting": states[PilotState.BOOTING],
        "ready": states[PilotState.READY],
    }
