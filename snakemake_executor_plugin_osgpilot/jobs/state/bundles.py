"""Bundles: several jobs of a rule that run one after the other as one HTCondor job.

To the rest of `jobs`, each member of a bundle is a job with an id of its own (`job_ids`), and the
first member stands for the bundle: it runs while the bundle runs, and the others wait on its pilot.
When the bundle has ended, each member has the end that the bundle recorded for it. One without such
an end, and every member of a bundle that was interrupted, is resubmitted alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from . import hold_policy
from .events import Event, EventKind, Usage
from .job_ids import NUMBER, htcondor_id, is_lead

SEPARATOR = "+"
"""After the key of each member, in the order of their numbers, where HTCondor keeps them."""


class MemberEnd(NamedTuple):
    """The end of one member: its exit status, and times in seconds after the bundle's start."""

    exit_status: int
    began_s: float
    ended_s: float


Ends = Callable[[Sequence[str]], Sequence[MemberEnd | None]]
"""Returns the ends of jobs by their keys, None for those that did not end."""


def interrupts(event: Event) -> bool:
    """Return True if a bundle cannot go on after `event`, and is taken apart.

    A hold by hand, or one that is released at once, does not interrupt it.
    """
    if event.kind is EventKind.HELD:
        by_hand = event.code in (*hold_policy.BY_HAND, hold_policy.SPOOLING)
        return not (by_hand or hold_policy.is_temporary(event))
    if event.kind is EventKind.EVICTED:
        # before a hold, which follows
        return not event.before_hold
    return event.kind in (EventKind.NOT_STARTED, EventKind.APART)


def text_of(keys: Sequence[str]) -> str:
    """Return the keys of a bundle as HTCondor keeps them."""
    return "".join(f"{key}{SEPARATOR}" for key in keys)


class Bundles:
    """The bundles of a run by `cluster.proc`: the keys of their members, and their latest start."""

    def __init__(self) -> None:
        self._keys: dict[str, tuple[str, ...]] = {}
        self._started: dict[str, Event] = {}

    def add(self, job_id: str, keys: Sequence[str]) -> dict[str, str]:
        """Register a bundle; return the ids of its members by key."""
        self._keys[job_id] = tuple(keys)
        return {key: f"{job_id}{NUMBER}{number}" for number, key in enumerate(keys)}

    def ids(self, job_id: str) -> list[str]:
        """Return the ids of all jobs in a job of HTCondor."""
        keys = self._keys.get(job_id, ())
        return [f"{job_id}{NUMBER}{number}" for number in range(len(keys))] or [job_id]

    def of_text(self, job_id: str, text: str) -> dict[str, str]:
        """Return the ids of the jobs by key whose keys HTCondor has kept for a job of its own."""
        if SEPARATOR not in text:
            return {text: job_id}
        # they name folders
        return self.add(job_id, [key for key in text.split(SEPARATOR) if key.isalnum()])

    def keys(self, job_id: str) -> tuple[str, ...]:
        """Return the keys of the members of the bundle that a job is in, none if it is in none."""
        return self._keys.get(htcondor_id(job_id), ())

    def expand(self, job_id: str, event: Event, ends: Ends) -> list[tuple[str, Event]]:
        """Return the events of jobs, by id, that follow from an event of a job of HTCondor."""
        if event.kind is EventKind.SUBMIT and SEPARATOR in event.key:
            ids = self.of_text(job_id, event.key)
            return [(member, replace(event, key=key)) for key, member in ids.items()]
        if job_id not in self._keys:
            return [(job_id, event)]
        lead, *others = self.ids(job_id)
        if event.kind is EventKind.TERMINATED:
            return self._ended(job_id, event, ends(self._keys[job_id]))
        told = event
        if event.kind is EventKind.EXECUTE:
            self._started[job_id] = event
            told = replace(event, kind=EventKind.MATCHED)
        elif interrupts(event):
            told = Event(EventKind.APART, event.at_s, text=event.text)
        elif event.kind not in (EventKind.SUBMIT, EventKind.ABORTED):
            others = []
        return [(lead, event), *((member, told) for member in others)]

    def _ended(
        self, job_id: str, event: Event, ends: Sequence[MemberEnd | None]
    ) -> list[tuple[str, Event]]:
        started = self._started.pop(job_id, None)
        found: list[tuple[str, Event]] = []
        for member, end in zip(self.ids(job_id), ends, strict=True):
            if end is None:
                text = "its bundle ended before it did"
                found.append((member, Event(EventKind.APART, event.at_s, text=text)))
                continue
            ended_s = event.at_s
            if started is not None:
                # by the clock of the node only durations count
                began_s = min(started.at_s + end.began_s, event.at_s)
                ended_s = min(started.at_s + end.ended_s, event.at_s)
                if not is_lead(member):
                    found.append((member, replace(started, at_s=began_s)))
            part = _part(event.usage, len(ends))
            ended = replace(event, at_s=ended_s, exit_status=end.exit_status, usage=part)
            found.append((member, ended))
        return found


def _part(usage: Usage, members: int) -> Usage:
    """Return the part of one of `members`; memory and disk are the most of all of them."""
    return usage._replace(
        cpu_s=usage.cpu_s / members,
        received_kb=usage.received_kb / members,
        sent_kb=usage.sent_kb / members,
    )
