"""Expected lead times of pilots, from Slurm, from an earlier run, or assumed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..report.lead_times import LeadTimes
from ..scaling.planner.estimates import Estimates
from .dry_plan import Start


@dataclass(frozen=True)
class Coming:
    """Expected times of pilots in seconds: wait in Slurm's queue by offer, boot, and from there to
    a job (None if unknown).

    `pilots` is the number of pilots with known boots, from `run` that began at `begun_s`; 0 if
    assumed. `seen_wait_s` is the wait of that run's pilots. `unsaid` are the offers without any
    known wait.
    """

    waits_s: Mapping[str, float]
    boot_s: float
    match_s: float | None = None
    pilots: int = 0
    run: str = ""
    begun_s: float = 0.0
    seen_wait_s: float | None = None
    unsaid: tuple[str, ...] = ()

    def start(self, planned: Start) -> Start:
        """Return the time at which pilots submitted then are expected to be ready."""
        wait_s = self.waits_s[planned.offer]
        lead_s = wait_s + self.boot_s + (self.match_s or 0.0)
        return replace(planned, wait_s=wait_s, lead_s=lead_s)


def coming(estimates: Estimates, offers: Iterable[str], seen: LeadTimes | None) -> Coming:
    """Return the expected lead times of pilots of `offers`.

    `estimates` are those with which a run begins, `seen` those of an earlier run. A pilot waits as
    long as those of that run did, and longer if Slurm estimates so now.
    """
    names = tuple(offers)
    said_s = estimates.wait_hints_s
    if seen is None or seen.boot_s is None:
        unsaid = tuple(name for name in names if name not in said_s)
        waits_s = {name: estimates.wait_s(name) for name in names}
        return Coming(waits_s, estimates.boot_s, unsaid=unsaid)
    return Coming(
        {name: max(seen.wait_s(name) or 0.0, said_s.get(name, 0.0)) for name in names},
        seen.boot_s,
        seen.match_s,
        len(seen.boots_s),
        seen.run,
        seen.begun_s,
        seen.wait_s(),
    )
