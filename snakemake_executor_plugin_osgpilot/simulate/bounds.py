"""What no rule of scaling can beat: the shortest makespan and the fewest core-hours.

Sources: critical path and area (R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM
J. Appl. Math. 17, 1969); work that has to lie in an interval (E. B. Fernández and B. Bussell,
"Bounds on the number of processors and time for multiprocessor optimal schedules", IEEE Trans.
Computers C-22, 1973, section III).
"""

from __future__ import annotations

import warnings
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from snakemake_executor_plugin_osgpilot.core.bounds import earliest_s
from snakemake_executor_plugin_osgpilot.core.model import UNLIMITED_MB, Offer, Policy, Shape
from snakemake_executor_plugin_osgpilot.simulate.model import Site, Workload

MOMENTS_MAX = 24
"""Ends of the intervals that are looked at; fewer make the bound lower, never wrong."""

WINDOWS_MAX = 20_000
"""Jobs whose windows are the same are taken together; beyond so many groups the area has to do."""

Capacity = tuple[float, ...]
"""The most there can be at a time of each dimension of a shape."""


class Limits(NamedTuple):
    """Bounds of a workload at a site: `work_s` is the makespan from the first slot on, `known_s`
    the makespan if a slot were there at once but jobs only came when they come, `charged_core_s`
    what has to be charged at least."""

    work_s: float
    known_s: float
    charged_core_s: float

    def makespan_s(self, first_slot_s: float) -> float:
        """Return T*: the first slot comes at `first_slot_s` at the earliest."""
        return max(first_slot_s + self.work_s, self.known_s)


def limits(workload: Workload, site: Site, policy: Policy) -> Limits:
    """Return the bounds. Raises `ValueError` if a job fits no offer."""
    room = capacity(site, policy)
    work_s = makespan_bound_s(workload, room)
    known_s = work_s
    if workload.arrivals_s is not None:
        known_s = makespan_bound_s(workload, room, workload.arrivals_s)
    return Limits(work_s, known_s, charged_bound_core_s(workload, policy.offers))


def capacity(site: Site, policy: Policy) -> Capacity:
    """Return what all pilots that may run at a time can offer at the very most."""
    largest = max(offer.shape.cores for offer in policy.offers)
    cores = min(policy.pilots_max * largest, policy.cores_max or UNLIMITED_MB)
    if site.waits is None:
        cores = min(cores, site.nodes * site.node_shape.cores)
    each = [max(offer.shape[k] / offer.shape.cores for offer in policy.offers) for k in range(4)]
    return tuple(cores * per_core for per_core in each)


def makespan_bound_s(
    workload: Workload, room: Capacity, arrivals_s: array[float] | None = None
) -> float:
    """Return a time in which the workload cannot be done, given slots from the beginning."""
    starts_s, critical_s = earliest_s(workload.parents, workload.runtime_s, arrivals_s)
    latest_s = _latest(workload, critical_s)
    windows: Counter[_Window] = Counter()
    for job, runtime_s in enumerate(workload.runtime_s):
        shape = workload.steps[workload.step_of[job]].shape
        windows[_Window(starts_s[job], latest_s[job], runtime_s, shape)] += 1
    whole_s = max((load / c for load, c in zip(_work(workload), room, strict=True) if c), default=0)
    best_s = max(critical_s, whole_s)
    if len(windows) > WINDOWS_MAX:
        return best_s
    for from_s, until_s in _intervals(windows, critical_s):
        for load, most in zip(_inside(windows, from_s, until_s), room, strict=True):
            if most:
                best_s = max(best_s, critical_s + load / most - (until_s - from_s))
    return best_s


class _Window(NamedTuple):
    """A job starts at `earliest_s` at the earliest, and has to end by `latest_s` if the critical
    path is to be kept."""

    earliest_s: float
    latest_s: float
    runtime_s: float
    shape: Shape

    def inside_s(self, from_s: float, until_s: float) -> float:
        """Return how much of the job lies between the two, wherever in the window it runs."""
        soon = min(self.earliest_s + self.runtime_s, until_s) - max(self.earliest_s, from_s)
        late = min(self.latest_s, until_s) - max(self.latest_s - self.runtime_s, from_s)
        return max(0.0, min(soon, late))


def _latest(workload: Workload, critical_s: float) -> array[float]:
    """Return by when each job has to end for all to be done within `critical_s`."""
    end_s = array("d", [critical_s]) * len(workload)
    for job in reversed(range(len(workload))):
        begins_s = end_s[job] - workload.runtime_s[job]
        for parent in workload.parents[job]:
            end_s[parent] = min(end_s[parent], begins_s)
    return end_s


def _intervals(windows: Iterable[_Window], critical_s: float) -> Iterator[tuple[float, float]]:
    moments = sorted(
        {0.0, critical_s}
        | {w.earliest_s for w in windows}
        | {w.latest_s for w in windows if w.latest_s < critical_s}
    )
    step = max(1, len(moments) // MOMENTS_MAX)
    chosen = [*moments[::step], critical_s]
    for place, from_s in enumerate(chosen):
        for until_s in chosen[place + 1 :]:
            if until_s > from_s:
                yield from_s, until_s


def _inside(windows: Mapping[_Window, int], from_s: float, until_s: float) -> list[float]:
    load = [0.0] * 4
    for window, jobs in windows.items():
        seconds = window.inside_s(from_s, until_s)
        if seconds > 0:
            for k, amount in enumerate(window.shape):
                load[k] += jobs * amount * seconds
    return load


def _by_shape(workload: Workload) -> dict[Shape, float]:
    """Return the sum of runtimes by shape."""
    sums: Counter[Shape] = Counter()
    for step, runtime_s in zip(workload.step_of, workload.runtime_s, strict=True):
        sums[workload.steps[step].shape] += runtime_s  # type: ignore[assignment]
    return dict(sums)


def _work(workload: Workload) -> list[float]:
    """Return demand times runtime of all jobs, by dimension."""
    sums = _by_shape(workload)
    return [sum(shape[k] * seconds for shape, seconds in sums.items()) for k in range(4)]


def charged_bound_core_s(workload: Workload, offers: tuple[Offer, ...]) -> float:
    """Return CH*: the fewest core-seconds of pilots that hold all the work.

    A linear program: hours of each offer, and of each shape of jobs on each offer that can hold it
    at all; in no dimension more than the hours bring. Jobs may be cut in pieces, boots are free.
    """
    scale = max(1.0, sum(workload.runtime_s))
    demand = {shape: seconds / scale for shape, seconds in _by_shape(workload).items()}
    for shape in demand:
        if not any(offer.shape.holds(shape) for offer in offers):
            raise ValueError(f"no pilot of {len(offers)} kinds holds a job of {shape}")
    with warnings.catch_warnings():
        # Snakemake allows PuLP below 3.4 only, which warns of changes in 4.0
        warnings.simplefilter("ignore", DeprecationWarning)
        return scale * _least_cores(demand, offers)


def _least_cores(demand: Mapping[Shape, float], offers: tuple[Offer, ...]) -> float:
    """Return how many cores of pilots hold so much work of each shape in one unit of time."""
    import pulp

    program = pulp.LpProblem("core_hours", pulp.LpMinimize)
    lives = [pulp.LpVariable(f"life_{n}", lowBound=0) for n in range(len(offers))]
    program += pulp.lpSum(o.shape.cores * life for o, life in zip(offers, lives, strict=True))
    used: dict[tuple[int, int], list[Any]] = {}
    for c, (shape, amount) in enumerate(demand.items()):
        hosts = [n for n, offer in enumerate(offers) if offer.shape.holds(shape)]
        parts = {n: pulp.LpVariable(f"part_{c}_{n}", lowBound=0) for n in hosts}
        program += pulp.lpSum(parts.values()) == amount
        for n, part in parts.items():
            for k in range(4):
                used.setdefault((n, k), []).append(shape[k] * part)
    for (n, k), terms in used.items():
        program += pulp.lpSum(terms) <= offers[n].shape[k] * lives[n]
    program.solve(pulp.PULP_CBC_CMD(msg=False))
    return float(pulp.value(program.objective))
