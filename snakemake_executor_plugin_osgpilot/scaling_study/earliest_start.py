"""The earliest start of each job of a workload with any supply of pilots.

A job is taken when HTCondor gives it a slot; from then on it holds its cores. What holds it back,
each alone enough:

* it follows its parents, and it arrives;
* a pilot has to be up that can hold it and lives long enough (`foresight`), and the first job in a
  slot is matched in a round of the negotiator, at a whole multiple of its interval;
* jobs of a class that wait for no other are taken in the order of their submission (`in_line`);
* all that comes before it has to be done, on the cores that there can be (`gates.Gates.done_s`);
* where no job of its class can be under way, there is no slot to take over, and it waits for the
  next round of the negotiator (`gates.Gates.round_s`).
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from ..simulator.model import Workload
from .supply_curve import Supply
from .synchronization_barriers import Gates


def earliest_taken_s(
    workload: Workload,
    durations_s: Sequence[float],
    first_s: Callable[[int], float],
    sources_s: Mapping[int, float],
    gates: Gates,
) -> tuple[array[float], float]:
    """Return when each job is taken at the earliest, and when the last of them has ended.

    `first_s` says when a pilot can take a job, `sources_s` when those that wait for no other are
    taken if they are in line.
    """
    taken_s = array("d", workload.arrivals_s or bytes(8 * len(workload)))
    last_s = 0.0
    for job, duration_s in enumerate(durations_s):
        at_s = max(taken_s[job], first_s(job), sources_s.get(job, 0.0))
        parents = workload.parents[job]
        if parents:
            at_s = max(at_s, *(taken_s[p] + durations_s[p] for p in parents))
            at_s = gates.held_s(job, at_s)
        taken_s[job] = at_s
        last_s = max(last_s, at_s + duration_s)
    return taken_s, last_s


def sources(workload: Workload, class_of_step: Sequence[int]) -> Mapping[int, list[int]]:
    """Return the jobs that follow no other, by class, in the order of their submission."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for job, step in enumerate(workload.step_of):
        if not workload.parents[job]:
            found[class_of_step[step]].append(job)
    if arrivals_s := workload.arrivals_s:
        for jobs in found.values():
            jobs.sort(key=arrivals_s.__getitem__)
    return found


def in_line(
    jobs: Sequence[int], durations_s: Sequence[float], arrivals_s: Sequence[float] | None,
    lanes: Supply,
) -> dict[int, float]:  # fmt: skip
    """Return when each of `jobs`, all of one class and in the order of their submission, is taken
    at the earliest. `lanes` is how many of them can run at a time at the most.

    Nobody who scales pilots can tell jobs of a class apart, so their order is HTCondor's: first
    come, first served, and who is cut short keeps his place. List scheduling on the lanes is never
    later than any run, by induction along the line: when a run takes a job, those before it that
    have not ended hold a slot each, and one more slot is there. In the list schedule no more of
    them hold a lane, for each was taken no later and so ends no later. So it takes the job by then,
    too. This needs lanes that stay, and a job that loses its slot to be in line again at once.
    """
    free_s = [at_s for at_s, more in lanes.steps() for _ in range(round(more))]
    taken_s: dict[int, float] = {}
    for job in jobs:
        if not free_s:
            return dict.fromkeys(jobs, math.inf)
        at_s = max(free_s[0], arrivals_s[job] if arrivals_s else 0.0)
        heapq.heapreplace(free_s, at_s + durations_s[job])
        taken_s[job] = at_s
    return taken_s
