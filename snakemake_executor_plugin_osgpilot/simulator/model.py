"""Workloads, sites and results of a simulation. Times in seconds from the start of a run."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model.resources import END_MARGIN_S, PilotType, Shape


@dataclass(frozen=True)
class Step:
    """One rule of a workload. `hint_s` is the runtime that the rule claims, 0 if it claims none:
    all that a planner may know beforehand.
    """

    rule: str
    shape: Shape
    hint_s: int = 0


@dataclass(frozen=True)
class CSR:
    """A list of job ids for each job: those of `n` are `ids[offsets[n]:offsets[n + 1]]`."""

    offsets: array[int]
    ids: array[int]

    @classmethod
    def of(cls, rows: Iterable[Iterable[int]]) -> CSR:
        """Return `rows`, one for each job."""
        offsets, ids = array("L", [0]), array("L")
        for row in rows:
            ids.extend(row)
            offsets.append(len(ids))
        return cls(offsets, ids)

    @classmethod
    def empty(cls, jobs: int) -> CSR:
        """Return an empty list for each of `jobs` jobs."""
        return cls(array("L", bytes((jobs + 1) * array("L").itemsize)), array("L"))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, job: int) -> array[int]:
        return self.ids[self.offsets[job] : self.offsets[job + 1]]

    def transposed(self) -> CSR:
        """Return in whose lists each job is: children by parent from parents by child."""
        counts = array("L", bytes((len(self) + 1) * array("L").itemsize))
        for job in self.ids:
            counts[job + 1] += 1
        for job in range(len(self)):
            counts[job + 1] += counts[job]
        free, ids = counts[:], array("L", bytes(len(self.ids) * array("L").itemsize))
        for job in range(len(self)):
            for parent in self[job]:
                ids[free[parent]] = job
                free[parent] += 1
        return CSR(counts, ids)


@dataclass
class Workload:
    """The jobs of a workflow, as a struct of arrays, as there may be a million.

    `step_of` has each job's index into `steps`, `runtime_s` the truth, for the world alone.
    `parents` are the jobs that have to end first; `arrivals_s` says when jobs come to be known at
    all (None: from the start), `input_bytes` how large their inputs are (None: all alike).
    """

    name: str
    steps: tuple[Step, ...]
    step_of: array[int]
    runtime_s: array[float]
    parents: CSR
    arrivals_s: array[float] | None = None
    input_bytes: array[int] | None = None

    def __post_init__(self) -> None:
        jobs = len(self.step_of)
        lengths = {len(self.runtime_s), len(self.parents), len(self.arrivals_s or self.step_of)}
        lengths.add(len(self.input_bytes or self.step_of))
        if lengths != {jobs}:
            raise ValueError(f"workload {self.name}: its arrays are not all of {jobs} jobs")

    def __len__(self) -> int:
        return len(self.step_of)


class Spread(NamedTuple):
    """A lognormal duration: its median, and the standard deviation of its logarithm."""

    median_s: float
    sigma: float = 0.0


BOOT = Spread(180.0, 0.3)
"""Start of the allocation to the first slot, see `scaling.planner.estimates.BOOT_PRIOR_S`."""


class Waits(NamedTuple):
    """Waits in Slurm's queue without a queue: lognormal, longer for larger and longer pilots.

    The median is `median_s`·(cores/`cores`)^`cores_power`·(walltime/`walltime_s`)^`walltime_power`.
    """

    median_s: float
    sigma: float = 0.6
    cores: int = 16
    cores_power: float = 0.5
    walltime_s: int = 28_800
    walltime_power: float = 0.3


class OtherJob(NamedTuple):
    """A job of another user: when it is submitted, for how many cores, what it takes and asks.

    `user` is 1 or more; 0 is who runs the workload. More than a node has are taken wherever
    they are.
    """

    submit_s: float
    cores: int
    runtime_s: float
    walltime_s: float
    user: int = 1


class Outage(NamedTuple):
    """A period in which every pilot that starts fails."""

    from_s: float
    until_s: float


@dataclass(frozen=True)
class Faults:
    """Faults to simulate. Shares are probabilities, rates are for an hour of a pilot's life.

    `failed_starts` is the share of pilots that end `fails_after_s` after their start without having
    come to the pool; on one of the first `bad_nodes` nodes all do, and during an outage. Of the
    jobs, a share of `stragglers` takes `straggler_factor` times as long where it runs first.
    """

    failed_starts: float = 0.0
    fails_after_s: float = 60.0
    bad_nodes: int = 0
    outages: tuple[Outage, ...] = ()
    preemptions_per_h: float = 0.0
    node_failures_per_h: float = 0.0
    stragglers: float = 0.0
    straggler_factor: float = 5.0


@dataclass(frozen=True)
class Site:
    """The site where pilots run, and its behaviour.

    With `waits` there is no queue: every pilot waits for itself and finds a node. Else pilots and
    `background` share `nodes` of `node_shape`: in order of submission, or with `fair_share` by
    recent usage, the least first; with EASY backfill if `backfill` says so. Slurm looks at its
    queue every `schedule_s` at most. With `hints`, it says on request how long a pilot would wait.
    `hand_over_s` is the time between the end of a job and that its followers are in the queue,
    `boot` that from the start of an allocation to the first slot, `negotiation_s` the time
    between two rounds of matchmaking, `start_s` what a job needs between its match and its first
    instruction, and `next_s` the same in a slot that is claimed already. `idle_s` is how long an
    idle pilot waits before it ends by itself, `end_s` what an orderly end takes of the walltime.
    """

    name: str
    offers: tuple[PilotType, ...]
    nodes: int = 20
    node_shape: Shape = field(default=Shape(32, 128_000))
    background: Sequence[OtherJob] = ()
    waits: Waits | None = None
    fair_share: bool = True
    backfill: bool = True
    schedule_s: float = 5.0
    hints: bool = True
    hand_over_s: float = 2.0
    boot: Spread = BOOT
    negotiation_s: float = 60.0
    start_s: float = 2.0
    next_s: float = 0.5
    idle_s: float = 1800.0
    end_s: float = END_MARGIN_S
    faults: Faults = Faults()


@dataclass(frozen=True)
class Charged:
    """Core-milliseconds that the site charges, by what they went to. The sum is exact.

    `useful`: jobs that came to their end. `boot`: until a pilot takes jobs. `idle`: nothing runs on
    the pilot. `fragmentation`: cores without a job beside ones with a job. `tail`: the same, after
    the last job was started there. `failed`: pilots that never came up. `rework`: jobs that were
    cut short and had to run again.
    """

    useful: int = 0
    boot: int = 0
    idle: int = 0
    fragmentation: int = 0
    tail: int = 0
    failed: int = 0
    rework: int = 0

    @property
    def core_ms(self) -> int:
        """The sum of all parts."""
        return sum(self.parts())

    def parts(self) -> Iterator[int]:
        """All parts in their order."""
        yield from (self.useful, self.boot, self.idle, self.fragmentation, self.tail)
        yield from (self.failed, self.rework)

    def __add__(self, other: Charged) -> Charged:
        return Charged(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))


class Life(NamedTuple):
    """One pilot from the asking to the end; None for what never came. `state` is its last one."""

    name: str
    offer: str
    cores: int
    walltime_s: int
    asked_s: float
    started_s: float | None
    ready_s: float | None
    first_job_s: float | None
    ended_s: float | None
    state: str
    charged: Charged


class Moment(NamedTuple):
    """Cores at one tick: asked for by ready jobs, running jobs, of pilots that are up, coming."""

    at_s: float
    waiting: int
    running: int
    ready: int
    coming: int


@dataclass(frozen=True)
class Outcome:
    """The result of a workload. `makespan_s` is the end of the last job.

    `jobs_left` counts jobs that never ended; `stopped` says why, empty if there are none.
    `first_job_s` is None if none was started. `series` is thinned out to a bounded length.
    `plan_s` are processor times of the planner's calls, `flow_s` is the sum of the
    times from when each job was handed over until it ended.
    """

    workload: str
    site: str
    seed: int
    makespan_s: float
    first_job_s: float | None
    charged: Charged
    pilots: tuple[Life, ...]
    series: tuple[Moment, ...]
    plan_s: array[float] = field(compare=False)
    jobs_left: int = 0
    stopped: str = ""
    flow_s: float = 0.0

    @property
    def charged_core_s(self) -> float:
        """The charged core-seconds."""
        return self.charged.core_ms / 1000

    @property
    def launched(self) -> int:
        """The number of pilots requested."""
        return len(self.pilots)

    @property
    def never_used(self) -> int:
        """Pilots that came up, but no job was ever started on them."""
        return sum(p.ready_s is not None and p.first_job_s is None for p in self.pilots)

    @property
    def failed_starts(self) -> int:
        """Pilots that were started and never came up."""
        return sum(p.state == "failed" and p.ready_s is None for p in self.pilots)
