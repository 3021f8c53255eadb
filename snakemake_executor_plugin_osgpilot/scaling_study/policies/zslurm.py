"""zslurm's automatic growth: a fifth of what is missing, then a long pause."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ...model.resources import Pilot
from .base import Look, Rule, Verdict, cores_in

CONSOLIDATE_AFTER_S, CONSOLIDATE_EVERY_S, RUNS_AT_LEAST_S = 120.0, 180.0, 300.0
"""Hysteresis, pause and youth of an engine that is phased out (zslurm:122-137)."""


@dataclass
class Zslurm(Rule):
    """`ceil(share · n)` engines more, where n is how many engines `pending - 1.1 · free - queued`
    cores fill, if that is more than one; then nothing for `pause_s`. Idle engines are phased out.

    Source: holstegelab/zslurm 286adb64e66e, zslurm:3132-3316 (`compute_autogrow_plan`, 0.2 and
    500 s, at most 40 engines) and 3400-3542 (autoconsolidate). The first engine is started as soon
    as there are jobs; there a user does that by hand.
    """

    share: float = 0.2
    pause_s: float = 500.0
    engines_max: int = 40
    _grow_s: float = field(default=-math.inf, init=False)
    _shrink_s: float = field(default=-math.inf, init=False)

    def decide(self, look: Look) -> Verdict:
        release = self._phased_out(look)
        if not look.live:
            return Verdict(self.ask(1))
        if look.now_s < self._grow_s:
            return Verdict(release=release)
        coming = len(look.pending) + len(look.booting)
        size = self.offer.shape.cores
        missing = cores_in(look.waiting(self.offer)) - 1.1 * look.free_cores - coming * size
        engines = missing / size
        if engines <= 1:
            return Verdict(release=release)
        self._grow_s = look.now_s + self.pause_s
        count = min(math.ceil(self.share * engines), self.engines_max - len(look.live))
        return Verdict(self.ask(count), release)

    def _phased_out(self, look: Look) -> tuple[Pilot, ...]:
        if look.now_s < self._shrink_s:
            return ()
        old = [
            p
            for p in look.idle(CONSOLIDATE_AFTER_S)
            if p.started_s is not None and look.now_s - p.started_s >= RUNS_AT_LEAST_S
        ]
        if old:
            self._shrink_s = look.now_s + CONSOLIDATE_EVERY_S
        return tuple(old)
