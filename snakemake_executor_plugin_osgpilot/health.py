"""What pilots that were of no use say about their offer and their node."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping

from snakemake_executor_plugin_osgpilot.core.breaker import (
    CLOSED,
    EXCUSED,
    NODE_STRIKES_MAX,
    Breaker,
    Strikes,
)
from snakemake_executor_plugin_osgpilot.core.model import Pilot, PilotState
from snakemake_executor_plugin_osgpilot.core.snapshot import Gate


class Health:
    """The breakers of a site's offers, the strikes against its nodes, and pilots to be shunned."""

    def __init__(self, offers: Iterable[str]) -> None:
        self._breakers: dict[str, Breaker] = dict.fromkeys(offers, CLOSED)
        self._strikes = Strikes({})
        self.shunned: dict[str, str] = {}

    def know(self, offers: Iterable[str]) -> None:
        """Take in offers of pilots that were started when the site file was another one."""
        self._breakers = dict.fromkeys(offers, CLOSED) | self._breakers

    def gates(self, live: Mapping[str, int], now_s: float) -> dict[str, Gate]:
        """Return what may be started, by offer in trouble; `live` counts its pilots under way."""
        gates = {o: b.gate(now_s, live.get(o, 0)) for o, b in self._breakers.items()}
        return {offer: gate for offer, gate in gates.items() if gate is not None}

    def excluded(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes on which pilots failed too often."""
        return self._strikes.excluded(now_s)

    def held_back(self, now_s: float) -> tuple[str, ...]:
        """Return the offers of which a pilot that starts now should leave at once."""
        return tuple(sorted(o for o, b in self._breakers.items() if now_s < b.probe_s))

    def shun(self, pilot: Pilot, why: str, now_s: float) -> None:
        """Have no more jobs on `pilot`, and no more pilots on its node for a while."""
        if pilot.name not in self.shunned:
            self.shunned[pilot.name] = why
            for _ in range(NODE_STRIKES_MAX):
                self._strikes = self._strikes.struck(pilot.node, now_s)

    def forgive_nodes(self) -> None:
        """Leave out no node any more."""
        self._strikes = Strikes({})

    def is_permanent(self, offer: str) -> bool:
        """Whether Slurm refuses this offer for good."""
        return self._breakers[offer].permanent

    @property
    def hopeless(self) -> dict[str, str]:
        """The offers of which no pilot can be started any more, each with the reason."""
        return {o: b.cause for o, b in self._breakers.items() if b.permanent}

    def served(self, offer: str) -> None:
        """Note that a pilot of `offer` was of use: what was before is forgiven."""
        self._breakers[offer] = CLOSED

    def refused(self, offer: str, now_s: float, why: str) -> None:
        """Note that Slurm refused a pilot of `offer` for good."""
        self._breakers[offer] = self._breakers[offer].refused(now_s, why)

    def judge(
        self, pilot: Pilot, jobs_wait: bool, log_tail: Callable[[], str], now_s: float
    ) -> None:
        """Hold it against offer and node if a pilot that never served ended as it should not.

        That is if it failed, or if it found nothing to do while jobs were waiting: something keeps
        the two apart. What Slurm or another user's priority did to it is excused.
        """
        if pilot.failure in EXCUSED:
            return
        if pilot.state is PilotState.FAILED or pilot.failure:
            cause = f"{pilot.failure or 'failed'} on {pilot.node}, said: {log_tail()}"
        elif pilot.offer in self.held_back(now_s):
            # it left because we said so
            return
        elif pilot.state is PilotState.DONE and jobs_wait and pilot.unneeded_since_s is None:
            cause = (
                "left without a job although jobs wait; ask HTCondor why: condor_q -better-analyze"
            )
        else:
            return
        self._strikes = self._strikes.struck(pilot.node, now_s)
        # spreads the tries of many users after an outage; no decision depends on it
        chance = random.uniform(0.5, 1.5)
        self._breakers[pilot.offer] = self._breakers[pilot.offer].failed(
            now_s, cause, chance=chance
        )
        if self._breakers[pilot.offer].opened_s is not None:
            # where all fail, no node is to blame
            self.forgive_nodes()
