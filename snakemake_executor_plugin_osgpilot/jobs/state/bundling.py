"""Decide how many unsent jobs are submitted now, and in which bundles.

A bundle takes `target_s` at most, as far as is known, and less towards the end (guided
self-scheduling), so that all slots finish at about the same time. No more bundles are submitted
than could start soon: the others are made when more is known. What is known comes from jobs of this
run: an earlier one, which may have had other data, is believed for the first bundles only, and
these are short.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ...model.resources import Request, Shape
from ...model.runtime_by_size import RuntimesBySize
from .job import Job
from .table import JobTable

TARGET_S = 60.0
"""The time that a bundle should take, unless the user says another: its results come back then."""

AWAITED_S = 10.0
"""The same if other jobs wait for single results of it: much longer than its start takes."""

UNPROVEN_S = 10.0
"""The same until a job of the rule has ended in this run, if earlier runs say what it takes. They
are believed no more when a bundle takes three times as long."""

START_S = 0.1
"""The time that the access point takes to start a job: it must be able to keep all slots busy."""

LEAST_S = 8.0
"""To start a job takes a second and more, so bundles are no shorter than this if there are as many
as the access point starts meanwhile."""

AT_ONCE = 16

LAST_S = 3.0
"""The last bundles are no shorter than this, or than the share of a slot in the remaining work:
otherwise they take longer to start than to run."""

MEMBERS_MAX = 200

LIMIT = 2
"""After this many times its target, a bundle starts no further member."""

TEACHING_S = 2.0
"""While nothing is known of a rule, and its first jobs have just started, further ones wait for so
long: those that are shorter will have ended by then."""

UNKNOWN_S = 0.5
"""How much longer a job may have taken than the event log says, which has whole seconds. The
members of a bundle measure their times themselves."""

SLOT_ROUNDS = 1.5
"""Bundles for each slot that the jobs left over would make: fewer starts than with 2, and still a
third is left to even out the ends."""


@dataclass(frozen=True)
class RuleKnowledge:
    """The knowledge of this run about the jobs of a rule.

    `ended` are those that ended; `spent_s` is the execution time of those that ended or run alone,
    up to now; `running` are the latter. `idle` jobs of HTCondor wait in the queue, and the latest
    start was `started_s` ago. In earlier runs, a job took `earlier_s`, None if unknown.
    """

    ended: int = 0
    spent_s: float = 0.0
    running: int = 0
    idle: int = 0
    started_s: float = math.inf
    earlier_s: float | None = None

    def expected_s(self, target_s: float, slots: int) -> float | None:
        """Return what a job is expected to take, None if nothing is known.

        Jobs that still run count with their time up to now: those that end first are the shortest.
        The first jobs, one for each slot, are known to the second, and they start and end together.
        """
        if self.ended:
            return (self.spent_s + min(self.ended, slots) * UNKNOWN_S) / self.ended
        if self.running and self.spent_s / self.running >= target_s / 2:
            return math.inf
        return None


def awaited_target_s(target_s: float, slots: int) -> float:
    """Return the time that a bundle should take if other jobs wait for single results of it, where
    it would take `target_s` otherwise.
    """
    return min(target_s, max(AWAITED_S, slots * START_S))


def size(
    waiting: int, expected_s: float, slots: int, target_s: float, slot_share: float = 1
) -> int:
    """Return the number of jobs in the next bundle while `waiting` are left.

    `slot_share` is how many of those that waited at the time of the decision there were for each
    slot.
    """
    expected_s = max(expected_s, 1e-3)
    least = min(LEAST_S / expected_s, waiting / min(slots, AT_ONCE))
    least = max(least, min(LAST_S / expected_s, slot_share))
    share = max(waiting / (SLOT_ROUNDS * slots), least)
    most = min(target_s / expected_s, MEMBERS_MAX)
    return min(waiting, max(1, int(min(share, most))))


def sizes(
    waiting: int,
    known: RuleKnowledge,
    slots: int,
    target_s: float,
    room: int,
    *,
    all_now: bool = False,
) -> list[int]:
    """Return the sizes of the bundles to submit now, 1 for a job by itself; the other jobs wait.

    `slots` is how many jobs can run at a time, `room` how many may be submitted. With `all_now`,
    none waits.
    """
    expected_s = known.expected_s(target_s, slots)
    if expected_s is None and known.earlier_s is not None and 2 * known.earlier_s <= UNPROVEN_S:
        expected_s, target_s = known.earlier_s, min(target_s, UNPROVEN_S)
    if expected_s is None:
        return [1] * min(room, waiting if all_now else _teachers(waiting, known, slots))
    if 2 * expected_s > target_s:
        return [1] * min(room, waiting)
    # the last ones do not wait here: a slot that finds no job is given up, and matched again later
    is_end = waiting * expected_s <= LEAST_S * slots
    bundles = math.inf if all_now or is_end else _missing(known.idle, slots)
    slot_share = math.ceil(waiting / slots)
    found: list[int] = []
    while waiting and room and len(found) < bundles:
        number = min(room, size(waiting, expected_s, slots, target_s, slot_share))
        found.append(number)
        waiting -= number
        room -= number
    return found


def _missing(idle: int, slots: int) -> int:
    """Return how many bundles to add to the idle ones: several at a time, as each submission takes
    a request.
    """
    return slots - idle if 2 * idle <= slots else 0


def _teachers(waiting: int, known: RuleKnowledge, slots: int) -> int:
    """Return how many jobs of a rule of which nothing is known are submitted."""
    if waiting <= slots:
        return waiting
    if known.idle or known.started_s < TEACHING_S:
        return max(0, slots - known.idle - known.running)
    return slots


class Kind(NamedTuple):
    """Unsent jobs of one request; of those that may be in one bundle, also the rule, and the time
    `bundle_s` that it should take.
    """

    request: Request
    rule: str = ""
    bundle_s: float = 0.0


class Bundler:
    """Decides from the jobs in `table` and the `shapes` of the pilots that there are; before there
    is any, `largest` stands for one. `runtimes` are those of earlier runs. `_awaited` are rules
    with jobs that others wait for one by one.

    Nothing else is remembered from one decision to the next.
    """

    def __init__(
        self, table: JobTable, largest: Shape, runtimes: RuntimesBySize | None = None,
        *, all_now: bool = False,
    ) -> None:  # fmt: skip
        self._table, self._largest, self._all_now = table, largest, all_now
        self._runtimes = runtimes or RuntimesBySize()
        self.shapes: tuple[Shape, ...] = ()
        self._awaited: frozenset[str] = frozenset()

    def expect(self, awaited: Iterable[str]) -> None:
        """Set the keys of the jobs of which each is all that some other job waits for."""
        found = filter(None, map(self._table.get, awaited))
        self._awaited = frozenset(job.rule for job in found)

    def kind_of(self, job: Job) -> Kind:
        """Return the kind of an unsent job. One that failed on a pilot goes by itself."""
        if job.bundle_s and job.identity not in self._table.failed_on:
            return Kind(job.request, job.rule, job.bundle_s)
        return Kind(job.request)

    def sizes(self, unsent: Mapping[Kind, int], room: int, now_s: float) -> dict[Kind, list[int]]:
        """Return the sizes of the bundles to submit now by kind of job, as if each kind had all of
        `room`.
        """
        executing: defaultdict[str, list[Job]] = defaultdict(list)
        if any(kind.bundle_s for kind in unsent):
            for job in self._table.executing.values():
                executing[job.rule].append(job)
        return {
            kind: self._sizes(kind, count, room, self._known(kind, executing[kind.rule], now_s))
            if kind.bundle_s
            else [1] * min(room, count)
            for kind, count in unsent.items()
        }

    def _sizes(self, kind: Kind, count: int, room: int, known: RuleKnowledge) -> list[int]:
        shape = kind.request.job_class.shape
        slots = sum(pilot.holds(shape) for pilot in self.shapes) or self._largest.holds(shape)
        slots = max(1, slots)
        target_s = kind.bundle_s
        # another time is the user's choice
        if kind.rule in self._awaited and target_s == TARGET_S:
            target_s = awaited_target_s(target_s, slots)
        return sizes(count, known, slots, target_s, room, all_now=self._all_now)

    def _known(self, kind: Kind, executing: Iterable[Job], now_s: float) -> RuleKnowledge:
        """Return what is known by now of the rule of these jobs."""
        sums = self._table.rules[kind.rule]
        spent_s, running = sums.past_core_s / kind.request.job_class.shape.cores, 0
        earlier_s = self._runtimes.earlier_s(kind.rule)
        for job in executing:
            age_s = max(0.0, now_s - (job.started_s or now_s))
            # one in a bundle has taken part of that only, or it is long
            spent_s += max(0.0, age_s - kind.bundle_s) if job.is_bundled else age_s
            running += not job.is_bundled
            if job.is_bundled and age_s > 3 * UNPROVEN_S:
                earlier_s = None
        since_s = now_s - self._table.rule_started_s.get(kind.rule, -math.inf)
        idle = self._table.idle[kind.rule]
        return RuleKnowledge(sums.done + sums.failed, spent_s, running, idle, since_s, earlier_s)
