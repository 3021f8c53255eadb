"""What pilots that were of no use say about their offer and their node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from snakemake_executor_plugin_osgpilot.core.breaker import (
    CLOSED,
    EXCUSED,
    NODE_STRIKES_MAX,
    Breaker,
    Strikes,
)
from snakemake_executor_plugin_osgpilot.core.model import Pilot, PilotState
from snakemake_executor_plugin_osgpilot.core.pause import Pause
from snakemake_executor_plugin_osgpilot.core.snapshot import Gate


class Health:
    """The breakers of a site's offers, the strikes against its nodes, and pilots to be shunned.

    `chance` in [0.5, 1.5] spreads the tries of many users after an outage.
    """

    def __init__(self, offers: Iterable[str], chance: Callable[[], float]) -> None:
        self._chance = chance
        self._breakers: dict[str, Breaker] = dict.fromkeys(offers, CLOSED)
        self._pauses: dict[str, Pause] = {}
        self._strikes = Strikes({})
        self.shunned: dict[str, str] = {}

    def know(self, offers: Iterable[str]) -> None:
        """Take in offers of pilots that were started when the site file was another one."""
        self._breakers = dict.fromkeys(offers, CLOSED) | self._breakers

    def gates(self, live: Mapping[str, int], now_s: float) -> dict[str, Gate]:
        """Return what may be started, by offer in trouble; `live` counts its pilots under way."""
        gates = {o: b.gate(now_s, live.get(o, 0)) for o, b in self._breakers.items()}
        known = {offer: gate for offer, gate in gates.items() if gate is not None}
        for offer, pause in self._pauses.items():
            here = known.get(offer, pause.gate(now_s))
            known[offer] = min(here, pause.gate(now_s), key=lambda gate: gate.launches_max)
        return known

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

    def may_start(self, offer: str, now_s: float) -> bool:
        """Whether Slurm may be asked for a pilot of this offer now."""
        pause = self._pauses.get(offer)
        return not self._breakers[offer].permanent and (pause is None or now_s >= pause.until_s)

    @property
    def hopeless(self) -> dict[str, str]:
        """The offers of which no pilot can be started any more, each with the reason."""
        causes = {offer: self._why_given_up(offer) for offer in self._breakers}
        return {offer: cause for offer, cause in causes.items() if cause}

    def _why_given_up(self, offer: str) -> str:
        if self._breakers[offer].permanent:
            return self._breakers[offer].cause
        pause = self._pauses.get(offer)
        return pause.cause if pause and pause.hopeless else ""

    def served(self, offer: str) -> None:
        """Note that a pilot of `offer` was of use: what was before is forgiven."""
        self._breakers[offer] = CLOSED

    def refused(self, offer: str, now_s: float, why: str) -> None:
        """Note that Slurm refused a pilot of `offer` for good."""
        self._breakers[offer] = self._breakers[offer].refused(now_s, why)

    def put_off(self, offer: str, now_s: float, why: str) -> None:
        """Note that Slurm refused a pilot of `offer` for now."""
        pause = self._pauses.get(offer, Pause())
        self._pauses[offer] = pause.again(now_s, why, chance=self._chance())

    def accepted(self, offer: str) -> None:
        """Note that Slurm took a pilot of `offer`."""
        self._pauses.pop(offer, None)

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
        breaker = self._breakers[pilot.offer].failed(now_s, cause, chance=self._chance())
        self._breakers[pilot.offer] = breaker
        if breaker.opened_s is not None:
            # where all fail, no node is to blame
            self.forgive_nodes()
