"""Which pilots were told to leave as soon as they started, as far as one can know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.model.intervals import LOOK_EVERY_S
from snakemake_executor_plugin_osgpilot.model.resources import Pilot

HEARD_FOR_S = 2 * LOOK_EVERY_S
"""What pilots are told is renewed at every look, and valid until the next."""

LEAVES_WITHIN_S = 60.0
"""A pilot that is told to leave when it starts is gone by then."""

CLOCKS_DIFFER_S = 1.0
"""Slurm's times are whole seconds."""


@dataclass(frozen=True)
class Told:
    """From when to when pilots of an offer were told to leave, the last time, by offer."""

    periods_s: Mapping[str, tuple[float, float]]

    def again(self, offers: Iterable[str], now_s: float) -> Told:
        """Return this after pilots of `offers` are told now."""
        periods_s = dict(self.periods_s)
        for offer in offers:
            since_s, last_s = periods_s.get(offer, (now_s, now_s))
            goes_on = now_s - last_s <= HEARD_FOR_S
            periods_s[offer] = (since_s if goes_on else now_s, now_s)
        return Told(periods_s)

    def heard_by(self, pilot: Pilot, now_s: float) -> bool:
        """Whether a pilot that ended in order left because it was told to."""
        if pilot.offer not in self.periods_s:
            return False
        since_s, last_s = self.periods_s[pilot.offer]
        started_s = now_s if pilot.started_s is None else pilot.started_s
        ended_s = now_s if pilot.ended_s is None else pilot.ended_s
        was_told = since_s - CLOCKS_DIFFER_S <= started_s <= last_s + HEARD_FOR_S
        return was_told and ended_s - started_s <= LEAVES_WITHIN_S
