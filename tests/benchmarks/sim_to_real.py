"""One workflow on the local pool and in the simulator: makespan and core-hours side by side.

Runs inside the local pool. The simulator's delays are those of another, smaller workflow that runs
first: its event log and its journal tell how long pilots waited and booted, what a job costs beside
its command, and how soon followers come. The last lines read `sim-to-real makespan_error X` and
`sim-to-real core_hours_error X`; both are fractions of what was measured.
"""

from __future__ import annotations

import tempfile
from array import array
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from scaling import measure

from snakemake_executor_plugin_osgpilot.config.run_options import Limits, policy_of
from snakemake_executor_plugin_osgpilot.config.site import load
from snakemake_executor_plugin_osgpilot.htcondor.event_log import EventLog
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.resources import Pilot, Shape
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.simulator.model import (
    CSR,
    Outcome,
    Site,
    Spread,
    Step,
    Waits,
    Workload,
)
from snakemake_executor_plugin_osgpilot.simulator.world import run

NEGOTIATION_S = 2.0
"""NEGOTIATOR_INTERVAL of the local pool."""

SNAKEFILE = """
rule all:
    input: expand("last/{{n}}", n=range({last}))
rule first:
    output: "first/{{n}}"
    resources: runtime=5
    shell: "sleep {first_s}; touch {{output}}"
rule gather:
    input: expand("first/{{n}}", n=range({first}))
    output: "gathered"
    threads: 4
    resources: runtime=5
    shell: "sleep {gather_s}; touch {{output}}"
rule last:
    input: "gathered"
    output: "last/{{n}}"
    resources: runtime=5
    shell: "sleep {last_s}; touch {{output}}"
"""


@dataclass(frozen=True)
class Form:
    """Jobs of one core, one of four that needs them all, and jobs of one core after it."""

    first: int
    first_s: float
    gather_s: float
    last: int
    last_s: float

    def nominal_s(self) -> list[float]:
        """Return what commands take, in the order in which jobs are submitted."""
        return [self.first_s] * self.first + [self.gather_s] + [self.last_s] * self.last

    def workload(self, overhead_s: float) -> Workload:
        """Return the same for the simulator; a job takes `overhead_s` beside its command."""
        steps = tuple(Step(r, Shape(c, 500, 100), 300) for r, c in (("one", 1), ("gather", 4)))
        step_of = array("H", [0] * self.first + [1] + [0] * self.last)
        runtime_s = array("f", (nominal_s + overhead_s for nominal_s in self.nominal_s()))
        rows = [[]] * self.first + [list(range(self.first))] + [[self.first]] * self.last
        return Workload("sim-to-real", steps, step_of, runtime_s, CSR.of(rows))


CALIBRATION = Form(first=64, first_s=5, gather_s=3, last=8, last_s=4)
MEASURED = Form(first=96, first_s=15, gather_s=10, last=24, last_s=12)


@dataclass
class Times:
    """When a job was submitted, began and ended, and on which pilot."""

    submitted_s: float = 0.0
    executed_s: float = 0.0
    ended_s: float = 0.0
    pilot: str = ""


@dataclass
class Trace:
    """The results of a run: its record, its pilots, and its jobs in the order of submission."""

    record: dict[str, Any]
    pilots: list[Pilot]
    jobs: list[Times] = field(default_factory=list)


def trace(form: Form, folder: Path) -> Trace:
    """Run `form` on the pool and return what it left."""
    record = measure(SNAKEFILE.format(**vars(form)), folder, [])
    (run_folder,) = (path.parent for path in folder.glob(f".snakemake/osgpilot/*/{JOURNAL}"))
    times: defaultdict[str, Times] = defaultdict(Times)
    for job_id, event in EventLog(run_folder / "jobs.log").read():
        match event.kind:
            case EventKind.SUBMIT:
                times[job_id].submitted_s = event.at_s
            case EventKind.EXECUTE:
                times[job_id].executed_s, times[job_id].pilot = event.at_s, event.pilot
            case EventKind.TERMINATED:
                times[job_id].ended_s = event.at_s
    jobs = sorted(times.values(), key=lambda each: each.submitted_s)
    assert len(jobs) == len(form.nominal_s()), "a job was started twice, or events are missing"
    return Trace(record, Journal(run_folder / JOURNAL).pilots(), jobs)


def fitted(form: Form, seen: Trace, site: Site) -> tuple[Site, float]:
    """Return `site` with the delays of a run, and what a job takes beside its command.

    The log has whole seconds, so means tell more than medians.
    """
    pairs = zip(seen.jobs, form.nominal_s(), strict=True)
    overhead_s = mean(job.ended_s - job.executed_s - nominal_s for job, nominal_s in pairs)
    first, gather, last = (
        seen.jobs[: form.first], seen.jobs[form.first], seen.jobs[form.first + 1 :]
    )  # fmt: skip
    first_s = {job.pilot: job.executed_s for job in sorted(first, key=_executed_s, reverse=True)}
    started = [
        (p, p.started_s) for p in seen.pilots if p.name in first_s and p.started_s is not None
    ]
    wait_s = mean(started_s - pilot.asked_s for pilot, started_s in started)
    boot_s = mean(first_s[pilot.name] - started_s for pilot, started_s in started)
    hand_over_s = mean(
        (
            gather.submitted_s - max(job.ended_s for job in first),
            mean(job.submitted_s for job in last) - gather.ended_s,
        )
    )
    follower_s = min(job.executed_s - job.submitted_s for job in last)
    start_s = max(0.0, follower_s - NEGOTIATION_S / 2)
    return Site(
        "local pool",
        site.offers,
        waits=Waits(max(0.0, wait_s), 0.0, cores_power=0, walltime_power=0),
        boot=Spread(max(0.0, boot_s - NEGOTIATION_S / 2 - start_s)),
        negotiation_s=NEGOTIATION_S,
        hand_over_s=max(0.0, hand_over_s),
        start_s=start_s,
        next_s=max(0.0, gap_s(first)),
        idle_s=60.0,
    ), max(0.0, overhead_s)


def _executed_s(job: Times) -> float:
    return job.executed_s


def gap_s(jobs: list[Times]) -> float:
    """Return the time between the end of a job and the start of the next in its slot.

    The mean of the middle half: a job that had to wait for matchmaking is not meant.
    """
    gaps = []
    for pilot in {job.pilot for job in jobs}:
        here = [job for job in jobs if job.pilot == pilot]
        ends = sorted(job.ended_s for job in here)
        starts = sorted(job.executed_s for job in here)
        gaps += [start_s - end_s for end_s, start_s in zip(ends, starts[4:], strict=False)]
    middle = sorted(gaps)[len(gaps) // 4 : -(-3 * len(gaps) // 4)]
    return mean(middle) if middle else 0.0


def report(real: Trace, predicted: Outcome) -> None:
    pairs = {
        "makespan_s": (predicted.makespan_s, real.record["makespan_s"]),
        "core_hours": (predicted.charged_core_s / 3600, real.record["charged_core_h"]),
        "pilots": (predicted.launched, len(real.pilots)),
    }
    for name, (simulated, measured) in pairs.items():
        print(f"sim-to-real {name}_simulated {simulated:.4g}")
        print(f"sim-to-real {name}_measured {measured:.4g}")
    for name, metric in (("makespan_s", "makespan_error"), ("core_hours", "core_hours_error")):
        simulated, measured = pairs[name]
        print(f"sim-to-real {metric} {abs(simulated - measured) / measured:.3f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
        calibration = trace(CALIBRATION, Path(first))
        policy = policy_of(load(Path(first) / "site.yaml"), Limits(4, 10, None, None, 0.5))
        site, overhead_s = fitted(CALIBRATION, calibration, Site("local pool", policy.offers))
        assert site.waits
        fits = {"wait_s": site.waits.median_s, "boot_s": site.boot.median_s}
        fits |= {name: getattr(site, name) for name in ("hand_over_s", "start_s", "next_s")}
        for name, seconds in (fits | {"overhead_s": overhead_s}).items():
            print(f"sim-to-real fitted_{name} {seconds:.2f}", flush=True)
        predicted = run(MEASURED.workload(overhead_s), site, plan, policy, 1)
        report(trace(MEASURED, Path(second)), predicted)


if __name__ == "__main__":
    main()
