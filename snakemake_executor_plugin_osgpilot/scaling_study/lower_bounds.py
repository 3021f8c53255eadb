"""Lower bounds for any scaling policy: the shortest makespan and the fewest core-hours.

Sources: critical path and area (R. L. Graham, "Bounds on multiprocessing timing anomalies", SIAM
J. Appl. Math. 17, 1969); work that has to lie in an interval (E. B. Fernández and B. Bussell,
"Bounds on the number of processors and time for multiprocessor optimal schedules", IEEE Trans.
Computers C-22, 1973, section III), here with cores that come one after the other.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple

from ..model.resources import JobClass, Policy, Shape
from ..simulator.clock import MS
from ..simulator.critical_path import Chains
from ..simulator.jobs import class_of
from ..simulator.model import Site, Workload
from .clairvoyant_supply import Foresight, Kind
from .earliest_start import earliest_taken_s, in_line, sources
from .min_core_hours_lp import least_core_s
from .supply_curve import Supply
from .synchronization_barriers import Gates

MOMENTS_MAX = 24
"""Ends of the intervals that are looked at; fewer make the bound lower, never wrong."""

WINDOWS_MAX = 20_000
"""Jobs whose windows are the same are taken together; beyond so many groups the area has to do."""


class Limits(NamedTuple):
    """Bounds of a workload at a site with the luck of a seed.

    `makespan_s` is T*, `any_order_s` the same if somebody could choose the order of the jobs of a
    class as well, `charged_core_s` CH*.
    """

    makespan_s: float
    any_order_s: float
    charged_core_s: float


def limits(workload: Workload, site: Site, policy: Policy, seed: int) -> Limits:
    """Return the bounds. Raises `ValueError` if a job fits no offer."""
    best = _Best(workload, site, policy, seed)
    charged_core_s = least_core_s(best.work_s, policy.offers)
    any_order_s = max(best.makespan_s(in_order=False), best.charged_s(charged_core_s))
    makespan_s = any_order_s
    # a job that was lost with its node is not in line at once
    if not site.faults.node_failures_per_h:
        makespan_s = max(makespan_s, best.makespan_s(in_order=True))
    return Limits(makespan_s, any_order_s, charged_core_s)


class _Best:
    """The lower bounds, each by itself.

    A job holds its cores for its `durations_s`: the runtime, and what it takes to start in a slot
    that is there. Cores count from the round of the negotiator after they came up.
    """

    def __init__(self, workload: Workload, site: Site, policy: Policy, seed: int) -> None:
        self._workload, self._site, self._policy = workload, site, policy
        self._foresight = Foresight(site, policy, seed)
        lead_ms = min(round(site.start_s * MS), round(site.next_s * MS))
        self.durations_s = array(
            "d", ((max(1, round(s * MS)) + lead_ms) / MS for s in workload.runtime_s)
        )
        self._interval_s = max(1, round(site.negotiation_s * MS)) / MS
        self._classes = [class_of(step) for step in workload.steps]
        self._numbers = {each: n for n, each in enumerate(dict.fromkeys(self._classes))}
        self.work_s = self._work(range(len(workload)))
        self._first_s = cache(self._first_of)
        every = {kind for each in self._numbers for kind in self._kinds(each, 0.0)}
        self._supply = self._matched(every)
        shapes = [offer.shape for offer in policy.offers]
        self._per_core = [max(shape[k] / shape.cores for shape in shapes) for k in range(4)]

    def makespan_s(self, *, in_order: bool) -> float:
        """Return a time before which the last job cannot end."""
        line = self._in_line() if in_order else {}
        gates = Gates(
            self._workload, self.durations_s, self._number_of, self._interval_s,
            lambda jobs: self._done_s(self._work(jobs)),
        )  # fmt: skip
        taken_s, last_s = earliest_taken_s(
            self._workload, self.durations_s, self._first_for, line, gates
        )
        best_s = max(last_s, self._done_s(self.work_s))
        windows = self._windows(taken_s, last_s)
        if len(windows) > WINDOWS_MAX:
            return best_s
        for from_s, until_s in _intervals(windows):
            load = _inside(windows, from_s, until_s)
            best_s = max(best_s, last_s + self._done_s(load, from_s) - until_s)
        return best_s

    def charged_s(self, core_s: float) -> float:
        """Return when pilots can have been charged so much."""
        return self._supply.when(core_s)

    def _done_s(self, work_s: Mapping[Shape, float], from_s: float = 0.0) -> float:
        """Return when so much work, in seconds by shape, can be done if it begins at `from_s`."""
        last_s = from_s
        for k, per_core in enumerate(self._per_core):
            if load := sum(shape[k] * seconds for shape, seconds in work_s.items()):
                before = self._supply.done(from_s)
                last_s = max(last_s, self._supply.when(before + load / per_core))
        return last_s

    def _in_line(self) -> dict[int, float]:
        """Return when jobs that follow no other are taken at the earliest, where only the order of
        their submission distinguishes those of a class.
        """
        taken_s: dict[int, float] = {}
        numbers = [self._numbers[each] for each in self._classes]
        by_number = dict(enumerate(self._numbers))
        children, sizes = self._workload.parents.transposed(), self._workload.input_bytes
        length_s = Chains(tuple(self._numbers), self._number_of, children).length_s
        for number, jobs in sources(self._workload, numbers).items():
            if len({(length_s(job), sizes and sizes[job]) for job in jobs}) > 1:
                continue
            shape = by_number[number].shape
            hosts = [o.shape for o in self._policy.offers if o.shape.holds(shape)]
            dense = max(host.holds(shape) / host.cores for host in hosts)
            lanes = self._matched(self._kinds(by_number[number], 0.0)).lanes(dense)
            taken_s |= in_line(jobs, self.durations_s, self._workload.arrivals_s, lanes)
        return taken_s

    def _windows(self, taken_s: Sequence[float], last_s: float) -> Counter[_Window]:
        latest_s = _latest(self._workload, self.durations_s, last_s)
        windows: Counter[_Window] = Counter()
        for job, duration_s in enumerate(self.durations_s):
            shape = self._class_of(job).shape
            windows[_Window(taken_s[job], latest_s[job], duration_s, shape)] += 1
        return windows

    def _work(self, jobs: Iterable[int]) -> dict[Shape, float]:
        """Return the sum of durations by shape, as slots have it: memory comes in steps."""
        sums: dict[Shape, float] = {}
        for job in jobs:
            shape = self._class_of(job).shape
            sums[shape] = sums.get(shape, 0.0) + self.durations_s[job]
        return sums

    def _class_of(self, job: int) -> JobClass:
        return self._classes[self._workload.step_of[job]]

    def _number_of(self, job: int) -> int:
        return self._numbers[self._class_of(job)]

    def _kinds(self, job_class: JobClass, duration_s: float) -> frozenset[Kind]:
        """Return the pilots that hold such a job and live long enough. Raises `ValueError`."""
        kinds = frozenset(
            Kind(offer.shape.cores, walltime_s)
            for offer in self._policy.offers
            for walltime_s in offer.walltimes_s
            if offer.shape.holds(job_class.shape)
            and walltime_s - self._site.end_s > job_class.runtime_s
            and walltime_s - self._site.end_s >= duration_s
        )
        if not kinds:
            raise ValueError(
                f"no pilot of {len(self._policy.offers)} kinds holds a job of {job_class.shape} "
                f"that takes {max(duration_s, job_class.runtime_s):.0f} s"
            )
        return kinds

    def _first_for(self, job: int) -> float:
        return self._first_s(self._kinds(self._class_of(job), self.durations_s[job]))

    def _first_of(self, kinds: frozenset[Kind]) -> float:
        return self._round_s(self._foresight.first_s(kinds))

    def _matched(self, kinds: Iterable[Kind]) -> Supply:
        return self._foresight.supply(kinds).later(self._round_s)

    def _round_s(self, up_s: float) -> float:
        """Return the first round of the negotiator from then on."""
        return self._interval_s * -(-up_s // self._interval_s)


class _Window(NamedTuple):
    """A job is taken at `earliest_s` at the earliest, and has to end by `latest_s` if the last is
    to end when it can at the earliest.
    """

    earliest_s: float
    latest_s: float
    duration_s: float
    shape: Shape

    def inside_s(self, from_s: float, until_s: float) -> float:
        """Return how much of the job lies between the two, wherever in the window it runs."""
        soon = min(self.earliest_s + self.duration_s, until_s) - max(self.earliest_s, from_s)
        late = min(self.latest_s, until_s) - max(self.latest_s - self.duration_s, from_s)
        return max(0.0, min(soon, late))


def _latest(workload: Workload, durations_s: Sequence[float], last_s: float) -> array[float]:
    """Return by when each job has to end for all to be done by `last_s`."""
    end_s = array("d", [last_s]) * len(workload)
    for job in reversed(range(len(workload))):
        begins_s = end_s[job] - durations_s[job]
        for parent in workload.parents[job]:
            end_s[parent] = min(end_s[parent], begins_s)
    return end_s


def _intervals(windows: Mapping[_Window, int]) -> Iterator[tuple[float, float]]:
    """Return intervals from when most work can begin until when most has to be done.

    Gates are what makes a difference, and there windows of many jobs begin or end.
    """
    begins: Counter[float] = Counter()
    ends: Counter[float] = Counter()
    for window, jobs in windows.items():
        work_s = jobs * window.shape.cores * window.duration_s
        begins[window.earliest_s] += work_s  # type: ignore[assignment]
        ends[window.latest_s] += work_s  # type: ignore[assignment]
    for from_s, _ in begins.most_common(MOMENTS_MAX):
        for until_s, _ in ends.most_common(MOMENTS_MAX):
            if from_s < until_s:
                yield from_s, until_s


def _inside(windows: Mapping[_Window, int], from_s: float, until_s: float) -> dict[Shape, float]:
    load: dict[Shape, float] = {}
    for window, jobs in windows.items():
        seconds = window.inside_s(from_s, until_s)
        if seconds > 0:
            load[window.shape] = load.get(window.shape, 0.0) + jobs * seconds
    return load
