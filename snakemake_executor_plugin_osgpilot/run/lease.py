"""What is written down about a run while it goes on: its record, and a sign of life for pilots."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict

from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.journal import run_folder as runs
from snakemake_executor_plugin_osgpilot.journal.run_folder import LEASE, RunFolder, Yardstick
from snakemake_executor_plugin_osgpilot.model.clock import Clock
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Pilot
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager
from snakemake_executor_plugin_osgpilot.scaling.autoscaler import Autoscaler

HELD_BACK = "held-back"
"""Offers, one a line, whose pilots are to leave at once when they start (see pilot.sh)."""


class LeaseKeeper:
    """Implements `ports.LeaseWriter` in a run's folder."""

    def __init__(
        self, folder: RunFolder, seat: RunIdentity, queue: JobManager, fleet: PilotManager,
        scaling: Autoscaler, clock: Clock, record: Callable[[Iterable[Pilot]], None] | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._seat = folder, seat
        self._queue, self._fleet, self._scaling = queue, fleet, scaling
        self._clock, self._record = clock, record
        self.critical_path_s = 0.0

    def keep_alive(self) -> None:
        """Renew the lease, and say which offers are held back."""
        held_back = self._fleet.held_back()
        text = "".join(f"{offer}\n" for offer in held_back)
        # for other starts in this folder, if pilots see another one
        (self._folder.path / LEASE).touch()
        # what is in the lease does not matter, but that it is new does
        self._fleet.write({HELD_BACK: text, LEASE: f"{self._clock.now_s():.0f}\n"})

    def write(self) -> None:
        """Write the record, and what is new about pilots into the journal."""
        if self._record:
            self._record(self._fleet.pilots)
        content = runs.record(
            self._seat,
            self._queue.rules(),
            self._fleet.pilots,
            self._yardstick(),
            self._clock.now_s(),
        )
        forecast = asdict(self._scaling.last.plan.forecast)
        # JSON has no infinity
        content["forecast"] = {k: v if math.isfinite(v) else None for k, v in forecast.items()}
        runs.write(self._folder, content)

    def _yardstick(self) -> Yardstick:
        policy = self._scaling.policy
        largest = max(offer.shape.cores for offer in policy.offers)
        cores = policy.pilots_max * largest
        return Yardstick(
            span_s=self._queue.span_s(),
            served_s=self._queue.served_s(),
            critical_path_s=self.critical_path_s,
            cores_max=cores if policy.cores_max is None else min(cores, policy.cores_max),
        )
