"""HyperQueue's automatic allocation: how many workers would its scheduler load?"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...model.resources import PilotState
from ...model.snapshot import Snapshot
from ...scaling.planner.bin_packing import fill, open_pilots
from .base import Look, Rule, Verdict

DELAYS_S = (0.0, 60.0, 900.0, 1800.0, 3600.0)
"""Waits after so many failures in a row (autoalloc/config.rs:34-52)."""

FAILURES_MAX = 3
"""Failed allocations in a row that pause the queue, until somebody resumes it (the same)."""


@dataclass
class HyperQueue(Rule):
    """Work that does not fit on running workers is placed on up to `backlog` workers that do not
    exist; as many as would be loaded are asked for, less those in the queue. One probe until the
    first worker has shown what it has.

    Source: It4innovations/hyperqueue 680857bdfa45, autoalloc/process.rs:500-575 (permit) and
    tako scheduler/query.rs:12-131 (laying out, a MILP there, first fit by decreasing size here),
    autoalloc/state.rs:429-543 (limiter). Workers end after `idle_s` without a task.
    """

    backlog: int = 1
    workers_max: int = 1000
    idle_s: float = 300.0
    _failed: int = field(default=0, init=False)
    _last_failed_s: float = field(default=-math.inf, init=False)

    def decide(self, look: Look) -> Verdict:
        release = tuple(look.idle(self.idle_s))
        self._note_failures(look.snapshot)
        held = look.now_s < self._last_failed_s + DELAYS_S[min(self._failed, len(DELAYS_S) - 1)]
        if self._failed >= FAILURES_MAX or held:
            return Verdict(release=release)
        left, _ = fill(look.waiting(self.offer), look.rooms)
        opened = open_pilots(left, lambda _: self.offer, look.policy.life_taken_s)
        loaded = sum(len(room.pilots) for room in opened)
        known = any(pilot.state is PilotState.READY for pilot in look.snapshot.pilots)
        permitted = self.backlog if known or self._seen_any(look.snapshot) else 1
        queued = len(look.pending)
        count = min(loaded, permitted) - queued
        return Verdict(self.ask(min(count, self.workers_max - len(look.live))), release)

    def _note_failures(self, snapshot: Snapshot) -> None:
        """Count the failures since the last allocation that was of use."""
        over = [p for p in snapshot.pilots if p.state is PilotState.FAILED]
        good_s = max(
            (p.since_s for p in snapshot.pilots if p.state in (PilotState.READY, PilotState.DONE)),
            default=-math.inf,
        )
        ends_s = [p.ended_s for p in over if p.ended_s is not None and p.ended_s > good_s]
        self._failed = len(ends_s)
        self._last_failed_s = max(ends_s, default=-math.inf)

    @staticmethod
    def _seen_any(snapshot: Snapshot) -> bool:
        return any(p.state in (PilotState.DRAINING, PilotState.DONE) for p in snapshot.pilots)
