"""Rebuild a job from all events that a history has of it. Pure.

Several threads write a history, so lines of one session may be in any order; sessions follow each
other. A resumed session repeats what the event log has, older events included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby, permutations
from operator import itemgetter
from typing import Any

from ..jobs.state.events import NO_USAGE, CommandUsage, Usage
from ..model.resources import JobClass, Shape
from .entities import Attempt, Job

OVER = ("done", "failed")

LAST = float("inf")
"""The time of events that count after all others of their session."""

_KINDS = ("queued", "sent", "started", "held", "waiting", "removed", "ended", "spent", "failed")
RANK = {kind: rank for rank, kind in enumerate(_KINDS)}
"""The order of events of the same time, by kind."""

_STATES = {"started": "running", "held": "held", "waiting": "waiting", "removed": "failed",
           "ended": "done"}  # fmt: skip
MOVES = {RANK[kind]: state for kind, state in _STATES.items()}
"""The state that an event leads to, by rank."""

_BEFORE = {
    "running": ("queued", "waiting", "cancelled"), "held": ("queued", "waiting"),
    "waiting": ("running", "held", "done", "failed"),
    "done": ("queued", "waiting", "running"), "failed": ("queued", "waiting", "running", "held"),
}  # fmt: skip
"""The states before each. HTCondor evicts a job before it holds it, and counts in seconds."""

MOVES_MAX = 5
"""Maximum number of events of the same second that are put in a plausible order."""

JobEvent = tuple[int, float, int, tuple[Any, ...]]
"""Session, time, rank and values of the line; plain, as a run has a hundred thousand of them."""


def rebuild(job: Job, events: list[JobEvent], ends_s: Mapping[int, float]) -> None:
    """Set `job` to the state that `events` lead to, in whichever order they are given.

    `ends_s` has the end of each session that removed all remaining jobs. Jobs that a later session
    reports again survived it.
    """
    ordered = _in_order(events)
    if [event[2] for event in ordered] == RAN_ONCE and ordered[0][0] == ordered[-1][0]:
        _run_once(job, *ordered)
        return
    replay = _Replay(job)
    first, last = ordered[0][0], ordered[-1][0]
    if first == last:
        # most jobs have only one session: the loop below in short
        replay.take(ordered)
        if job.state not in OVER:
            for session in sorted(each for each in ends_s if each >= first):
                replay.cancel(ends_s[session])
        return
    by_session = {n: list(own) for n, own in groupby(ordered, key=itemgetter(0))}
    for session in sorted({*by_session, *(each for each in ends_s if each > first)}):
        replay.take(by_session.get(session, []))
        if session in ends_s:
            replay.cancel(ends_s[session])


def _in_order(events: list[JobEvent]) -> list[JobEvent]:
    """Return events by session and time, each once."""
    try:
        return [event for event, _ in groupby(sorted(events))]
    except TypeError:
        # values of the same time, of which one is unknown
        return sorted(set(events), key=lambda event: (*event[:3], repr(event)))


RAN_ONCE = [RANK[kind] for kind in ("queued", "sent", "started", "ended", "spent")]
"""The events of nine of ten jobs, by rank, in the usual order."""


def _run_once(
    job: Job, queued: JobEvent, sent: JobEvent, started: JobEvent, ended: JobEvent, spent: JobEvent
) -> None:
    """Set `job` as `_Replay` would, without its detours."""
    job.rule, job.job_class, job.label, *names = queued[3]
    job.names, job.queued_s, job.sent_s = tuple(names), queued[1], sent[1]
    job.job_id = sent[3][0] or job.job_id
    at_s, (exit_status, *usage) = ended[1], ended[3]
    pilot, slot, allocation, node = started[3]
    how = "done" if exit_status == 0 else "failed"
    stopped_s = max(at_s, started[1])
    job.attempts = [Attempt(job, pilot, slot, started[1], stopped_s, how, allocation, node)]
    job.state, job.since_s, job.exit_status, job.text = how, at_s, exit_status, ""
    job.usage, job.spent = Usage(*usage), CommandUsage(*spent[3])


def _plausible(group: list[JobEvent], state: str) -> list[JobEvent]:
    """Return events of the same time in the first order that may have been, from `state` on."""
    moves = [event for event in group if event[2] in MOVES]
    if not 1 < len(moves) <= MOVES_MAX:
        return group
    for order in permutations(moves):
        before = state
        for event in order:
            after = MOVES[event[2]]
            if before not in _BEFORE[after]:
                break
            before = after
        else:
            return [*(event for event in group if event[2] not in MOVES), *order]
    return group


class _Replay:
    """Applies events to a job in order."""

    def __init__(self, job: Job) -> None:
        job.state, job.since_s, job.queued_s, job.sent_s = "queued", 0.0, 0.0, None
        job.exit_status, job.usage, job.spent, job.text = None, NO_USAGE, None, ""
        job.attempts = []
        self._job = job
        self._seen_s = float("-inf")

    def take(self, events: list[JobEvent]) -> None:
        """Apply the events of one session, in their order."""
        moves_s = [event[1] for event in events if event[2] in MOVES]
        if len(set(moves_s)) < len(moves_s):
            for _, group in groupby(events, key=itemgetter(1)):
                self._apply(_plausible(list(group), self._job.state))
        else:
            self._apply(events)

    def _apply(self, events: Iterable[JobEvent]) -> None:
        for _, at_s, rank, values in events:
            _HANDLERS[rank](self, at_s, *values)

    def cancel(self, at_s: float) -> None:
        """Apply the end of a session that removed all remaining jobs."""
        if self._job.state not in (*OVER, "cancelled"):
            self._stop(at_s, "cancelled")
            self._move("cancelled", at_s)

    def _queued(self, at_s: float, rule: str, asked: JobClass, label: str, *names: str) -> None:
        job = self._job
        if not job.queued_s:
            job.rule, job.label, job.names, job.queued_s = rule, label, names, at_s
            job.job_class, job.since_s = asked, at_s
        elif job.state in ("cancelled", "failed"):
            self._move("waiting", at_s)

    def _sent(self, at_s: float, job_id: str) -> None:
        job = self._job
        job.sent_s, job.job_id = job.sent_s or at_s, job_id or job.job_id
        if job.state == "queued":
            self._move("waiting", at_s)

    def _started(self, at_s: float, pilot: str, slot: str, allocation: str, node: str) -> None:
        job = self._job
        if job.attempts:
            same = next((a for a in job.attempts if a.started_s == at_s), None)
            if same is not None and same.how != "cancelled":
                return
            if same is not None:
                # it survived the end of a session
                job.attempts.remove(same)
        self._seen_s = max(self._seen_s, at_s)
        self._stop(at_s, "interrupted")
        job.attempts.append(Attempt(job, pilot, slot, at_s, allocation=allocation, node=node))
        self._move("running", at_s)

    def _held(self, at_s: float, text: str) -> None:
        self._back("held", at_s, text)

    def _removed(self, at_s: float, text: str) -> None:
        self._back("failed", at_s, text)

    def _waiting(self, at_s: float, text: str, *asked: int) -> None:
        if asked:
            *shape, runtime_s = asked
            self._job.job_class = JobClass(Shape(*shape), runtime_s)
        self._back("waiting", at_s, text)

    def _back(self, state: str, at_s: float, text: str) -> None:
        job = self._job
        if at_s < self._seen_s or (job.state == state and job.since_s >= at_s):
            return
        self._seen_s = at_s
        self._stop(at_s, "interrupted")
        job.text = text
        self._move(state, at_s)

    def _ended(self, at_s: float, exit_status: int | None, *usage: float) -> None:
        if at_s < self._seen_s:
            return
        self._seen_s = at_s
        job = self._job
        job.exit_status, job.usage = exit_status, Usage(*usage)  # type: ignore[arg-type]
        how = "done" if exit_status == 0 else "failed"
        self._stop(at_s, how)
        self._move(how, at_s)

    def _spent(self, _: float, *usage: float) -> None:
        self._job.spent = CommandUsage(*usage)

    def _failed(self, _: float, at_s: float, text: str) -> None:
        """Apply a failure that was reported to Snakemake: incomplete outputs fail a job that exited
        with 0, and the line of its end may be missing.
        """
        job = self._job
        self._stop(at_s, "failed")
        if job.last is not None and job.last.how == "done":
            job.last.how = "failed"
        job.text, job.state = text, "failed"

    def _stop(self, at_s: float, how: str) -> None:
        attempt = self._job.last
        if attempt is not None and attempt.stopped_s is None:
            attempt.stopped_s, attempt.how = max(at_s, attempt.started_s), how

    def _move(self, state: str, at_s: float) -> None:
        self._job.state, self._job.since_s = state, at_s


_HANDLERS: tuple[Callable[..., None], ...] = tuple(getattr(_Replay, f"_{kind}") for kind in _KINDS)
