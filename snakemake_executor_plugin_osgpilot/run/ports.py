"""Interfaces of the lease, the history and the display to the parts of a run that use them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..jobs.state.job import Job
from ..jobs.state.view import View
from ..monitoring.progress import Progress
from ..scaling.autoscaler import ScalingDecision


class LeaseWriter(Protocol):
    """Writes the record of a run, and the lease by which pilots see that it is alive."""

    def write(self) -> None:
        """Write the current record of the run."""

    def keep_alive(self) -> None:
        """Renew the lease, and publish which pilots are not wanted any more."""


class Recorder(Protocol):
    """Records the history of a run."""

    def planned(self, view: View, decision: ScalingDecision) -> None:
        """Record the decision made for `view`."""

    def follow(self) -> None:
        """Record changes of jobs and pilots since the last call. Raises `OSError`."""


class JobRecorder(Protocol):
    """Records in the history of a run what becomes of single jobs."""

    def again(self, key: str, why: str) -> None:
        """Record why a job of the previous session is resubmitted under this key."""

    def ended(self, jobs: Iterable[Job]) -> None:
        """Record the ends of jobs."""


class Display(Protocol):
    """What the user sees of a run."""

    def show(self, progress: Progress) -> None:
        """Display progress."""

    def call_person(self, why: str) -> None:
        """Notify the user that the run does not continue by itself, and why."""
