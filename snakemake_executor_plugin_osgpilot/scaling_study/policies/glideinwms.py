"""glideinWMS: a pressure of queued pilots that follows the idle jobs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .base import Look, Rule, Verdict, pilots_for

RUNNING_FRACTION = 1.15
"""Ratio of running pilots to those that jobs need (frontend template, `fraction_running`)."""


@dataclass
class GlideinWMS(Rule):
    """Keeps `(idle jobs - idle slots) / attenuation` pilots queued, in pilots' worth of cores, at
    least one, up to 1.15 times what jobs need in all. Queued ones go after 5 cycles without idle
    jobs, idle ones after 10.

    Source: glideinWMS/glideinwms efdc530a56f6, frontend/glideinFrontendElement.py:736-751,
    1490-1630 (`compute_glidein_min_idle`), 1695-1728 (maximum), 1899-1975 (removal) and
    factory/glideFactoryLib.py:844 (`add = req_min_idle - q_idle`).
    """

    attenuation: float = 3.0
    queued_max: int = 100
    cycle_s: float = 60.0
    _next_s: float = field(default=-math.inf, init=False)
    _quiet: int = field(default=0, init=False)

    def decide(self, look: Look) -> Verdict:
        if look.now_s < self._next_s:
            return Verdict()
        self._next_s = look.now_s + self.cycle_s
        waiting = look.waiting(self.offer)
        if not waiting:
            self._quiet += 1
            gone = look.pending if self._quiet >= 5 else ()
            idle = look.idle(0.0) if self._quiet >= 10 else ()
            return Verdict(release=(*gone, *idle))
        self._quiet = 0
        idle_slots = look.free_cores / self.offer.shape.cores
        idle_jobs = max(pilots_for(waiting, self.offer) - idle_slots, 0.0)
        most = idle_jobs + len(look.ready) * RUNNING_FRACTION + 1
        wanted = min(idle_jobs, self.queued_max) / self.attenuation
        wanted = max(1.0, wanted) if idle_jobs > 0 else 0.0
        count = min(math.ceil(wanted) - len(look.pending), most - len(look.live))
        return Verdict(self.ask(count))
