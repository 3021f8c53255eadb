"""How long pilots are expected to take, from Slurm, from an earlier run, or assumed. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from snakemake_executor_plugin_osgpilot.preview.dry_plan import Start
from snakemake_executor_plugin_osgpilot.report.lead_times import Leads
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates


@dataclass(frozen=True)
class Coming:
    """What is expected of pilots in seconds: the wait in Slurm's queue by offer, the boot, and the
    time from there to a job, None if nobody knows.

    `pilots` says of how many pilots boots are known, from `run` that began at `begun_s`; 0 if they
    are assumed. `seen_wait_s` is what pilots of that run waited. `unsaid` are the offers of whose
    waits nobody said anything.
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
        """Return when pilots that are asked for then are expected to be of use."""
        wait_s = self.waits_s[planned.offer]
        lead_s = wait_s + self.boot_s + (self.match_s or 0.0)
        return replace(planned, wait_s=wait_s, lead_s=lead_s)


def coming(estimates: Estimates, offers: Iterable[str], seen: Leads | None) -> Coming:
    """Return what is expected of pilots of `offers`.

    `estimates` are those with which a run begins, `seen` is what an earlier one saw. A pilot waits
    as long as those of that run did, and longer if Slurm says so now.
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
