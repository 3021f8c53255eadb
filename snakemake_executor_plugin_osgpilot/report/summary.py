"""A run at one moment, as one value for terminal, page and programs. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from ..common.counting import count_of
from ..common.failure_text import summary
from ..monitoring.progress import Progress
from ..scaling.planner.eta import Eta
from .entities import Pilot
from .replay import ReplayedRun

ENDED = ("done", "failed", "cancelled")
"""The states of a pilot that has ended."""

STATES = ("waiting", "running", "held", "done", "failed", "cancelled")


class RunState(StrEnum):
    """The state of a run.

    `FAILED`: a job failed, here or beside the OSPool, or an error stopped Snakemake. `INTERRUPTED`:
    it was stopped before all jobs had run. `LOST`: no process drives it, and it did not end
    properly.
    """

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    DETACHED = "detached"
    LOST = "cut short"


@dataclass(frozen=True)
class RuleView:
    """The jobs of one rule by state, their core-hours, and the Slurm jobs they ran in.

    A job that failed and was submitted again is one job; `retries` counts how often that was done.
    """

    jobs: int = 0
    waiting: int = 0
    running: int = 0
    held: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    retries: int = 0
    core_h: float = 0.0
    allocations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PilotView:
    """A pilot; `busy_cores` have jobs now, `for_s` is the time in its state."""

    name: str
    allocation: str
    state: str
    node: str
    cores: int
    charged_cores: int
    memory_mb: int
    charged_s: float
    busy_cores: int
    jobs: int
    for_s: float
    left_s: float | None
    why: str
    site: str = ""


@dataclass(frozen=True)
class SiteView:
    """The pilots at a site: all, those that have not ended, and what was charged for them."""

    pilots: int
    live: int
    charged_core_h: float


@dataclass(frozen=True)
class Decision:
    """A decision of a plan, or one that it declined, and the reason."""

    at_s: float
    text: str


@dataclass(frozen=True)
class FailureView:
    """Why a job failed, in one line and in full; `retried` is True if Snakemake submitted it
    again. `job_id` is HTCondor's.
    """

    at_s: float
    rule: str
    job: str
    label: str
    allocation: str
    node: str
    job_id: str
    summary: str
    text: str
    retried: bool


@dataclass(frozen=True)
class Transfers:
    """What the access point sent to jobs that ended, with inputs by URL, and got from them, and the
    images and the inputs that it sent for several jobs each; `pilots` have had jobs.
    """

    jobs: int = 0
    to_jobs_mb: float = 0.0
    from_jobs_mb: float = 0.0
    images: int = 0
    images_mb: float = 0.0
    pilots: int = 0
    shared: int = 0
    shared_mb: float = 0.0

    @property
    def out_mb(self) -> float:
        """All that left the access point."""
        return self.to_jobs_mb + self.images_mb + self.shared_mb


@dataclass(frozen=True)
class View:
    """A run at `at_s`.

    Cores: `demand_cores` are asked for by waiting jobs, `supply_cores` those of pilots that serve
    or will, `busy_cores` have jobs. `max_core_h` and `left_core_h` are None without a budget;
    `queue_wait_s` is what a new pilot is expected to wait in Slurm's queue. `bound_s` is
    the time that no number of pilots beats. `is_full`: the history has reached its limit, and
    nothing later is known. `error` is the error that stopped Snakemake, empty without one.
    """

    run: str
    project: str
    state: RunState
    at_s: float
    begun_s: float
    lives: int
    progress: Progress
    rules: dict[str, RuleView]
    pilots: list[PilotView]
    demand_cores: int
    supply_cores: int
    busy_cores: int
    queue_wait_s: float | None
    max_core_h: float | None
    left_core_h: float | None
    used_core_h: float
    charged_core_h: float
    makespan_s: float
    bound_s: float
    pilots_never_used: int
    forecast: dict[str, float | None]
    decisions: list[Decision]
    failures: list[FailureView]
    transfers: Transfers = Transfers()
    is_full: bool = False
    sites: dict[str, SiteView] = field(default_factory=dict)
    error: str = ""

    def plain(self) -> dict[str, object]:
        """Return all of it for JSON."""
        steps = self.progress.steps
        plain = asdict(self)
        plain["progress"]["steps"] = steps._asdict() if steps else None
        return plain


def view(replayed: ReplayedRun, now_s: float, *, alive: bool) -> View:
    """Return a view of `replayed`; of a dead run, at its last sign of life."""
    at_s = now_s if alive else replayed.last_s
    rules = _rules(replayed, at_s)
    pilots = [_pilot(pilot, replayed, at_s) for pilot in replayed.pilots.values()]
    used_core_h = sum(rule.core_h for rule in rules.values())
    charged_core_h = sum(p.charged_s * p.charged_cores for p in pilots) / 3600
    max_core_s = replayed.life.get("policy", {}).get("core_s_max")
    max_core_h = None if max_core_s is None else max_core_s / 3600
    plan = replayed.plan or {}
    makespan_s, bound_s = makespan(replayed, at_s), bound(replayed, used_core_h * 3600)
    progress = _progress(replayed, rules, at_s, alive=alive)
    used = _used(replayed)
    return View(
        run=replayed.life.get("run", replayed.name),
        project=replayed.life.get("project", ""),
        state=_state(replayed, progress, alive=alive),
        at_s=at_s,
        begun_s=replayed.first_s,
        lives=replayed.lives,
        progress=progress,
        rules=rules,
        pilots=pilots,
        demand_cores=sum(j.job_class.shape.cores for j in replayed.jobs.values() if j.waits),
        supply_cores=sum(
            p.shape.cores for p in replayed.pilots.values() if not p.over and p.state != "draining"
        ),
        busy_cores=sum(p.busy_cores for p in pilots),
        queue_wait_s=min(plan.get("waits_s", {}).values(), default=None),
        max_core_h=max_core_h,
        left_core_h=None if max_core_h is None else max(0.0, max_core_h - charged_core_h),
        used_core_h=used_core_h,
        charged_core_h=charged_core_h,
        makespan_s=makespan_s,
        bound_s=bound_s,
        pilots_never_used=_never_used(replayed, used),
        forecast=plan.get("forecast", {}),
        decisions=_decisions(replayed),
        failures=_failures(replayed),
        transfers=_transfers(replayed, len(used)),
        is_full=replayed.is_full,
        sites=_sites(pilots),
        error=replayed.error,
    )


def _state(replayed: ReplayedRun, progress: Progress, *, alive: bool) -> RunState:
    end, steps = replayed.end, replayed.steps
    if alive:
        return RunState.RUNNING
    if end is None:
        return RunState.LOST
    if end.get("detached"):
        return RunState.DETACHED
    if end.get("interrupted"):
        return RunState.INTERRUPTED
    if replayed.error or progress.failed or (steps and steps.failed):
        return RunState.FAILED
    left = steps.done < steps.total if steps else progress.cancelled or end.get("to_come")
    if "until" in replayed.life.get("about", {}):
        left = progress.cancelled
    return RunState.INTERRUPTED if left else RunState.DONE


def _rules(replayed: ReplayedRun, at_s: float) -> dict[str, RuleView]:
    states: defaultdict[str, Counter[str]] = defaultdict(Counter)
    retries: Counter[str] = Counter()
    core_s: Counter[str] = Counter()
    allocations: defaultdict[str, set[str]] = defaultdict(set)
    for job in replayed.jobs.values():
        if replayed.is_retried(job):
            retries[job.rule] += job.state == "failed"
        else:
            states[job.rule]["waiting" if job.waits else job.state] += 1
        for attempt in job.attempts:
            core_s[job.rule] += attempt.core_s(at_s)  # type: ignore[assignment]
            allocations[job.rule].add(attempt.allocation)
    return {
        rule: RuleView(
            jobs=counts.total(),
            retries=retries[rule],
            core_h=core_s[rule] / 3600,
            allocations=sorted(allocations[rule] - {""}),
            **{state: counts[state] for state in STATES},
        )
        for rule, counts in states.items()
    }


def _progress(
    replayed: ReplayedRun, rules: dict[str, RuleView], at_s: float, *, alive: bool
) -> Progress:
    plan, states = replayed.plan or {}, Counter(pilot.state for pilot in replayed.pilots.values())
    eta = plan.get("eta") if alive else None
    return Progress(
        waiting=sum(rule.waiting + rule.held for rule in rules.values()),
        running=sum(rule.running for rule in rules.values()),
        done=sum(rule.done for rule in rules.values()),
        failed=sum(rule.failed for rule in rules.values()),
        to_come=_to_come(replayed, alive=alive),
        cancelled=sum(rule.cancelled for rule in rules.values()),
        retries=sum(rule.retries for rule in rules.values()),
        steps=replayed.steps,
        pending=states["intended"] + states["pending"],
        booting=states["booting"],
        ready=states["ready"],
        eta=_eta(eta).after(at_s - plan["at_s"]) if eta else None,
    )


def _to_come(replayed: ReplayedRun, *, alive: bool) -> int:
    """Return how many jobs Snakemake still has, or had at the end."""
    last = (replayed.plan if alive else replayed.end) or {}
    return int(last.get("to_come", 0))


def _eta(eta: dict[str, Any]) -> Eta:
    return Eta(eta["low_s"], eta["high_s"], eta["serving"], tuple(eta["unknown"]))


def _pilot(pilot: Pilot, replayed: ReplayedRun, at_s: float) -> PilotView:
    running = replayed.running_on(pilot.name)
    since_s = pilot.moves.get(pilot.state, pilot.asked_s)
    runs = pilot.started_s is not None and not pilot.over
    return PilotView(
        name=pilot.name,
        allocation=pilot.allocation,
        state=pilot.state,
        node=pilot.node,
        cores=pilot.shape.cores,
        charged_cores=pilot.charged_cores,
        memory_mb=pilot.shape.memory_mb,
        charged_s=pilot.charged_s(at_s),
        busy_cores=sum(job.job_class.shape.cores for job in running),
        jobs=len(running),
        for_s=max(0.0, at_s - since_s),
        left_s=max(0.0, pilot.ends_s - at_s) if runs and pilot.ends_s is not None else None,
        why=pilot.pending_reason if pilot.waits else pilot.failure,
        site=pilot.site,
    )


def _sites(pilots: list[PilotView]) -> dict[str, SiteView]:
    by_site: dict[str, list[PilotView]] = {}
    for pilot in pilots:
        by_site.setdefault(pilot.site, []).append(pilot)
    return {
        site: SiteView(
            len(there),
            sum(pilot.state not in ENDED for pilot in there),
            sum(pilot.charged_s * pilot.charged_cores for pilot in there) / 3600,
        )
        for site, there in sorted(by_site.items())
    }


def makespan(replayed: ReplayedRun, at_s: float) -> float:
    """Return the time from the first submission to the end of the last job."""
    begun = [j.sent_s for j in replayed.jobs.values() if j.sent_s is not None]
    if not begun:
        return 0.0
    ended = [
        at_s if attempt.stopped_s is None else attempt.stopped_s
        for job in replayed.jobs.values()
        for attempt in job.attempts
    ]
    return max(0.0, max(ended, default=at_s) - min(begun))


def bound(replayed: ReplayedRun, used_core_s: float) -> float:
    """Return the time that no number of pilots beats, given the work that was done.

    The first pilot has to come; then the longest chain of jobs runs, or all cores allowed share
    the work (critical path and area bound of list scheduling; Graham 1969).
    """
    starts = [a.started_s for j in replayed.jobs.values() for a in j.attempts]
    begun = [j.sent_s for j in replayed.jobs.values() if j.sent_s is not None]
    if not starts or not begun:
        return 0.0
    policy = replayed.life.get("policy", {})
    largest = max((o["shape"]["cores"] for o in policy.get("offers", ())), default=1)
    cores = policy.get("pilots_max", 1) * largest
    cores = min(cores, policy.get("cores_max") or cores)
    first_s = max(0.0, min(starts) - min(begun))
    return float(first_s + max(replayed.critical_path_s, used_core_s / cores))


def _transfers(replayed: ReplayedRun, pilots: int) -> Transfers:
    measured = [job.usage for job in replayed.jobs.values() if job.usage.received_kb]
    sent, shared = replayed.images.values(), replayed.shared.values()
    return Transfers(
        jobs=len(measured),
        to_jobs_mb=sum(usage.received_kb for usage in measured) / 1024,
        from_jobs_mb=sum(usage.sent_kb for usage in measured) / 1024,
        images=len(sent),
        images_mb=sum(sent) / 1024**2,
        pilots=pilots,
        shared=len(shared),
        shared_mb=sum(shared) / 1024**2,
    )


def _used(replayed: ReplayedRun) -> set[str]:
    """Return the names of the pilots that have had jobs."""
    return {attempt.pilot for job in replayed.jobs.values() for attempt in job.attempts}


def _never_used(replayed: ReplayedRun, used: Collection[str]) -> int:
    return sum(p.started_s is not None and p.name not in used for p in replayed.pilots.values())


def _decisions(replayed: ReplayedRun) -> list[Decision]:
    found: list[Decision] = []
    refused: set[str] = set()
    for plan in replayed.decisions:
        for action in plan["actions"]:
            pilots = count_of(action["count"], "pilot")
            text = f"{action['action']} {pilots}: {action['reason']}"
            found.append(Decision(plan["at_s"], text))
        news = [refusal for refusal in plan["refusals"] if refusal["rule"] not in refused]
        refused = {refusal["rule"] for refusal in plan["refusals"]}
        for refusal in news:
            found.append(Decision(plan["at_s"], f"no more pilots: {refusal['reason']}"))
    return found


def _failures(replayed: ReplayedRun) -> list[FailureView]:
    found = []
    for failure in replayed.failures.values():
        job, last = failure.job, failure.job.last
        where = (last.allocation, last.node) if last else ("", "")
        texts = (summary(failure.text), failure.text)
        retried = job.state != "failed" or replayed.is_retried(job)
        found.append(
            FailureView(
                failure.at_s, job.rule, job.key, job.label, *where, job.job_id, *texts, retried
            )
        )
    return found
