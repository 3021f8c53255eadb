"""When to ask Slurm again for pilots that it does not take now."""

from __future__ import annotations

from dataclasses import dataclass

from snakemake_executor_plugin_osgpilot.model.snapshot import Gate
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import (
    GIVE_UP_AFTER_S,
    PROBE_AFTER_MAX_S,
    PROBE_AFTER_S,
    TRIES_MAX,
)


@dataclass(frozen=True)
class Backoff:
    """Refusals in a row that time may cure, the first at `since_s`, the last at `at_s`.

    They say nothing against pilots. `chance` in [0.5, 1.5] spreads the tries of
    many users after an outage.
    """

    refusals: int = 0
    at_s: float = 0.0
    cause: str = ""
    chance: float = 1.0
    since_s: float = 0.0

    def again(self, now_s: float, cause: str, *, chance: float = 1.0) -> Backoff:
        """Return this after one more refusal."""
        since_s = self.since_s if self.refusals else now_s
        return Backoff(self.refusals + 1, now_s, cause, chance, since_s)

    @property
    def until_s(self) -> float:
        """When the next try is due; every wait is twice the one before."""
        wait_s = PROBE_AFTER_S * 2.0 ** (self.refusals - 1)
        return self.at_s + self.chance * min(wait_s, PROBE_AFTER_MAX_S)

    @property
    def hopeless(self) -> bool:
        """Whether jobs that have no pilot are better off with an error by now."""
        return self.refusals > TRIES_MAX and self.at_s - self.since_s >= GIVE_UP_AFTER_S

    def gate(self, now_s: float) -> Gate:
        """Return what may be started now."""
        if now_s < self.until_s:
            return Gate(0, f"{self.cause}; next try in {self.until_s - now_s:.0f} s")
        return Gate(1, f"{self.cause}; trying one")
