"""What pilots that were of no use say about their offer and their node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf

from snakemake_executor_plugin_osgpilot.model.intervals import LOOK_EVERY_S
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import (
    BAD_NODES_MAX,
    CLOSED,
    EXCUSED,
    NODE_STRIKES_MAX,
    Backoff,
    Breaker,
    Risk,
    Strikes,
)

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


class Health:
    """The breakers of a site's offers, the strikes against its nodes, and pilots to be shunned.

    An offer has a breaker of its own from the first of its pilots that was of use until that opens.
    All others share one: what keeps pilots from starting is more often the site than the offer.
    `chance` in [0.5, 1.5] spreads the tries of many users after an outage.
    """

    def __init__(self, offers: Iterable[str], chance: Callable[[], float]) -> None:
        self._chance = chance
        self._offers = dict.fromkeys(offers)
        self._own: dict[str, Breaker] = {}
        self._shared = CLOSED
        self._failed_s: dict[str, float] = {}
        self._failed_on: set[str] = set()
        self._told = Told({})
        self._pauses: dict[str, Backoff] = {}
        self._strikes = Strikes({})
        self.shunned: dict[str, str] = {}

    def know(self, offers: Iterable[str]) -> None:
        """Take in offers of pilots that were started when the site file was another one."""
        self._offers |= dict.fromkeys(offers)

    def gates(self, risk: Risk, now_s: float) -> dict[str, Gate]:
        """Return what Slurm may be asked for, by offer in trouble."""
        gates = {offer: self._gate(offer, risk, now_s) for offer in self._offers}
        known = {offer: gate for offer, gate in gates.items() if gate is not None}
        for offer, pause in self._pauses.items():
            here = known.get(offer, pause.gate(now_s))
            known[offer] = min(here, pause.gate(now_s), key=lambda gate: gate.launches_max)
        return known

    def excluded(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes on which pilots failed too often."""
        return self._strikes.excluded(now_s)

    def held_back(self, risk: Risk, now_s: float) -> tuple[str, ...]:
        """Return the offers of which a pilot that starts now should leave at once.

        That one left because it was told so is not held against its offer.
        """
        starting = self._unproven(risk.starting)
        gates = {o: self._shared.gate(now_s, starting, self._turn(o)) for o in self._shares()}
        held_back = sorted(o for o, gate in gates.items() if gate and gate.launches_max <= 0)
        self._told = self._told.again(held_back, now_s)
        return tuple(held_back)

    def _gate(self, offer: str, risk: Risk, now_s: float) -> Gate | None:
        if offer in self._own:
            risked = risk.waiting.get(offer, 0) + risk.starting.get(offer, 0)
            return self._own[offer].gate(now_s, risked)
        risked = self._unproven(risk.starting)
        if self._shared.opened_s is None:
            risked += self._unproven(risk.waiting)
        else:
            # others that wait will leave at once, or take their turn
            risked += risk.waiting.get(offer, 0)
        return self._shared.gate(now_s, risked, self._turn(offer))

    def _shares(self) -> set[str]:
        return self._offers.keys() - self._own.keys()

    def _unproven(self, pilots: Mapping[str, int]) -> int:
        return sum(count for offer, count in pilots.items() if offer not in self._own)

    def _turn(self, offer: str) -> float:
        """Return a share that is larger for offers that failed later, so that all are tried."""
        failed_s = self._failed_s.get(offer, -inf)
        shares = self._shares()
        return sum(self._failed_s.get(o, -inf) < failed_s for o in shares) / len(shares)

    def shun(self, pilot: Pilot, why: str, now_s: float) -> None:
        """Have no more jobs on `pilot`, and no more pilots on its node for a while."""
        if pilot.name not in self.shunned:
            self.shunned[pilot.name] = f"{why} (node {pilot.node})" if pilot.node else why
            for _ in range(NODE_STRIKES_MAX):
                self._strikes = self._strikes.struck(pilot.node, now_s)

    def forgive_nodes(self) -> None:
        """Leave out no node any more."""
        self._strikes = Strikes({})

    def may_start(self, offer: str, now_s: float) -> bool:
        """Whether Slurm may be asked for a pilot of this offer now."""
        pause = self._pauses.get(offer)
        return not self._breaker(offer).permanent and (pause is None or now_s >= pause.until_s)

    @property
    def hopeless(self) -> dict[str, str]:
        """The offers of which no pilot can be started any more, each with the reason."""
        causes = {offer: self._why_given_up(offer) for offer in self._offers}
        return {offer: cause for offer, cause in causes.items() if cause}

    def _why_given_up(self, offer: str) -> str:
        breaker = self._breaker(offer)
        if breaker.permanent:
            return breaker.cause
        pause = self._pauses.get(offer)
        return pause.cause if pause and pause.hopeless else ""

    def served(self, offer: str) -> None:
        """Note that a pilot of `offer` was of use: what was before is forgiven."""
        if offer not in self._own:
            # the site is not to blame; what is wrong with others will show again
            self._shared = CLOSED
        self._own[offer] = CLOSED
        self._failed_on = set()

    def refused(self, offer: str, now_s: float, why: str) -> None:
        """Note that Slurm refused a pilot of `offer` for good."""
        self._own[offer] = CLOSED.refused(now_s, why)

    def put_off(self, offer: str, now_s: float, why: str) -> None:
        """Note that Slurm refused a pilot of `offer` for now."""
        pause = self._pauses.get(offer, Backoff())
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
        elif self._told.heard_by(pilot, now_s):
            return
        elif pilot.state is PilotState.DONE and jobs_wait and pilot.unneeded_since_s is None:
            cause = (
                "left without a job although jobs wait; ask HTCondor why: condor_q -better-analyze"
            )
        else:
            return
        self._strikes = self._strikes.struck(pilot.node, now_s)
        self._failed_on |= {pilot.node} - {""}
        self._failed_s[pilot.offer] = now_s
        self._count(pilot.offer, cause, now_s)

    def _count(self, offer: str, cause: str, now_s: float) -> None:
        """Count one more failure against `offer`, and against all that share its breaker."""
        before = self._breaker(offer)
        if before.permanent:
            return
        breaker = before.failed(now_s, cause, chance=self._chance())
        if offer not in self._own:
            self._shared = breaker
        elif breaker.opened_s is None:
            self._own[offer] = breaker
        else:
            del self._own[offer]
            if self._shared.opened_s is None:
                self._shared = breaker
        if breaker.opened_s is not None and len(self._failed_on) > BAD_NODES_MAX:
            # where all fail, no node is to blame
            self.forgive_nodes()

    def _breaker(self, offer: str) -> Breaker:
        return self._own.get(offer, self._shared)
