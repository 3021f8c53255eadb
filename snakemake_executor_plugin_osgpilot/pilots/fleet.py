"""The pilots of a run at all of its sites, of which there may be one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TypeVar

from ..errors import AbandonedError, NotRecordedError, OsgpilotError, OutcomeUnknownError
from ..model.clock import WaitingClock
from ..model.plan import Action, Launch, Plan
from ..model.resources import Pilot
from ..model.snapshot import Gate
from .batch_system import Expectation
from .manager import PilotManager, jitter
from .state.circuit_breaker import Backoff
from .state.lifecycle import PilotObservations, StateChange

logger = logging.getLogger(__name__)

_Value = TypeVar("_Value")


class Fleet:
    """Acts on the pilots at each site; `sites` are their managers by name, at least one.

    A site whose Slurm does not answer is left alone while another one answers, and polled again
    later, after twice the time from failure to failure. If none answers, the error is raised.
    `chance` is jitter for these retries.
    """

    def __init__(
        self, sites: Mapping[str, PilotManager], clock: WaitingClock,
        chance: Callable[[], float] = jitter,
    ) -> None:  # fmt: skip
        self._sites, self._clock, self._chance = dict(sites), clock, chance
        self._site_of = {offer: name for name, site in sites.items() for offer in site.offers}
        self._failing: dict[str, Backoff] = {}
        self._told: set[tuple[str, str]] = set()
        self._answered_s = dict.fromkeys(sites, clock.now_s())

    @property
    def pilots(self) -> tuple[Pilot, ...]:
        """All pilots, including ended ones."""
        return tuple(pilot for site in self._sites.values() for pilot in site.pilots)

    @property
    def live(self) -> tuple[Pilot, ...]:
        """The pilots that have not ended."""
        return tuple(pilot for site in self._sites.values() for pilot in site.live)

    @property
    def shared(self) -> bool:
        """True if jobs of others may run on these pilots."""
        return any(site.shared for site in self._sites.values())

    @property
    def blocked(self) -> dict[str, str]:
        """The pilots that get no more jobs, each with the reason."""
        return _merged(site.health.blocked for site in self._sites.values())

    @property
    def unavailable(self) -> dict[str, str]:
        """The types of which no pilot can be started any more, each with the reason."""
        return _merged(site.health.unavailable for site in self._sites.values())

    @property
    def left_alone(self) -> Mapping[str, Backoff]:
        """The sites whose Slurm did not answer, while another one did."""
        return self._failing if len(self._failing) < len(self._sites) else {}

    def silent(self, after_s: float) -> frozenset[str]:
        """Return the sites among them whose last answer is older than `after_s`."""
        now_s = self._clock.now_s()
        return frozenset(n for n in self.left_alone if now_s - self._answered_s[n] > after_s)

    def leave_alone(self, name: str, why: OsgpilotError) -> None:
        """Record that a site did not answer when the run began."""
        self._answered_s[name] = float("-inf")
        self._failed(name, why)

    def restore(self, pilots: Iterable[Pilot]) -> None:
        """Restore the pilots of a previous session; those of an unknown site are at the first."""
        listed, first = list(pilots), next(iter(self._sites))
        for name, site in self._sites.items():
            here = (p for p in listed if (p.site if p.site in self._sites else first) == name)
            site.restore(here)

    def gates(self) -> dict[str, Gate]:
        """Return the launches that circuit breakers and silent sites allow now, by pilot type."""
        gates = _merged(site.gates() for site in self._sites.values())
        for name, backoff in self.left_alone.items():
            gate = backoff.gate(self._clock.now_s())
            for offer in self._sites[name].offers:
                gates[offer] = min(gate, gates.get(offer, gate), key=lambda g: g.launches_max)
        return gates

    def held_back(self) -> tuple[str, ...]:
        """Return the types of which a pilot that starts now should end at once."""
        return tuple(offer for site in self._sites.values() for offer in site.held_back())

    def look(self, observations: PilotObservations) -> list[StateChange]:
        """Query each Slurm once; return the pilots that changed state.

        Raises `OutcomeUnknownError` if none answers; earlier observations are kept.
        """
        changes: list[StateChange] = []
        queries: dict[str, Callable[[], None]] = {}
        for name, site in self._sites.items():
            look = partial(_append, changes, partial(site.look, observations))
            if site.live:
                queries[name] = look
            else:
                # nothing is queried: it proves nothing
                look()
        self._each(queries)
        return changes

    def changes(self) -> list[StateChange]:
        """Return the changes of state since the last call."""
        return [change for site in self._sites.values() for change in site.changes()]

    def write(self, files: Mapping[str, str]) -> None:
        """Write files (text by name) that pilots read at each site.

        Raises `OutcomeUnknownError` if that fails at all of them.
        """
        self._each(
            {name: partial(site.write, files) for name, site in self._sites.items()},
            proves=False,
        )

    def block(self, name: str, why: str) -> None:
        """Accept no more jobs on a pilot whose node seems faulty."""
        for site in self._sites.values():
            site.block(name, why)

    def apply(self, plan: Plan) -> None:
        """Carry out a plan, at each site its part. Raises `OutcomeUnknownError` if none answers;
        a rejection by Slurm opens a breaker.
        """
        parts: dict[str, list[Action]] = {name: [] for name in self._sites}
        for action in plan.actions:
            parts[self._place_of(action)].append(action)
        requests: dict[str, Callable[[], None]] = {}
        for name, actions in parts.items():
            act = partial(self._sites[name].apply, Plan(tuple(actions), unneeded=plan.unneeded))
            if actions:
                requests[name] = act
            else:
                act()
        self._each(requests)

    def _place_of(self, action: Action) -> str:
        if isinstance(action, Launch):
            return self._site_of[action.offer]
        return next(name for name, site in self._sites.items() if site.has(action.pilot))

    def _each(self, acts: Mapping[str, Callable[[], None]], *, proves: bool = True) -> None:
        """Act at each site that is not left alone now; raise the first error if none answers.

        Success `proves` that Slurm answers again, unless the act does not ask it.
        """
        errors = []
        alone, now_s = self.left_alone, self._clock.now_s()
        for name, act in acts.items():
            if name in alone and now_s < alone[name].until_s:
                continue
            try:
                act()
            except (AbandonedError, NotRecordedError):
                # it says nothing about the site
                raise
            except OutcomeUnknownError as error:
                errors.append(error)
                self._failed(name, error)
            else:
                if proves:
                    self._answered(name)
        if errors and not self.left_alone:
            raise errors[0]

    def _failed(self, name: str, error: OsgpilotError) -> None:
        before, now_s = self._failing.get(name, Backoff()), self._clock.now_s()
        self._failing[name] = before.again(now_s, f"{name}: {error}", chance=self._chance())
        if name in self.left_alone and (name, str(error)) not in self._told:
            self._told.add((name, str(error)))
            logger.warning(f"site {name} is left alone and polled again later: {error}")

    def _answered(self, name: str) -> None:
        self._answered_s[name] = self._clock.now_s()
        self._told = {told for told in self._told if told[0] != name}
        if self._failing.pop(name, None) and len(self._sites) > 1:
            logger.info(f"site {name} answers again")

    def expectation(self, offer: str, walltime_s: int) -> Expectation | None:
        """Ask Slurm how long a pilot would wait, and what it would be given; None if unknown."""
        site = self._site_of[offer]
        return None if site in self.left_alone else self._sites[site].expectation(offer, walltime_s)

    def interrupt(self) -> None:
        """Interrupt the Slurm command that another thread waits for."""
        for site in self._sites.values():
            site.interrupt()

    def end(self) -> None:
        """End every pilot, see `PilotManager.end`; those at sites that are left alone last.

        Raises `OutcomeUnknownError` if some may be left, after all sites were asked.
        """
        errors = []
        alone = self.left_alone
        for name, site in sorted(self._sites.items(), key=lambda item: item[0] in alone):
            try:
                # one request to a site that has not answered is enough, unless it does now
                site.end(retry=name not in alone)
            except OutcomeUnknownError as error:
                errors.append(f"{name}: {error}" if len(self._sites) > 1 else str(error))
        if errors:
            raise OutcomeUnknownError("; ".join(errors))


def _append(changes: list[StateChange], look: Callable[[], list[StateChange]]) -> None:
    changes += look()


def _merged(parts: Iterable[Mapping[str, _Value]]) -> dict[str, _Value]:
    return {name: value for part in parts for name, value in part.items()}
