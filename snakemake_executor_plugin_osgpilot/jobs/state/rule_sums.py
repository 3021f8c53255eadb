"""Sums over the jobs of one rule. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RuleSums:
    """Sums over the jobs of one rule. Running jobs count with cores and cores × start time, so that
    their core-seconds follow for any moment. `cores` are those that the jobs request.
    """

    jobs: int = 0
    cores: int = 0
    done: int = 0
    failed: int = 0
    past_core_s: float = 0.0
    running_cores: int = 0
    running_since_core_s: float = 0.0
    allocations: set[str] = field(default_factory=set)

    def used_core_s(self, now_s: float) -> float:
        """Return the time in execution up to now, times cores."""
        running = self.running_cores * now_s - self.running_since_core_s
        return self.past_core_s + max(0.0, running)
