"""All pilots of a run; updated from observations of Slurm and the pool."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from ...model.resources import Pilot, PilotState
from ...model.snapshot import Gate
from .circuit_breaker import EXCUSED, Risk
from .health import Health
from .lifecycle import PilotObservations, Row, StateChange, advance, registered
from .log_ends import explained

BOOT_DEADLINE_S = 900.0
"""A pilot that has not registered by then never will: OSG_NODE_VALIDATED takes 1 to 8 minutes."""

UNREGISTERED = f"did not register with the pool within {BOOT_DEADLINE_S / 60:.0f} min"
UNTESTED = (
    f"its node did not pass the tests of the pilot container within {BOOT_DEADLINE_S / 60:.0f} min"
)
"""The failures of a pilot that passed the deadline."""


class PilotInventory:
    """All pilots of one run, by name, and the health of their types.

    `chance` returns jitter for the circuit breakers; `shared` means that others may use the pilots.
    """

    def __init__(
        self, offers: Iterable[str], chance: Callable[[], float], *, shared: bool = False
    ) -> None:
        self._pilots: dict[str, Pilot] = {}
        self._live: dict[str, Pilot] = {}
        self._served: frozenset[str] = frozenset()
        self._shared = shared
        self.health = Health(offers, chance)

    def __contains__(self, name: object) -> bool:
        return name in self._pilots

    def __getitem__(self, name: str) -> Pilot:
        return self._pilots[name]

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        """All pilots, including ended ones."""
        return tuple(self._pilots.values())

    @property
    def live(self) -> tuple[Pilot, ...]:
        """The pilots that have not ended."""
        return tuple(self._live.values())

    def put(self, pilot: Pilot) -> None:
        """Add `pilot`, or replace the one with its name."""
        self._pilots[pilot.name] = pilot
        if not pilot.state.over:
            self._live[pilot.name] = pilot
        else:
            self._live.pop(pilot.name, None)

    def drop(self, name: str) -> None:
        """Remove a pilot that was never submitted."""
        del self._pilots[name]
        self._live.pop(name, None)

    def gates(self, now_s: float) -> dict[str, Gate]:
        """Return the launches that the circuit breakers allow now, by pilot type."""
        return self.health.gates(self._risk(), now_s)

    def held_back(self, now_s: float) -> tuple[str, ...]:
        """Return the types of which a pilot that starts now should end at once."""
        return self.health.held_back(self._risk(), now_s)

    def _risk(self) -> Risk:
        """Return the pilots that have not run a job yet."""
        unproven = [pilot for pilot in self.live if not self._proven(pilot)]
        starts_s: defaultdict[str, list[float]] = defaultdict(list)
        for pilot in unproven:
            if pilot.state.serves and pilot.started_s is not None:
                starts_s[pilot.offer].append(pilot.started_s)
        return Risk(
            Counter(pilot.offer for pilot in unproven if pilot.state.waits),
            Counter(pilot.offer for pilot in unproven if not pilot.state.waits),
            starts_s,
        )

    def _proven(self, pilot: Pilot) -> bool:
        # a shared one is useful as soon as it has registered
        registered_shared = self._shared and pilot.state is PilotState.READY
        return registered_shared or pilot.name in self._served

    def block(self, name: str, why: str, now_s: float) -> None:
        """Accept no more jobs on a pilot whose node seems faulty."""
        if pilot := self._pilots.get(name):
            self.health.block(pilot, why, now_s)

    def note_served(self, names: Iterable[str]) -> None:
        """Record the pilots on which a job has started."""
        for name in (set(names) & self._pilots.keys()) - self._served:
            self.health.served(self._pilots[name].offer)
        self._served |= set(names)

    def look(
        self,
        rows: Mapping[str, Row],
        observations: PilotObservations,
        log_tail: Callable[[str], str],
        now_s: float,
    ) -> list[StateChange]:
        """Apply one answered query of Slurm; return the pilots that changed state.

        `log_tail` returns the end of a pilot's log by its name.
        """
        changes = []
        # notices valid since the last look apply to pilots that ended since
        self.held_back(now_s)
        for before in self.live:
            in_pool = observations.shows(before.name, now_s)
            after = advance(before, rows.get(before.name), at_s=now_s, in_pool=in_pool)
            if after.name in observations.served:
                after = registered(after, at_s=observations.served[after.name])
            elif after.name in observations.known - observations.untested:
                after = registered(after, at_s=now_s)
            if after.state is PilotState.FAILED and after.failure not in EXCUSED:
                after = replace(after, failure=explained(after.failure, log_tail(after.name)))
            self.put(after)
            if after.state is not before.state:
                changes.append(StateChange(before, after))
                if after.state.over and after.name not in self._served:
                    # a shared one may have run jobs of others instead
                    jobs_wait = observations.jobs_wait and not self._shared
                    self.health.judge(after, jobs_wait, now_s)
        return changes

    def unregistered(self, asked_s: float | None) -> list[Pilot]:
        """Return running pilots past the deadline that took no jobs at `asked_s`, as the pool had
        it.
        """
        return [
            pilot
            for pilot in self.live
            if pilot.state is PilotState.BOOTING
            and pilot.started_s is not None
            and asked_s is not None
            and asked_s - pilot.started_s > BOOT_DEADLINE_S
        ]

    def mark_draining(self, pilots: Iterable[Pilot], now_s: float, failure: str = "") -> None:
        """Record that pilots are draining, because of `failure` if given."""
        for pilot in pilots:
            why = failure or pilot.failure
            self.put(replace(pilot, state=PilotState.DRAINING, since_s=now_s, failure=why))

    def note_unneeded(self, names: Iterable[str], now_s: float) -> None:
        """Record since when plans have had no use for these pilots; reset it for others."""
        unneeded = set(names)
        for pilot in self.live:
            since_s = pilot.unneeded_since_s if pilot.name in unneeded else None
            if pilot.name in unneeded and since_s is None:
                since_s = now_s
            if since_s != pilot.unneeded_since_s:
                self.put(replace(pilot, unneeded_since_s=since_s))
