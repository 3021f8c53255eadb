"""Workflows of a user as scenarios for `osgpilot simulate`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from ..errors import InputError
from ..model.resources import PilotType, Policy, Shape
from ..monitoring.history_file import HISTORY
from ..preview.dag_reader import drawn
from ..preview.synthetic_workload import on_pilots
from ..report.lead_times import lead_times
from ..report.locate import Watched, find
from ..scaling.planner.feasibility import infeasible_classes
from ..simulator.calibrated_site import site_like
from ..simulator.jobs import class_of
from ..simulator.model import BOOT, Site, Spread, Workload
from ..simulator.workloads import Ended, recorded
from .scenarios import LIMITS, NORMAL, Scenario
from .swf import read, scaled

if TYPE_CHECKING:
    from ..report.entities import Job
    from ..report.replay import ReplayedRun

LINKS_MAX = 5_000_000
"""More links between jobs than memory is meant for."""


@dataclass(frozen=True)
class Same:
    """Makes the same workload for every seed: what happened is known."""

    workload: Workload

    def __call__(self, seed: int, jobs: int | None = None) -> Workload:
        """Return the workload."""
        return self.workload


def of_snakefile(path: Path) -> Scenario:
    """Return the workflow in a Snakefile, at the usual site. Raises `InputError`."""
    tasks, parents = drawn(str(path), LIMITS)
    drawing = on_pilots(tasks, parents, LINKS_MAX)
    if drawing is None:
        raise InputError(f"{path} has more than {LINKS_MAX:,} links between its jobs")
    return _checked(Scenario("snakefile", drawing, option=f"--snakefile {path}"))


def of_run(folder: Path) -> Scenario:
    """Return a run that is over, with its offers and limits and with pilots that wait and boot as
    they did. `folder` is the one that Snakemake was started in, or the run's own.

    Raises `InputError` if there is no run, or nothing to be learned from it.
    """
    try:
        own = folder if (folder / HISTORY).exists() else find(folder)
    except InputError as error:
        raise InputError(f"there is no run of osgpilot in {folder}") from error
    replayed = Watched(own).look()
    done = [job for job in replayed.jobs.values() if job.state == "done" and job.attempts]
    if not done:
        raise InputError(
            f"no job of the run in {own} came to its end: there is nothing to simulate"
        )
    policy = _policy(replayed, own)
    workload = recorded(own.name, (_ended(job, replayed) for job in done))
    site, option = _site(replayed, policy), f"--run {folder}"
    return _checked(Scenario("run", Same(workload), site, limits=policy, option=option))


def _checked(scenario: Scenario) -> Scenario:
    """Return `scenario`. Raises `InputError` if no pilot could ever run one of its jobs."""
    for step in scenario.workload(0).steps:
        if found := infeasible_classes([class_of(step)], scenario.limits):
            raise InputError(
                f"{scenario.option}: no simulated pilot can run rule {step.rule}: {found[0].reason}"
            )
    return scenario


def _ended(job: Job, replayed: ReplayedRun) -> Ended:
    attempt = job.attempts[-1]
    return Ended(
        job.key,
        job.rule,
        job.job_class.shape,
        attempt.started_s,
        attempt.until_s(attempt.started_s),
        job.needs,
        job.job_class.runtime_s,
        None if replayed.tells_needs else job.queued_s,
        round(1e6 * replayed.input_mb.get(job.key, 0)),
    )


def _policy(replayed: ReplayedRun, own: Path) -> Policy:
    policy = replayed.life.get("policy", {})
    try:
        offers = tuple(
            PilotType(o["name"], Shape(**o["shape"]), tuple(o["walltimes_s"]))
            for o in policy["offers"]
        )
        limits = {name: policy[name] for name in Policy.__dataclass_fields__ if name in policy}
        return Policy(**{**limits, "offers": offers})
    except (KeyError, TypeError) as error:
        raise InputError(f"{own}: its history does not say which pilots there were") from error


def _site(replayed: ReplayedRun, policy: Policy) -> Site:
    """Return a site where a pilot waits and boots as those of the run did, whatever its size."""
    seen = lead_times(replayed, {offer.name for offer in policy.offers})
    waits_s = [wait_s for each in seen.waits_s.values() for wait_s in each]
    if not waits_s:
        return replace(NORMAL, name="of the run", offers=policy.offers)
    boot = _spread(seen.boots_s) if seen.boots_s else BOOT
    return site_like("of the run", policy.offers, _spread(waits_s), boot, seen.match_s)


def _spread(values_s: Iterable[float]) -> Spread:
    """Return the median, and the standard deviation of the logarithm around it."""
    known_s = [max(1.0, value_s) for value_s in values_s]
    middle_s = median(known_s)
    squares = [math.log(value_s / middle_s) ** 2 for value_s in known_s]
    return Spread(middle_s, math.sqrt(sum(squares) / len(squares)))


def beside(scenario: Scenario, trace: Path, nodes: int, from_h: float) -> Scenario:
    """Return `scenario` with a queue for `nodes` that it shares with a trace from then on.

    Raises `InputError` for what is no trace, or has no job then.
    """
    try:
        with trace.open(encoding="utf-8", errors="replace") as lines:
            trace_jobs = read(lines, str(trace))
    except OSError as error:
        raise InputError(f"{trace} cannot be read: {error.strerror}") from error
    site = replace(scenario.site, nodes=nodes, waits=None)
    background = scaled(trace_jobs, nodes * site.node_shape.cores, 3600 * from_h)
    if not background:
        raise InputError(f"{trace} has no job {from_h:g} hours after its beginning")
    return replace(scenario, site=replace(site, background=background))
