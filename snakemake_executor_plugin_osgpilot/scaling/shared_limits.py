"""What the user allows a workflow, shared by its runs: one for each project and pilot sharing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from snakemake_executor_plugin_osgpilot.model.plan import Plan
from snakemake_executor_plugin_osgpilot.model.resources import Policy
from snakemake_executor_plugin_osgpilot.model.snapshot import Commitment, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import committed
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan


@dataclass(eq=False)
class QuotaShare:
    """What one run takes of the limits: as it was last seen, and what was decided since."""

    allowance: SharedQuota
    taken: Commitment = field(default_factory=Commitment)
    queued: int = 0

    def plan(self, snapshot: Snapshot, estimates: Estimates, policy: Policy) -> Plan:
        """Return the plan for a run, with what the others take of the limits."""
        with self.allowance.lock:
            elsewhere = sum((share.taken for share in self._others), Commitment())
            decided = plan(replace(snapshot, elsewhere=elsewhere), estimates, policy)
            self.taken = committed(snapshot, decided, policy)
        return decided

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        """Return how many of `unsent` jobs a run with `queued` ones may submit now.

        `ask` is given these two and how many jobs the other runs have in the queue.
        """
        with self.allowance.lock:
            room = ask(queued, unsent, sum(share.queued for share in self._others))
            self.queued = queued + min(room, unsent)
        return room

    @property
    def _others(self) -> list[QuotaShare]:
        return [share for share in self.allowance.shares if share is not self]


class SharedQuota:
    """The shares of all runs of one workflow. They decide one after the other, so that two of them
    never take the same room.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shares: list[QuotaShare] = []

    def share(self) -> QuotaShare:
        """Return the share of one more run."""
        share = QuotaShare(self)
        with self.lock:
            self.shares.append(share)
        return share
