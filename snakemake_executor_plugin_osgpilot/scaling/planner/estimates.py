"""What was learned of how long things take: jobs, waits in Slurm's queue, boots of pilots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from statistics import median
from typing import TypeVar

from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Pilot, PilotState

SAMPLES_MAX = 51
"""Only the newest count, so that the estimate follows a queue or a workflow that changes."""

RUNTIME_PRIOR_S = 600.0
"""Expected runtime of a job whose rule says nothing and of whose kind none has ended yet."""

WAIT_PRIOR_S = 900.0
"""Expected wait in Slurm's queue if neither Slurm nor experience has anything to say."""

HINT_GRAIN_S = 60.0
"""What Slurm expects is no more exact than this."""

LIMIT_PRIOR_S = 10_800.0
"""A job whose rule says nothing may take so long: the few long ones among many short ones are begun
early and would be cut off with their pilots. A longer walltime costs patience in the queue only."""

LIMIT_MARGIN = 1.5
"""Where a job is seen to take longer than that, one may take so many times as long again."""

BOOT_PRIOR_S = 180.0
"""Start of the allocation to the first slot: OSG_NODE_VALIDATED takes 1 to 8 minutes
(osg-flock, ospool-pilot/main/pilot/advertise-base, run by the startd every 4 minutes)."""

RUNTIME_PRIOR_WEIGHT, WAIT_PRIOR_WEIGHT, BOOT_PRIOR_WEIGHT = 5, 3, 1
"""How many observations a prior is worth."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Estimates:
    """Observed durations in seconds, newest last; asked for expectations, never for the truth.

    `ages_s` is how long jobs of which the rule says nothing have been seen to run, ended or not;
    `wait_hints_s` is what Slurm itself expects for an offer (`sbatch --test-only`).
    """

    runtimes_s: Mapping[JobClass, tuple[float, ...]] = field(default_factory=dict)
    waits_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    boots_s: tuple[float, ...] = ()
    ages_s: Mapping[JobClass, float] = field(default_factory=dict)
    wait_hints_s: Mapping[str, float] = field(default_factory=dict)

    def runtime_s(self, job_class: JobClass) -> float:
        """Return the expected runtime; a declared one is a limit, jobs take half of it."""
        prior_s = job_class.runtime_s / 2 or RUNTIME_PRIOR_S
        return _shrunk(self.runtimes_s.get(job_class, ()), prior_s, RUNTIME_PRIOR_WEIGHT)

    def limit_s(self, job_class: JobClass) -> float:
        """Return how long a job may take: what its rule says, if it does."""
        longest_s = LIMIT_MARGIN * self.ages_s.get(job_class, 0.0)
        return job_class.runtime_s or max(LIMIT_PRIOR_S, longest_s)

    def wait_s(self, offer: str) -> float:
        """Return the expected wait of a new pilot of `offer` in Slurm's queue."""
        hint_s = self.wait_hints_s.get(offer, WAIT_PRIOR_S)
        prior_s = max(0.0, (hint_s + HINT_GRAIN_S) * self._hints_are_short_by - HINT_GRAIN_S)
        return _shrunk(self.waits_s.get(offer, ()), prior_s, WAIT_PRIOR_WEIGHT)

    @property
    def _hints_are_short_by(self) -> float:
        """How many times longer than Slurm had expected waits were, where both are known."""
        known = [
            (seconds + HINT_GRAIN_S) / (hint_s + HINT_GRAIN_S)
            for offer, hint_s in self.wait_hints_s.items()
            for seconds in self.waits_s.get(offer, ())
        ]
        return _shrunk(tuple(known), 1.0, WAIT_PRIOR_WEIGHT)

    def remaining_wait_s(self, offer: str, waited_s: float) -> float:
        """Return the expected rest of a wait that has lasted `waited_s`.

        Waits are heavy-tailed: a pilot that has waited longer than expected is taken to be half
        way through.
        """
        return max(self.wait_s(offer) - waited_s, waited_s if waited_s > self.wait_s(offer) else 0)

    @property
    def boot_s(self) -> float:
        """Return the expected time from the start of the allocation to the first slot."""
        return _shrunk(self.boots_s, BOOT_PRIOR_S, BOOT_PRIOR_WEIGHT)

    def lead_s(self, offer: str) -> float:
        """Return how long a pilot of `offer` that is asked for now needs to be of use."""
        return self.wait_s(offer) + self.boot_s

    def with_hints(self, wait_hints_s: Mapping[str, float]) -> Estimates:
        """Return these estimates with what Slurm expects, by offer."""
        return replace(self, wait_hints_s={**self.wait_hints_s, **wait_hints_s})

    def with_runtime(self, job_class: JobClass, seconds: float) -> Estimates:
        """Return these estimates with one more job observed."""
        return replace(self, runtimes_s=_noted(self.runtimes_s, job_class, seconds))

    def with_ages(self, ages_s: Mapping[JobClass, float]) -> Estimates:
        """Return these estimates with how long jobs have been running by now, by class."""
        older = {
            job_class: age_s
            for job_class, age_s in ages_s.items()
            if not job_class.runtime_s and age_s > self.ages_s.get(job_class, 0.0)
        }
        return replace(self, ages_s={**self.ages_s, **older}) if older else self

    def with_wait(self, offer: str, seconds: float) -> Estimates:
        """Return these estimates with one more allocation started."""
        return replace(self, waits_s=_noted(self.waits_s, offer, seconds))

    def with_boot(self, seconds: float) -> Estimates:
        """Return these estimates with one more pilot come up."""
        return replace(self, boots_s=(*self.boots_s, max(0.0, seconds))[-SAMPLES_MAX:])


def learned(known: Estimates, before: Pilot, after: Pilot) -> Estimates:
    """Return `known` after a pilot moved from `before` to `after`: a wait or a boot has ended.

    A pilot that was READY before Slurm told of its start tells nothing: the times are not known.
    """
    if before.state.waits and after.state is PilotState.BOOTING and after.started_s is not None:
        return known.with_wait(after.offer, after.started_s - after.asked_s)
    booted = before.state is PilotState.BOOTING and after.state is PilotState.READY
    if booted and after.started_s is not None:
        return known.with_boot(after.since_s - after.started_s)
    return known


@lru_cache(maxsize=4096)
def _shrunk(samples: tuple[float, ...], prior_s: float, weight: int) -> float:
    """Return the median of `samples`, drawn to the prior while there are few."""
    count = len(samples)
    return (weight * prior_s + count * median(samples or (0.0,))) / (weight + count)


def _noted(
    known: Mapping[Key, tuple[float, ...]], key: Key, seconds: float
) -> dict[Key, tuple[float, ...]]:
    return {**known, key: (*known.get(key, ()), max(0.0, seconds))[-SAMPLES_MAX:]}
