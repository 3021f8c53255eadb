"""What the controller needs from the lease and the history."""

from __future__ import annotations

from typing import Protocol

from snakemake_executor_plugin_osgpilot.jobs.state.view import View
from snakemake_executor_plugin_osgpilot.scaling.autoscaler import ScalingDecision


class LeaseWriter(Protocol):
    """Where a run is written down, and where pilots see that it is alive."""

    def write(self) -> None:
        """Write the record of the run as it is now."""

    def keep_alive(self) -> None:
        """Tell pilots that have not started yet whether they are still wanted."""


class Recorder(Protocol):
    """Where what happens is kept for those who look at it."""

    def planned(self, view: View, decision: ScalingDecision) -> None:
        """Record the decision made for `view`."""

    def follow(self) -> None:
        """Keep what happened to jobs and pilots since the last call. Raises `OSError`."""
