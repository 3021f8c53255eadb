"""The jobs of a workload by state."""

from __future__ import annotations

from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush
from itertools import islice

from ..model.job_order import urgency
from ..model.resources import MEMORY_QUANTUM_MB, JobClass
from ..model.runtime_by_size import RuntimesBySize, Sample
from ..scaling.planner.critical_path import prior_s
from .clock import MS
from .critical_path import Chains
from .dependents import Followers
from .model import Step, Workload


class Line:
    """Jobs of one class that wait, the longest first, in chunks that were submitted together."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, array[int]]] = deque()
        self.count = 0

    def add(self, number: int, jobs: array[int]) -> None:
        """Add jobs of submission `number`."""
        jobs.reverse()
        self._chunks.append((number, jobs))
        self.count += len(jobs)

    level = 0

    def add_first(self, job: int) -> None:
        """Return a job that was taken to its place in the queue."""
        self._chunks.appendleft((-1, array("L", (job,))))
        self.count += 1

    def take(self) -> int:
        """Return the job that has waited longest."""
        chunk = self._chunks[0][1]
        job = chunk.pop()
        if not chunk:
            self._chunks.popleft()
        self.count -= 1
        return job

    @property
    def number(self) -> int:
        """The submission that the next job to take came with."""
        return self._chunks[0][0]


class OrderedLine(Line):
    """Jobs of one class that wait, the most urgent first, of those the longest."""

    def __init__(self, urgency: Callable[[int], int]) -> None:
        super().__init__()
        self._urgency = urgency
        self._heap: list[tuple[int, int, int, int]] = []
        self._added = 0

    def add(self, number: int, jobs: array[int]) -> None:
        for job in jobs:
            self._push(number, job)

    def add_first(self, job: int) -> None:
        self._push(-1, job)

    def take(self) -> int:
        self.count -= 1
        return heappop(self._heap)[-1]

    @property
    def number(self) -> int:
        return self._heap[0][1]

    @property
    def level(self) -> int:  # type: ignore[override]
        """The urgency of the next job to take."""
        return -self._heap[0][0]

    def sort(self) -> None:
        """Put the jobs in order again, as the urgency of some has changed."""
        self._heap = [(-self._urgency(job), n, added, job) for _, n, added, job in self._heap]
        heapify(self._heap)

    def _push(self, number: int, job: int) -> None:
        self._added += 1
        self.count += 1
        heappush(self._heap, (-self._urgency(job), number, self._added, job))


class Urgencies:
    """The urgency of jobs, by the code of a real run, learned from those that have ended."""

    def __init__(
        self, workload: Workload, remaining_s: Callable[[int], tuple[float, float]]
    ) -> None:
        self._workload, self._remaining_s = workload, remaining_s
        self._runtimes = RuntimesBySize()

    def of(self, job: int) -> int:
        """Return the level of a job."""
        own_s, rest_s = self._remaining_s(job)
        return urgency(own_s * self._ratio(job) + rest_s)

    def ended(self, job: int, runtime_s: float) -> bool:
        """Record the end of a job; return True if the order of others changes."""
        sizes = self._workload.input_bytes
        return sizes is not None and self._runtimes.note(
            self._rule(job), Sample(sizes[job], runtime_s)
        )

    def _ratio(self, job: int) -> float:
        sizes = self._workload.input_bytes
        return 1.0 if sizes is None else self._runtimes.effect(self._rule(job)).ratio(sizes[job])

    def _rule(self, job: int) -> str:
        return self._workload.steps[self._workload.step_of[job]].rule


def class_of(step: Step) -> JobClass:
    """Return what a planner may know of the jobs of a step.

    Memory is handed out in steps, and planned with like that.
    """
    quanta = -(-step.shape.memory_mb // MEMORY_QUANTUM_MB)
    return JobClass(step.shape._replace(memory_mb=quanta * MEMORY_QUANTUM_MB), step.hint_s)


class Jobs:
    """The state of the jobs over time; the cost grows with the changes only.

    `classes` are distinguished by what a planner may know. `in_sight` counts, by class, jobs that
    wait for none but jobs at the access point, or did until a moment ago, `later` all others that
    are known and do not wait for a pilot yet, by class too. `ordered` jobs of a class are taken by
    urgency, others as they come.
    """

    def __init__(
        self, workload: Workload, stragglers: bytes, straggler_factor: float, *, ordered: bool
    ) -> None:
        steps = [class_of(step) for step in workload.steps]
        self.classes = tuple(dict.fromkeys(steps))
        index = {job_class: number for number, job_class in enumerate(self.classes)}
        self._class_of_step = [index[job_class] for job_class in steps]
        self._workload, self._step_of = workload, workload.step_of
        self._children = workload.parents.transposed()
        self.has_followers = bool(self._children.ids)
        self._chains = (
            Chains(self.classes, self.class_of, self._children) if self.has_followers else None
        )
        self._stragglers, self._factor = bytearray(stragglers), straggler_factor
        self._urgencies = Urgencies(workload, self._remaining_s)
        # without both, all jobs of a class are alike
        ordered &= self.has_followers or workload.input_bytes is not None
        self.lines = [OrderedLine(self._urgencies.of) if ordered else Line() for _ in self.classes]
        self.left = len(workload)
        self.in_sight = [0] * len(self.classes)
        self.followers = Followers()
        self.later = [0] * len(self.classes)
        self._submissions = 0
        self._handed_ms = array("Q", bytes(8 * len(workload)))
        self._count_parents()

    def _count_parents(self) -> None:
        """Count for each job what it waits for; an arrival that is yet to come is like a parent.

        The exclusive or of the parents that are open is the last one when only one is.
        """
        offsets = self._workload.parents.offsets
        known_from_start = self._workload.arrivals_s is None
        extra = 0 if known_from_start else 1
        pairs = zip(offsets, islice(offsets, 1, None), strict=False)
        self._open = array("I", (after - before + extra for before, after in pairs))
        if known_from_start:
            for job, count in enumerate(self._open):
                self.later[self.class_of(job)] += count > 0
        self._unsent = self._open[:]
        self._rest = array("I", bytes(len(self._open) * self._open.itemsize))
        if self.has_followers:
            for job in range(len(self._open)):
                for parent in self._workload.parents[job]:
                    self._rest[job] ^= parent

    def roots(self) -> array[int]:
        """Return the jobs that wait for nothing."""
        return array("L", (job for job, count in enumerate(self._open) if not count))

    def arrive(self, jobs: Iterable[int]) -> array[int]:
        """Add jobs to the known ones; return those that are ready."""
        ready = array("L")
        for job in jobs:
            self._open[job] -= 1
            self._unsent[job] -= 1
            if not self._open[job]:
                ready.append(job)
            elif self._unsent[job]:
                self.later[self.class_of(job)] += 1
            else:
                self._comes_in_sight(job)
        return ready

    def class_of(self, job: int) -> int:
        """Return the number of a job's class."""
        return self._class_of_step[self._step_of[job]]

    def runtime_ms(self, job: int) -> int:
        """Return how long a job takes that starts now. For the world alone."""
        runtime_s = self._workload.runtime_s[job]
        if self._stragglers[job]:
            runtime_s *= self._factor
        return max(1, round(runtime_s * MS))

    def hand_over_followers(self, jobs: Iterable[int], now_ms: int) -> None:
        """Record the joint submission of jobs that `ended` made ready.

        Until then they were in sight: Snakemake's DAG shows them as long as it has not handed them
        over.
        """
        for job in jobs:
            self.in_sight[self.class_of(job)] -= 1
        self.hand_over(jobs, now_ms)

    def hand_over(self, jobs: Iterable[int], now_ms: int) -> None:
        """Record the joint submission of jobs."""
        chunks = [array("L") for _ in self.classes]
        class_of_step, step_of = self._class_of_step, self._step_of
        for job in jobs:
            self._handed_ms[job] = now_ms
            chunks[class_of_step[step_of[job]]].append(job)
            if self.has_followers:
                for child in self._children[job]:
                    self._unsent[child] -= 1
                    if not self._unsent[child]:
                        self.later[self.class_of(child)] -= 1
                        self._comes_in_sight(child)
        for line, chunk in zip(self.lines, chunks, strict=True):
            if chunk:
                line.add(self._submissions, chunk)
        self._submissions += 1

    def ended(self, job: int, runtime_ms: int) -> Iterable[int]:
        """Record the end of a job; return those that are ready now."""
        self.left -= 1
        if self._urgencies.ended(job, runtime_ms / MS):
            line = self.lines[self.class_of(job)]
            if isinstance(line, OrderedLine):
                line.sort()
        if self._chains is None:
            return ()
        self._chains.ended(job)
        self.followers.stopped(job, self._own_followers(job))
        ready: list[int] = []
        for child in self._children[job]:
            self._open[child] -= 1
            self._rest[child] ^= job
            if not self._open[child]:
                ready.append(child)
            elif self._open[child] == 1 and not self._unsent[child]:
                self.followers.joined(self._rest[child], self.class_of(child))
        return ready

    def flow_ms(self, job: int, now_ms: int) -> int:
        """Return how long ago a job was handed over."""
        return now_ms - self._handed_ms[job]

    def _remaining_s(self, job: int) -> tuple[float, float]:
        """Return the expected runtime of a job, and of the longest chain after it."""
        own_s = prior_s(self.classes[self.class_of(job)])
        return own_s, self._chains.length_s(job) - own_s if self._chains else 0.0

    def chain(self) -> Counter[JobClass]:
        """Return the longest chain of jobs that have not ended, by class; empty if none has
        followers.
        """
        return self._chains.longest() if self._chains else Counter()

    def started(self, job: int, number: int, executes_ms: int) -> None:
        """Record that a job of class `number` runs from then on."""
        if self.has_followers:
            self.followers.started(job, number, executes_ms, self._own_followers(job))

    def cut_short(self, job: int) -> None:
        """Record that a job has to run again; it may be faster elsewhere."""
        if self.has_followers:
            self.followers.stopped(job, self._own_followers(job))
        self._stragglers[job] = 0
        self.lines[self.class_of(job)].add_first(job)

    def _own_followers(self, job: int) -> list[int]:
        """Return the classes of the jobs that wait for this job alone."""
        return [
            self.class_of(child)
            for child in self._children[job]
            if self._open[child] == 1 and not self._unsent[child]
        ]

    def _comes_in_sight(self, job: int) -> None:
        self.in_sight[self.class_of(job)] += 1
        if self._open[job] == 1:
            self.followers.joined(self._rest[job], self.class_of(job))
