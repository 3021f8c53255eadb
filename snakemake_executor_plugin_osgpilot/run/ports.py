"""Interfaces of the lease and the history as the controller uses them."""

from __future__ import annotations

from typing import Protocol

from ..jobs.state.view import View
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
