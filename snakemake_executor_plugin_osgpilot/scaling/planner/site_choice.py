"""Choose the site of new pilots: expected time against price, and the shortest expected delay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...model.plan import Forecast
from ...model.resources import PilotType, Policy
from ...model.snapshot import Snapshot
from .estimates import Estimates


@dataclass(frozen=True)
class SiteChoice:
    """The sites as a snapshot shows them; `forecast` says how long there is work."""

    snapshot: Snapshot
    estimates: Estimates
    policy: Policy
    forecast: Forecast

    def best(self, candidates: list[PilotType]) -> list[PilotType]:
        """Return the candidates at the best of their sites, the first in `policy` of equal ones.

        It has the least T^(1-w)·C^w for `cost_weight` w, as in `target_size`: T is the delay until
        a pilot serves plus the time for the work in sight, C the price of a core-hour of jobs.
        """
        sites = {offer.site for offer in candidates}
        if len(sites) < 2:
            return candidates
        listed = [site for site in self.policy.sites if site in sites]
        best = min(listed, key=lambda site: self._cost([o for o in candidates if o.site == site]))
        return [offer for offer in candidates if offer.site == best]

    def _cost(self, offers: Sequence[PilotType]) -> float:
        weight = min(1.0, max(0.0, self.policy.cost_weight))
        time_s = max(1.0, self._delay_s(offers) + self.forecast.finish_s)
        price = min(offer.price * offer.charged_cores / offer.shape.cores for offer in offers)
        return float(time_s ** (1 - weight) * price**weight)

    def _delay_s(self, offers: Sequence[PilotType]) -> float:
        """Return the time until one more pilot serves: the shortest expected delay of queueing.

        The pilots in the queue of a site are expected to start one after the other. A wait is at
        least as long as the oldest of them has waited.
        """
        pilots = self.snapshot.pilots
        asked_s = [p.asked_s for p in pilots if p.site == offers[0].site and p.state.waits]
        age_s = self.snapshot.now_s - min(asked_s, default=self.snapshot.now_s)
        wait_s = max(age_s, min(self.estimates.wait_s(offer.name) for offer in offers))
        return (len(asked_s) + 1) * wait_s + self.estimates.boot_at_s(offers[0].site)
