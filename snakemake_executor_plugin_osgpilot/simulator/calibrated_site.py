"""A site that is like one where pilots were seen to come and jobs to start."""

from __future__ import annotations

from dataclasses import replace

from ..model.resources import PilotType
from .model import Site, Spread, Waits

ROUND_MIN_S = 1.0
"""A negotiator that has rounds more often than that costs a simulation time and nobody has one."""


def site_like(
    name: str, offers: tuple[PilotType, ...], wait: Spread, boot: Spread, match_s: float | None
) -> Site:
    """Return a site where a pilot waits and boots like that, whatever its size.

    A job that comes beside an empty pilot runs after `match_s` on average: it waits for half the
    time between two rounds of matchmaking. None stands for the usual time.
    """
    waits = Waits(*wait, cores_power=0.0, walltime_power=0.0)
    site = Site(name, offers, waits=waits, boot=boot)
    if match_s is None:
        return site
    start_s = min(site.start_s, match_s)
    return replace(site, start_s=start_s, negotiation_s=max(ROUND_MIN_S, 2 * (match_s - start_s)))
