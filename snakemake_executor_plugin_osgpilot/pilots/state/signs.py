"""What is learned of pilots: signs of life besides Slurm's view, and how they moved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from snakemake_executor_plugin_osgpilot.model.intervals import ASK_POOL_EVERY_S
from snakemake_executor_plugin_osgpilot.model.resources import Pilot

NEWS_S = 2 * ASK_POOL_EVERY_S
"""How long the pool's word for a pilot counts when Slurm does not show it."""


@dataclass(frozen=True)
class PilotObservations:
    """What is known of pilots besides Slurm's view.

    `served` has those on which a job was started and when the first was, `known` those that the
    pool knew at `asked_s` (None: the pool has not answered). `jobs_wait` says whether there are
    jobs for more.
    """

    served: Mapping[str, float] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    asked_s: float | None = None
    jobs_wait: bool = False

    def shows(self, name: str, now_s: float) -> bool:
        """Whether the pool has a pilot, as it told not long ago."""
        is_news = self.asked_s is not None and now_s - self.asked_s <= NEWS_S
        return is_news and name in self.known


@dataclass(frozen=True)
class StateChange:
    """A pilot that changed its state."""

    before: Pilot
    after: Pilot
