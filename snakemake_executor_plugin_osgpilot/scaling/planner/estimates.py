"""Estimates learned from observations: job runtimes, waits in Slurm's queue, boots of pilots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from statistics import median
from typing import TypeVar

from ...model.resources import JobClass, Pilot, PilotState

SAMPLES_MAX = 51
"""Only the newest samples count, so that the estimate follows a changing queue or workflow."""

RUNTIME_PRIOR_S = 600.0
"""Expected runtime of a job without a declared runtime, if none of its class has ended yet."""

WAIT_PRIOR_S = 900.0
"""Expected wait in Slurm's queue without a hint from Slurm or observations."""

HINT_GRAIN_S = 60.0
"""Precision of Slurm's expected start times."""

RUNTIME_PRIOR_SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)
"""If a rule declares a runtime: five jobs that are known only to take less, as shares of it."""

RUNTIME_PRIOR_MULTIPLES = (0.107, 0.362, 0.705, 1.22, 2.606)
"""If it does not: five jobs of an exponential distribution, the means of its fifths, as
multiples of `RUNTIME_PRIOR_S`. Of all distributions with one mean it assumes least."""

LIMIT_PRIOR_S = 10_800.0
"""Runtime limit of a job without a declared runtime: the few long ones among many short ones start
early and would be cut off with their pilots. A longer walltime only costs a longer queue wait."""

LIMIT_MARGIN = 1.5
"""If a job was seen to take longer than that, the limit is this multiple of the longest."""

BOOT_PRIOR_S = 180.0
"""Start of the allocation to the first slot: OSG_NODE_VALIDATED takes 1 to 8 minutes
(osg-flock, ospool-pilot/main/pilot/advertise-base, run by the startd every 4 minutes)."""

RUNTIME_PRIOR_WEIGHT, WAIT_PRIOR_WEIGHT, BOOT_PRIOR_WEIGHT = 5, 3, 1
"""Weight of a prior, in observations."""

Key = TypeVar("Key")


@dataclass(frozen=True)
class Estimates:
    """Observed durations in seconds, newest last, and the expectations derived from them.

    `boots_s` has all boots, `site_boots_s` those at each site. `ages_s` has the longest runtimes
    seen of jobs without a declared runtime, ended or not; `wait_hints_s` has Slurm's own
    expectation for a pilot type (`sbatch --test-only`).
    """

    runtimes_s: Mapping[JobClass, tuple[float, ...]] = field(default_factory=dict)
    waits_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    boots_s: tuple[float, ...] = ()
    site_boots_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    ages_s: Mapping[JobClass, float] = field(default_factory=dict)
    wait_hints_s: Mapping[str, float] = field(default_factory=dict)

    def runtime_s(self, job_class: JobClass) -> float:
        """Return the expected runtime; a declared runtime is a limit, of which jobs use half."""
        prior_s = job_class.runtime_s / 2 or RUNTIME_PRIOR_S
        return _shrunk(self.runtimes_s.get(job_class, ()), prior_s, RUNTIME_PRIOR_WEIGHT)

    def mean_s(self, job_class: JobClass) -> float:
        """Return the mean of the runtimes to expect."""
        return _mean_s(self.expected_s(job_class))

    def expected_s(self, job_class: JobClass) -> tuple[float, ...]:
        """Return runtimes of which each is as likely: those seen, and those of the prior."""
        return _expected_s(self.runtimes_s.get(job_class, ()), job_class.runtime_s)

    def limit_s(self, job_class: JobClass) -> float:
        """Return the maximum runtime of a job: the declared one, if any."""
        longest_s = LIMIT_MARGIN * self.ages_s.get(job_class, 0.0)
        return job_class.runtime_s or max(LIMIT_PRIOR_S, longest_s)

    def wait_s(self, offer: str) -> float:
        """Return the expected queue wait of a new pilot of type `offer`."""
        wait_s = self._expected_waits_s.get(offer)
        if wait_s is None:
            hint_s = self.wait_hints_s.get(offer, WAIT_PRIOR_S)
            prior_s = max(0.0, (hint_s + HINT_GRAIN_S) * self._hints_are_short_by - HINT_GRAIN_S)
            wait_s = _shrunk(self.waits_s.get(offer, ()), prior_s, WAIT_PRIOR_WEIGHT)
            self._expected_waits_s[offer] = wait_s
        return wait_s

    @cached_property
    def _expected_waits_s(self) -> dict[str, float]:
        """The results of `wait_s` so far: it is asked for each pilot."""
        return {}

    @cached_property
    def _hints_are_short_by(self) -> float:
        """The ratio of observed waits to Slurm's expectations, where both are known."""
        known = [
            (seconds + HINT_GRAIN_S) / (hint_s + HINT_GRAIN_S)
            for offer, hint_s in self.wait_hints_s.items()
            for seconds in self.waits_s.get(offer, ())
        ]
        return _shrunk(tuple(known), 1.0, WAIT_PRIOR_WEIGHT)

    def remaining_wait_s(self, offer: str, waited_s: float) -> float:
        """Return the expected remaining wait after `waited_s`.

        Waits are heavy-tailed: a pilot that has waited longer than expected is assumed to be half
        way through.
        """
        expected_s = self.wait_s(offer)
        return waited_s if waited_s > expected_s else expected_s - waited_s

    @cached_property
    def boot_s(self) -> float:
        """Return the expected time from the start of the allocation to the first slot."""
        return _shrunk(self.boots_s, BOOT_PRIOR_S, BOOT_PRIOR_WEIGHT)

    def boot_at_s(self, site: str) -> float:
        """Return the expected boot at a site: that of all sites while few are known there."""
        if self.site_boots_s.keys() <= {site}:
            return self.boot_s
        return _shrunk(self.site_boots_s.get(site, ()), self.boot_s, BOOT_PRIOR_WEIGHT)

    def lead_s(self, offer: str, site: str = "") -> float:
        """Return the time until a pilot of type `offer` requested now can run jobs."""
        return self.wait_s(offer) + self.boot_at_s(site)

    def with_hints(self, wait_hints_s: Mapping[str, float]) -> Estimates:
        """Return these estimates with Slurm's expected waits, by pilot type."""
        return replace(self, wait_hints_s={**self.wait_hints_s, **wait_hints_s})

    def with_runtime(self, job_class: JobClass, seconds: float) -> Estimates:
        """Return these estimates with one more job observed."""
        return replace(self, runtimes_s=_noted(self.runtimes_s, job_class, seconds))

    def with_ages(self, ages_s: Mapping[JobClass, float]) -> Estimates:
        """Return these estimates with the ages of running jobs, by class."""
        older = {
            job_class: age_s
            for job_class, age_s in ages_s.items()
            if not job_class.runtime_s and age_s > self.ages_s.get(job_class, 0.0)
        }
        return replace(self, ages_s={**self.ages_s, **older}) if older else self

    def with_wait(self, offer: str, seconds: float) -> Estimates:
        """Return these estimates with one more allocation started."""
        return replace(self, waits_s=_noted(self.waits_s, offer, seconds))

    def with_boot(self, seconds: float, site: str = "") -> Estimates:
        """Return these estimates with one more pilot booted."""
        boots_s = (*self.boots_s, max(0.0, seconds))[-SAMPLES_MAX:]
        return replace(self, boots_s=boots_s, site_boots_s=_noted(self.site_boots_s, site, seconds))


def learned(known: Estimates, before: Pilot, after: Pilot) -> Estimates:
    """Return `known` after a pilot changed from `before` to `after`: a wait or a boot has ended.

    A pilot that was READY before Slurm showed its start adds nothing: the times are not known.
    """
    if before.state.waits and after.state is PilotState.BOOTING and after.started_s is not None:
        return known.with_wait(after.offer, after.started_s - after.asked_s)
    booted = before.state is PilotState.BOOTING and after.state is PilotState.READY
    if booted and after.started_s is not None:
        return known.with_boot(after.since_s - after.started_s, after.site)
    return known


@lru_cache(maxsize=4096)
def _shrunk(samples: tuple[float, ...], prior_s: float, weight: int) -> float:
    """Return the median of `samples`, shrunk towards the prior while there are few."""
    count = len(samples)
    return (weight * prior_s + count * median(samples or (0.0,))) / (weight + count)


@lru_cache(maxsize=4096)
def _expected_s(samples: tuple[float, ...], declared_s: int) -> tuple[float, ...]:
    """Return `samples` and those that stand for the prior."""
    if declared_s:
        prior = tuple(share * declared_s for share in RUNTIME_PRIOR_SHARES)
    else:
        prior = tuple(multiple * RUNTIME_PRIOR_S for multiple in RUNTIME_PRIOR_MULTIPLES)
    return (*prior, *samples)


@lru_cache(maxsize=4096)
def _mean_s(runtimes_s: tuple[float, ...]) -> float:
    return sum(runtimes_s) / len(runtimes_s)


def _noted(
    known: Mapping[Key, tuple[float, ...]], key: Key, seconds: float
) -> dict[Key, tuple[float, ...]]:
    return {**known, key: (*known.get(key, ()), max(0.0, seconds))[-SAMPLES_MAX:]}
