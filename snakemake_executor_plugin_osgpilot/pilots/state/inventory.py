"""The pilots of a run as far as they are known, and what a look at Slurm and the pool changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import Risk
from snakemake_executor_plugin_osgpilot.pilots.state.health import Health
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import (
    PilotObservations,
    Row,
    StateChange,
    advance,
    registered,
)

BOOT_DEADLINE_S = 900.0
"""A pilot that has not registered by then never will: OSG_NODE_VALIDATED takes 1 to 8 minutes."""


class PilotInventory:
    """All pilots of one run, by name, and the health of their offers.

    `chance` is what breakers spread their tries with; `shared` says that pilots serve others, too.
    """

    def __init__(
        self, offers: Iterable[str], chance: Callable[[], float], *, shared: bool = False
    ) -> None:
        self._pilots: dict[str, Pilot] = {}
        self._served: frozenset[str] = frozenset()
        self._shared = shared
        self.health = Health(offers, chance)

    def __getitem__(self, name: str) -> Pilot:
        return self._pilots[name]

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        """All of them, those that are over, too."""
        return tuple(self._pilots.values())

    @property
    def live(self) -> tuple[Pilot, ...]:
        """Those that are not over."""
        return tuple(p for p in self._pilots.values() if not p.state.over)

    def put(self, pilot: Pilot) -> None:
        """Take `pilot` in, in place of what is known under its name."""
        self._pilots[pilot.name] = pilot

    def drop(self, name: str) -> None:
        """Strike a pilot out that was never asked for."""
        del self._pilots[name]

    def gates(self, now_s: float) -> dict[str, Gate]:
        """Return what the breakers allow now, by offer."""
        return self.health.gates(self._risk(), now_s)

    def held_back(self, now_s: float) -> tuple[str, ...]:
        """Return the offers of which a pilot that starts now should leave at once."""
        return self.health.held_back(self._risk(), now_s)

    def _risk(self) -> Risk:
        """Return the pilots that may come to nothing yet."""
        unproven = [pilot for pilot in self.live if not self._proven(pilot)]
        return Risk(
            Counter(pilot.offer for pilot in unproven if pilot.state.waits),
            Counter(pilot.offer for pilot in unproven if not pilot.state.waits),
        )

    def _proven(self, pilot: Pilot) -> bool:
        # one that may serve others is of use as soon as it is there
        is_there = self._shared and pilot.state is PilotState.READY
        return is_there or pilot.name in self._served

    def shun(self, name: str, why: str, now_s: float) -> None:
        """Have no more jobs on a pilot, whose node seems to be bad."""
        if pilot := self._pilots.get(name):
            self.health.shun(pilot, why, now_s)

    def note_served(self, names: Iterable[str]) -> None:
        """Take in on which pilots a job was ever started."""
        for name in (set(names) & self._pilots.keys()) - self._served:
            self.health.served(self._pilots[name].offer)
        self._served |= set(names)

    def look(
        self,
        rows: Mapping[str, Row],
        signs: PilotObservations,
        log_tail: Callable[[str], str],
        now_s: float,
    ) -> list[StateChange]:
        """Take in one answered look at Slurm; return the pilots that changed their state.

        `log_tail` tells what a pilot (by name) said last.
        """
        moves = []
        # whoever left since the last look was told so by what was known then
        self.held_back(now_s)
        for before in self.live:
            in_pool = signs.shows(before.name, now_s)
            after = advance(before, rows.get(before.name), at_s=now_s, in_pool=in_pool)
            if after.name in signs.served:
                after = registered(after, at_s=signs.served[after.name])
            elif after.name in signs.known:
                after = registered(after, at_s=now_s)
            self._pilots[after.name] = after
            if after.state is not before.state:
                moves.append(StateChange(before, after))
                if after.state.over and after.name not in self._served:
                    # one that may have served others is not to blame for leaving ours no place
                    jobs_wait = signs.jobs_wait and not self._shared
                    self.health.judge(after, jobs_wait, partial(log_tail, after.name), now_s)
        return moves

    def mute(self, asked_s: float | None) -> list[Pilot]:
        """Return the pilots that run but did not come to the pool, by what it told at `asked_s`."""
        return [
            pilot
            for pilot in self.live
            if pilot.state is PilotState.BOOTING
            and pilot.started_s is not None
            and asked_s is not None
            and asked_s - pilot.started_s > BOOT_DEADLINE_S
        ]

    def drained(self, pilots: Iterable[Pilot], now_s: float, failure: str = "") -> None:
        """Take in that pilots were asked to end, for a failure if it is named."""
        for pilot in pilots:
            why = failure or pilot.failure
            self.put(replace(pilot, state=PilotState.DRAINING, since_s=now_s, failure=why))

    def note_unneeded(self, names: Iterable[str], now_s: float) -> None:
        """Remember since when plans have had no use for these pilots, and forget it for others."""
        unneeded = set(names)
        for pilot in self.live:
            since_s = pilot.unneeded_since_s if pilot.name in unneeded else None
            if pilot.name in unneeded and since_s is None:
                since_s = now_s
            if since_s != pilot.unneeded_since_s:
                self.put(replace(pilot, unneeded_since_s=since_s))


def mute_text() -> str:
    """Return how a pilot failed that did not come to the pool."""
    return f"did not come to the pool within {BOOT_DEADLINE_S / 60:.0f} min"
