"""pyglidein: a pilot for each idle job, of the job's shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...model.resources import JobClass, PilotType
from ...scaling.planner.feasibility import fits
from .base import NOTHING, Ask, Look, Rule, Verdict


@dataclass
class Pyglidein(Rule):
    """`limit = min(limit_per_submit, max_total_jobs - running, max(max_idle_jobs - idle, 0))`, then
    for each shape `min(count, limit)` pilots, requested again in each cycle while jobs are idle.

    Source: WIPACrepo/pyglidein 68262edee322, client.py:196-198 and etc/client_defaults.cfg:9-11
    (limits 50, 1000 and 1000; every 300 s). Shapes: the job's (submit.py:318-324), here the
    smallest offer that holds it; `whole` is its mode of one fixed shape for all.
    """

    whole: bool = False
    max_idle: int = 1000
    per_submit: int = 50
    max_total: int = 1000
    cycle_s: float = 300.0
    noclaim_s: float = 1200.0
    _next_s: float = field(default=-math.inf, init=False)

    def decide(self, look: Look) -> Verdict:
        release = tuple(look.idle(self.noclaim_s))
        if look.now_s < self._next_s:
            return Verdict(release=release)
        self._next_s = look.now_s + self.cycle_s
        limit = min(
            self.per_submit,
            self.max_total - len(look.booting) - len(look.ready),
            max(self.max_idle - len(look.pending), 0),
        )
        asks = []
        for job_class, jobs in sorted(look.snapshot.waiting.items()):
            offer = self._offer(job_class, look)
            count = min(jobs, limit)
            if offer is None or count <= 0:
                continue
            asks.append(Ask(offer, min(self.walltime_s, offer.walltime_max_s), count))
            limit -= count
        return Verdict(tuple(asks), release) if asks or release else NOTHING

    def _offer(self, job_class: JobClass, look: Look) -> PilotType | None:
        offers = (self.offer,) if self.whole else look.policy.offers
        able = [offer for offer in offers if fits(job_class, offer, look.policy)]
        return min(able, key=lambda offer: offer.shape, default=None)
