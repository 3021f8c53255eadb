"""dask-jobqueue with distributed's adaptive scaling: work in seconds against a target."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .base import Look, Rule, Verdict, jobs_in


@dataclass
class DaskAdaptive(Rule):
    """`ceil(occupancy / target_duration)` threads, no more than tasks; fewer only after the same
    was said for `hold_s`, pending workers first, then idle ones.

    Source: dask/distributed 40fcd99a8cd4, scheduler.py:8838-8898 (`adaptive_target`) and
    deploy/adaptive_core.py:144-183 (`wait_count` times `interval`, 3 s by default); default target
    5 s. Durations are learned by task prefix, here as by us.
    """

    target_s: float = 5.0
    hold_s: float = 3.0
    _fewer_since_s: float | None = field(default=None, init=False)

    def decide(self, look: Look) -> Verdict:
        waiting, running = look.waiting(self.offer), look.running
        seconds = sum(
            jobs * look.estimates.runtime_s(job_class)
            for demand in (waiting, running)
            for job_class, jobs in demand.items()
        )
        threads = min(math.ceil(seconds / self.target_s), jobs_in(waiting) + jobs_in(running))
        target = math.ceil(threads / self.offer.shape.cores)
        surplus = len(look.live) - target
        if surplus <= 0:
            self._fewer_since_s = None
            return Verdict(self.ask(-surplus))
        if self._fewer_since_s is None:
            self._fewer_since_s = look.now_s
        if look.now_s - self._fewer_since_s < self.hold_s:
            return Verdict()
        coming = (*look.pending, *look.booting)
        return Verdict(release=(*coming, *look.idle(0.0))[:surplus])
