"""Combine a run's history with answers of Slurm and HTCondor into facts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from ..jobs.state.events import Event
from ..journal.location import Place, SiteLocation
from ..model.plan import Refusal
from ..model.resources import PilotType, Policy, Shape, SiteLimits
from ..model.upcoming import RuleAhead
from ..pilots.state.lifecycle import Row, Seen
from ..report.entities import Job, Pilot
from ..report.replay import ReplayedRun
from .facts import Facts

_ENDS = {Seen.COMPLETED: "done", Seen.FAILED: "failed", Seen.CANCELLED: "cancelled"}

_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Answers:
    """Answers of this moment: allocations by name, holds by HTCondor job id.

    None where there was no answer; `unanswered` says who gave none.
    """

    rows: Mapping[str, Row] | None = None
    holds: Mapping[str, Event] | None = None
    unanswered: tuple[str, ...] = ()


def facts(replayed: ReplayedRun, answers: Answers, now_s: float, *, alive: bool) -> Facts:
    """Return the facts of `replayed` and `answers`. No answer proves nothing."""
    plan = replayed.plan if alive else None
    return Facts(
        now_s,
        alive,
        replayed.is_over,
        policy_of(replayed.life.get("policy")),
        tuple(_job(job, replayed, answers) for job in replayed.jobs.values()),
        tuple(_pilot(pilot, answers) for pilot in replayed.pilots.values()),
        tuple(_known(Refusal, refusal) for refusal in plan["refusals"]) if plan else (),
        answers.unanswered,
        _upcoming((replayed.plan or {}).get("upcoming", ())),
        replayed.error,
    )


def _upcoming(listed: Iterable[Mapping[str, Any]]) -> dict[str, RuleAhead]:
    """Return the rules that were to come at the latest plan."""
    return {
        each["rule"]: RuleAhead(each["jobs"], after=frozenset(each["after"])) for each in listed
    }


def place_of(line: Mapping[str, Any] | None) -> Place:
    """Return where a run has its jobs and pilots; its host if the history does not have it."""
    known = dict(line or {})
    others = tuple(_known(SiteLocation, each) for each in known.pop("others", ()))
    return replace(_known(Place, known), others=others)


def policy_of(line: Mapping[str, Any] | None) -> Policy | None:
    """Return the policy that a run began with, None if the history does not have it."""
    if not line:
        return None
    offers = tuple(
        _known(PilotType, {**offer, "shape": Shape(**offer["shape"])}) for offer in line["offers"]
    )
    own = tuple(_known(SiteLimits, limits) for limits in line.get("site_limits", ()))
    return _known(Policy, {**line, "offers": offers, "site_limits": own})


def _known(kind: type[_Made], line: Mapping[str, object]) -> _Made:
    """Return a value of `kind` from a history line, which may be of another version."""
    expected = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    values = {name: value for name, value in line.items() if name in expected}
    return kind(**{n: tuple(v) if isinstance(v, list) else v for n, v in values.items()})


def _job(job: Job, replayed: ReplayedRun, answers: Answers) -> Job:
    hold = (answers.holds or {}).get(job.job_id) if job.state == "held" else None
    if hold is not None:
        return replace(job, text=hold.text, code=hold.code, subcode=hold.subcode)
    return replace(job, state="retried") if replayed.state_of(job) == "retried" else job


def _pilot(pilot: Pilot, answers: Answers) -> Pilot:
    row = (answers.rows or {}).get(pilot.name)
    if row is None or pilot.over:
        return pilot
    state = _ENDS.get(row.seen, pilot.state)
    reason = row.reason if row.seen is Seen.QUEUED else pilot.pending_reason
    return replace(
        pilot,
        state=state,
        allocation=row.allocation_id,
        pending_reason=reason,
        moves={state: pilot.since_s, **pilot.moves},
    )
