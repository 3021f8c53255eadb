"""Workflow-wide quotas, shared by its runs: one run for each project and pilot sharing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from ..model.plan import Plan
from ..model.resources import Policy
from ..model.snapshot import Commitment, Snapshot
from .planner.estimates import Estimates
from .planner.limits import committed
from .ports import Planner


@dataclass(eq=False)
class QuotaShare:
    """One run's use of the limits: as last observed, plus the last decision."""

    quota: SharedQuota
    taken: Commitment = field(default_factory=Commitment)
    queued: int = 0

    def plan(
        self, planner: Planner, snapshot: Snapshot, estimates: Estimates, policy: Policy
    ) -> Plan:
        """Return the plan for a run, given the use of the limits by the others."""
        with self.quota.lock:
            elsewhere = sum((share.taken for share in self._others), Commitment())
            decided = planner(replace(snapshot, elsewhere=elsewhere), estimates, policy)
            self.taken = committed(snapshot, decided, policy)
        return decided

    def room(self, queued: int, unsent: int, ask: Callable[[int, int, int], int]) -> int:
        """Return the number of `unsent` jobs that a run with `queued` ones may submit now.

        `ask` gets these two and the number of jobs that the other runs have in the queue.
        """
        with self.quota.lock:
            room = ask(queued, unsent, sum(share.queued for share in self._others))
            self.queued = queued + min(room, unsent)
        return room

    @property
    def _others(self) -> list[QuotaShare]:
        return [share for share in self.quota.shares if share is not self]


class SharedQuota:
    """The shares of all runs of one workflow. They plan one after the other, so that no two of them
    use the same quota.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.shares: list[QuotaShare] = []

    def share(self) -> QuotaShare:
        """Return the share of a new run."""
        share = QuotaShare(self)
        with self.lock:
            self.shares.append(share)
        return share
