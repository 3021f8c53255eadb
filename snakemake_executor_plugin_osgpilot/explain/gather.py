"""What is known of a run, put together to explain it: its history, Slurm's and HTCondor's word."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from statistics import median
from typing import Any, TypeVar

from snakemake_executor_plugin_osgpilot.explain.facts import Facts, JobFact, PilotFact
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.model.plan import Refusal
from snakemake_executor_plugin_osgpilot.model.resources import (
    END_MARGIN_S,
    PilotType,
    Policy,
    Shape,
)
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row, Seen
from snakemake_executor_plugin_osgpilot.report.entities import Job, Pilot
from snakemake_executor_plugin_osgpilot.report.replay import Story

_ENDS = {Seen.COMPLETED: "done", Seen.FAILED: "failed", Seen.CANCELLED: "cancelled"}

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Heard:
    """What was asked just now: allocations by name, holds by HTCondor's id of the job.

    None where there was no answer; `unanswered` says who gave none.
    """

    rows: Mapping[str, Row] | None = None
    holds: Mapping[str, Event] | None = None
    unanswered: tuple[str, ...] = ()


def facts(story: Story, heard: Heard, now_s: float, *, alive: bool) -> Facts:
    """Return what `story` and what was `heard` tell. Who was not heard is not taken for absent."""
    policy = policy_of(story.life.get("policy"))
    taken_s = policy.life_taken_s if policy else 0
    usual_s = _usual_s(story.jobs.values())
    jobs = (_job(job, story, heard, usual_s.get(job.rule)) for job in story.jobs.values())
    pilots = (_pilot(p, story, heard, now_s, taken_s) for p in story.pilots.values())
    plan = story.plan if alive else None
    return Facts(
        now_s,
        alive,
        story.is_over,
        policy,
        tuple(jobs),
        tuple(pilots),
        tuple(_known(Refusal, refusal) for refusal in plan["refusals"]) if plan else (),
        heard.unanswered,
    )


def names(story: Story) -> Iterable[tuple[str, str]]:
    """Return what users may call jobs by, each with the job's key."""
    return ((name, job.key) for job in story.jobs.values() for name in job.names)


def place_of(line: Mapping[str, Any] | None) -> Place:
    """Return where a run has its jobs and pilots; on its host if its history does not tell."""
    return _known(Place, line or {})


def policy_of(line: Mapping[str, Any] | None) -> Policy | None:
    """Return the policy that a run began with, None if its history does not tell."""
    if not line:
        return None
    offers = tuple(
        _known(PilotType, {**offer, "shape": Shape(**offer["shape"])}) for offer in line["offers"]
    )
    return _known(Policy, {**line, "offers": offers})


def _known(kind: type[_Made], told: Mapping[str, Any]) -> _Made:
    """Return a value of `kind` from what a history tells, which may be of another version."""
    expected = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    values = {name: value for name, value in told.items() if name in expected}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


def _usual_s(jobs: Iterable[Job]) -> dict[str, float]:
    took: defaultdict[str, list[float]] = defaultdict(list)
    for job in jobs:
        last = job.last
        if job.state == "done" and last is not None and last.stopped_s is not None:
            took[job.rule].append(last.stopped_s - last.started_s)
    return {rule: median(times) for rule, times in took.items()}


def _job(job: Job, story: Story, heard: Heard, usual_s: float | None) -> JobFact:
    label, last = f" ({job.label})" if job.label else "", job.last
    fact = JobFact(
        job.key,
        job.rule,
        f"rule {job.rule}{label}",
        "retried" if story.state_of(job) == "retried" else job.state,
        job.job_class,
        job.since_s,
        job.job_id,
        job.text,
        allocation=last.allocation if last else "",
        node=last.node if last else "",
        starts=len(job.attempts),
        usual_s=usual_s,
        woken_s=tuple(job.woken_s),
    )
    hold = (heard.holds or {}).get(job.job_id) if job.state == "held" else None
    if hold is None:
        return fact
    return replace(fact, text=hold.text, code=hold.code, subcode=hold.subcode)


def _pilot(pilot: Pilot, story: Story, heard: Heard, now_s: float, taken_s: float) -> PilotFact:
    running, free = story.running_on(pilot.name), pilot.shape
    for job in running:
        free -= job.job_class.shape
    life_s = pilot.walltime_s - taken_s
    if not pilot.waits and pilot.ends_s is not None:
        life_s = pilot.ends_s - END_MARGIN_S - now_s
    fact = PilotFact(
        pilot.name,
        pilot.state,
        pilot.shape,
        free,
        pilot.moves.get(pilot.state, pilot.asked_s),
        pilot.allocation,
        pilot.node,
        pilot.offer,
        pilot.pending_reason,
        pilot.failure,
        life_s,
        len(running),
    )
    row = (heard.rows or {}).get(pilot.name)
    if row is None or pilot.over:
        return fact
    state = _ENDS.get(row.seen, fact.state)
    reason = row.reason if row.seen is Seen.QUEUED else fact.pending_reason
    return replace(fact, state=state, allocation=row.allocation_id, pending_reason=reason)
