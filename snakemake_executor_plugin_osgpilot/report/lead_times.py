"""Lead times of a run's pilots, and the time from pilot to job. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from statistics import median

from .entities import Attempt
from .replay import ReplayedRun

GRAIN_S = 1.0
"""The event log has whole seconds: shorter intervals count as zero."""


@dataclass(frozen=True)
class LeadTimes:
    """Times observed in a run that began at `begun_s`, in seconds.

    `waits_s` has waits in Slurm's queue by offer, `boots_s` the times from the start of an
    allocation until the pilot was ready, `matches_s` the times that a job waited beside an empty
    pilot before it ran there.
    """

    run: str = ""
    begun_s: float = 0.0
    waits_s: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    boots_s: tuple[float, ...] = ()
    matches_s: tuple[float, ...] = ()

    def wait_s(self, offer: str = "") -> float | None:
        """Return the usual wait of an offer's pilots, of all pilots if it had none."""
        every = [wait_s for waits_s in self.waits_s.values() for wait_s in waits_s]
        return _usual_s(self.waits_s.get(offer) or every)

    @property
    def boot_s(self) -> float | None:
        """The usual boot, None if no pilot was ready."""
        return _usual_s(self.boots_s)

    @property
    def match_s(self) -> float | None:
        """The usual time between job and pilot, None if none was observed."""
        return _usual_s(self.matches_s)


def lead_times(replayed: ReplayedRun, offers: Collection[str]) -> LeadTimes:
    """Return the lead times of pilots of `offers` in a run."""
    came = {name: pilot for name, pilot in replayed.pilots.items() if pilot.offer in offers}
    waits_s: defaultdict[str, tuple[float, ...]] = defaultdict(tuple)
    boots_s = []
    for pilot in came.values():
        if pilot.started_s is None:
            continue
        waits_s[pilot.offer] += (max(0.0, pilot.started_s - pilot.asked_s),)
        if pilot.ready_s is not None:
            boots_s.append(max(0.0, pilot.ready_s - pilot.started_s))
    ready_s = {name: pilot.ready_s for name, pilot in came.items() if pilot.ready_s is not None}
    return LeadTimes(
        replayed.life.get("run", ""),
        replayed.first_s,
        dict(waits_s),
        tuple(boots_s),
        tuple(_matches_s(replayed, ready_s)),
    )


def _matches_s(replayed: ReplayedRun, ready_s: Mapping[str, float]) -> Iterator[float]:
    """Return the waits of jobs that came when a pilot was empty, or were there when it came.

    A job that was there when another one ended shows how quickly a claim is reused: it is left out.
    So is the first job of a pilot that was unknown before the job started.
    """
    by_pilot: defaultdict[str, list[Attempt]] = defaultdict(list)
    for job in replayed.jobs.values():
        for attempt in job.attempts:
            by_pilot[attempt.pilot].append(attempt)
    for pilot in ready_s.keys() & by_pilot.keys():
        empty_s, served = ready_s[pilot], False
        for attempt in sorted(by_pilot[pilot], key=lambda each: each.started_s):
            job, begun_s = attempt.job, attempt.started_s
            sent_s = job.sent_s if attempt is job.attempts[0] else None
            was_empty = begun_s - empty_s >= GRAIN_S
            if sent_s is not None and was_empty and (sent_s > empty_s or not served):
                yield max(0.0, begun_s - max(sent_s, empty_s))
            empty_s, served = max(empty_s, attempt.until_s(begun_s)), True


def _usual_s(seconds: Collection[float]) -> float | None:
    return median(seconds) if seconds else None
