"""Decide which waiting jobs of one rule and request are submitted now, and in which bundles.

A bundle takes `target_s` at most, as far as is known, and less towards the end (guided
self-scheduling), so that all slots finish at about the same time. No more bundles are submitted
than could start soon: the others are made when more is known. What is known comes from jobs of this
run alone: an earlier one may have had other data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

TARGET_S = 60.0
"""The time that a bundle should take, unless the user says another: its results come back then."""

LEAST_S = 8.0
"""To start a job takes a second and more, so bundles are no shorter than this if there are as many
as the access point starts meanwhile."""

AT_ONCE = 16

MEMBERS_MAX = 200

LIMIT = 2
"""After this many times its target, a bundle starts no further member."""

TEACHING_S = 2.0
"""While nothing is known of a rule, and its first jobs have just started, further ones wait for so
long: those that are shorter will have ended by then."""

SLOT_ROUNDS = 2
"""Bundles for each slot that the jobs left over would make."""


@dataclass(frozen=True)
class Past:
    """What this run knows of the jobs of a rule.

    `ended` are those that ended; `spent_s` is the execution time of those that ended or run alone,
    up to now; `running` are the latter. `idle` jobs of HTCondor wait in the queue, and the latest
    start was `started_s` ago.
    """

    ended: int = 0
    spent_s: float = 0.0
    running: int = 0
    idle: int = 0
    started_s: float = math.inf

    def expected_s(self, target_s: float) -> float | None:
        """Return what a job is expected to take, None if nothing is known.

        Jobs that still run count with their time up to now: those that end first are the shortest.
        """
        if self.ended:
            return self.spent_s / self.ended
        if self.running and self.spent_s / self.running >= target_s / 2:
            return math.inf
        return None


def size(waiting: int, expected_s: float, slots: int, target_s: float) -> int:
    """Return the number of jobs in the next bundle while `waiting` are left."""
    expected_s = max(expected_s, 1e-3)
    least = min(LEAST_S / expected_s, waiting / min(slots, AT_ONCE))
    share = max(waiting / (SLOT_ROUNDS * slots), least)
    most = min(target_s / expected_s, MEMBERS_MAX)
    return min(waiting, max(1, int(min(share, most))))


def split(
    keys: Sequence[str], past: Past, slots: int, target_s: float, *, all_now: bool = False
) -> list[tuple[str, ...]]:
    """Return the jobs to submit now, each by itself or as a bundle; the other ones wait.

    `slots` is how many jobs can run at a time. With `all_now`, none waits.
    """
    expected_s = past.expected_s(target_s)
    if expected_s is None:
        return [(key,) for key in keys[: len(keys) if all_now else _teachers(keys, past, slots)]]
    if 2 * expected_s > target_s:
        return [(key,) for key in keys]
    parts: list[tuple[str, ...]] = []
    # the last ones do not wait here: a slot that finds no job is given up, and matched again later
    is_end = len(keys) * expected_s <= LEAST_S * slots
    at, room = 0, math.inf if all_now or is_end else slots - past.idle
    while at < len(keys) and len(parts) < room:
        number = size(len(keys) - at, expected_s, slots, target_s)
        parts.append(tuple(keys[at : at + number]))
        at += number
    return parts


def _teachers(keys: Sequence[str], past: Past, slots: int) -> int:
    """Return how many jobs of a rule of which nothing is known are submitted."""
    if len(keys) <= slots:
        return len(keys)
    if past.idle or past.started_s < TEACHING_S:
        return max(0, slots - past.idle - past.running)
    return slots
