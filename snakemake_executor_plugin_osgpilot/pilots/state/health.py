"""Health of pilot types and nodes, derived from pilots that ran no job."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import inf

from ...model.intervals import LOOK_EVERY_S
from ...model.resources import Pilot, PilotState
from ...model.snapshot import Gate
from .circuit_breaker import (
    BAD_NODES_MAX,
    CLOSED,
    EXCUSED,
    NODE_STRIKES_MAX,
    Backoff,
    Breaker,
    Risk,
    Strikes,
)

NOTICE_VALID_S = 2 * LOOK_EVERY_S
"""Notices are renewed at every poll of Slurm, and valid until the next."""

LEAVES_WITHIN_S = 60.0
"""A pilot that finds a notice when it starts has ended by then."""

CLOCKS_DIFFER_S = 1.0
"""Slurm's times have a resolution of one second."""


@dataclass(frozen=True)
class LeaveNotices:
    """The last period in which new pilots of a type had notice to end at once, by type."""

    periods_s: Mapping[str, tuple[float, float]]

    def renewed(self, offers: Iterable[str], now_s: float) -> LeaveNotices:
        """Return the notices after giving notice to pilots of `offers` now."""
        periods_s = dict(self.periods_s)
        for offer in offers:
            since_s, last_s = periods_s.get(offer, (now_s, now_s))
            continues = now_s - last_s <= NOTICE_VALID_S
            periods_s[offer] = (since_s if continues else now_s, now_s)
        return LeaveNotices(periods_s)

    def explains(self, pilot: Pilot, now_s: float) -> bool:
        """Return True if a pilot ended normally because of a notice."""
        if pilot.offer not in self.periods_s:
            return False
        since_s, last_s = self.periods_s[pilot.offer]
        started_s = now_s if pilot.started_s is None else pilot.started_s
        ended_s = now_s if pilot.ended_s is None else pilot.ended_s
        had_notice = since_s - CLOCKS_DIFFER_S <= started_s <= last_s + NOTICE_VALID_S
        return had_notice and ended_s - started_s <= LEAVES_WITHIN_S


class Health:
    """Circuit breakers of the pilot types, strikes against nodes, and cordoned pilots.

    A type has a breaker of its own from the first of its pilots that ran a job until that opens.
    All others share one: pilots fail to start because of the site more often than of the type.
    `chance` in [0.5, 1.5] is jitter for the probes of many users after an outage.
    """

    def __init__(self, offers: Iterable[str], chance: Callable[[], float]) -> None:
        self._chance = chance
        self._offers = dict.fromkeys(offers)
        self._own: dict[str, Breaker] = {}
        self._shared = CLOSED
        self._failed_s: dict[str, float] = {}
        self._failed_on: set[str] = set()
        self._notices = LeaveNotices({})
        self._pauses: dict[str, Backoff] = {}
        self._strikes = Strikes({})
        self.blocked: dict[str, str] = {}

    def know(self, offers: Iterable[str]) -> None:
        """Add types of pilots that were launched with an earlier version of the site file."""
        self._offers |= dict.fromkeys(offers)

    def gates(self, risk: Risk, now_s: float) -> dict[str, Gate]:
        """Return the launches allowed now, by failing pilot type."""
        gates = {offer: self._gate(offer, risk, now_s) for offer in self._offers}
        known = {offer: gate for offer, gate in gates.items() if gate is not None}
        for offer, pause in self._pauses.items():
            here = known.get(offer, pause.gate(now_s))
            known[offer] = min(here, pause.gate(now_s), key=lambda gate: gate.launches_max)
        return known

    def excluded(self, now_s: float) -> tuple[str, ...]:
        """Return the nodes on which pilots failed repeatedly."""
        return self._strikes.excluded(now_s)

    def held_back(self, risk: Risk, now_s: float) -> tuple[str, ...]:
        """Return the types of which a pilot that starts now should end at once.

        Such an end does not count against the type.
        """
        if self._outlived(risk, now_s):
            return ()
        starting = self._unproven(risk.starting)
        gates = {o: self._shared.gate(now_s, starting, self._turn(o)) for o in self._shares()}
        held_back = sorted(o for o, gate in gates.items() if gate and gate.launches_max <= 0)
        self._notices = self._notices.renewed(held_back, now_s)
        return tuple(held_back)

    def _gate(self, offer: str, risk: Risk, now_s: float) -> Gate | None:
        if offer in self._own:
            risked = risk.waiting.get(offer, 0) + risk.starting.get(offer, 0)
            return self._own[offer].gate(now_s, risked)
        if self._outlived(risk, now_s):
            return None
        risked = self._unproven(risk.starting)
        if self._shared.opened_s is None:
            risked += self._unproven(risk.waiting)
        else:
            # other pending ones will end at once, or take their turn
            risked += risk.waiting.get(offer, 0)
        return self._shared.gate(now_s, risked, self._turn(offer))

    def _outlived(self, risk: Risk, now_s: float) -> bool:
        """Return True if a probe of the shared breaker has passed the point where others failed."""
        shares = self._shares()
        starts_s = (at_s for offer in shares for at_s in risk.starts_s.get(offer, ()))
        return self._shared.outlived(starts_s, now_s)

    def _shares(self) -> set[str]:
        return self._offers.keys() - self._own.keys()

    def _unproven(self, pilots: Mapping[str, int]) -> int:
        return sum(count for offer, count in pilots.items() if offer not in self._own)

    def _turn(self, offer: str) -> float:
        """Return a share that is larger for types that failed later, so that all are probed."""
        failed_s = self._failed_s.get(offer, -inf)
        shares = self._shares()
        return sum(self._failed_s.get(o, -inf) < failed_s for o in shares) / len(shares)

    def block(self, pilot: Pilot, why: str, now_s: float) -> None:
        """Accept no more jobs on `pilot`, and no more pilots on its node for a while."""
        if pilot.name not in self.blocked:
            self.blocked[pilot.name] = f"{why} (node {pilot.node})" if pilot.node else why
            for _ in range(NODE_STRIKES_MAX):
                self._strikes = self._strikes.struck(pilot.node, now_s)

    def forgive_nodes(self) -> None:
        """Exclude no node any more."""
        self._strikes = Strikes({})

    def may_start(self, offer: str, now_s: float) -> bool:
        """Return True if a pilot of this type may be submitted now."""
        pause = self._pauses.get(offer)
        return not self._breaker(offer).permanent and (pause is None or now_s >= pause.until_s)

    @property
    def unavailable(self) -> dict[str, str]:
        """The types of which no pilot can be started any more, each with the reason."""
        causes = {offer: self._failure_cause(offer) for offer in self._offers}
        return {offer: cause for offer, cause in causes.items() if cause}

    def _failure_cause(self, offer: str) -> str:
        breaker = self._breaker(offer)
        if breaker.permanent:
            return breaker.cause
        pause = self._pauses.get(offer)
        return pause.cause if pause and pause.exhausted else ""

    def served(self, offer: str) -> None:
        """Record that a pilot of `offer` ran a job: reset earlier failures."""
        if offer not in self._own:
            # the site works; other types that fail will show it again
            self._shared = CLOSED
        self._own[offer] = CLOSED
        self._failed_on = set()

    def refused(self, offer: str, now_s: float, why: str) -> None:
        """Record that Slurm permanently rejected a pilot of `offer`."""
        self._own[offer] = CLOSED.refused(now_s, why)

    def put_off(self, offer: str, now_s: float, why: str) -> None:
        """Record that Slurm temporarily rejected a pilot of `offer`."""
        pause = self._pauses.get(offer, Backoff())
        self._pauses[offer] = pause.again(now_s, why, chance=self._chance())

    def accepted(self, offer: str) -> None:
        """Record that Slurm accepted a pilot of `offer`."""
        self._pauses.pop(offer, None)

    def judge(self, pilot: Pilot, jobs_wait: bool, now_s: float) -> None:
        """Count the end of a pilot that ran no job against its type and node, if it failed.

        It also failed if it ended idle while jobs were waiting: something prevents the match. Ends
        caused by Slurm or by another user's priority do not count.
        """
        if pilot.failure in EXCUSED:
            return
        if pilot.state is PilotState.FAILED or pilot.failure:
            cause = f"{pilot.failure or 'failed'} on {pilot.node}"
        elif self._notices.explains(pilot, now_s):
            return
        elif pilot.state is PilotState.DONE and jobs_wait and pilot.unneeded_since_s is None:
            cause = (
                "ended without a job although jobs wait; ask HTCondor why: condor_q -better-analyze"
            )
        else:
            return
        self._strikes = self._strikes.struck(pilot.node, now_s)
        self._failed_on |= {pilot.node} - {""}
        self._failed_s[pilot.offer] = now_s
        self._count(pilot.offer, cause, _lasted_s(pilot), now_s)

    def _count(self, offer: str, cause: str, lasted_s: float, now_s: float) -> None:
        """Count one more failure of `offer`, and of all types that share its breaker."""
        before = self._breaker(offer)
        if before.permanent:
            return
        breaker = before.failed(now_s, cause, chance=self._chance(), lasted_s=lasted_s)
        if offer not in self._own:
            self._shared = breaker
        elif breaker.opened_s is None:
            self._own[offer] = breaker
        else:
            del self._own[offer]
            if self._shared.opened_s is None:
                self._shared = breaker
        if breaker.opened_s is not None and len(self._failed_on) > BAD_NODES_MAX:
            # failures everywhere are not caused by a node
            self.forgive_nodes()

    def _breaker(self, offer: str) -> Breaker:
        return self._own.get(offer, self._shared)


def _lasted_s(pilot: Pilot) -> float:
    """Return the time from a pilot's start to its end; 0 if these are not known."""
    if pilot.started_s is None or pilot.ended_s is None:
        return 0.0
    return max(0.0, pilot.ended_s - pilot.started_s)
