"""Interfaces to the access point, which the adapter `htcondor` implements, and to the durable state
of jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ..model.resources import Request, Shape
from .state.events import Event
from .state.job import SharedFile
from .state.stuck_jobs import NegotiationStatus


@dataclass(frozen=True)
class Submission:
    """Jobs to queue in one transaction. `keys` name their job folders, `avoid` pilots that leave,
    or are gone but may still be in the collector; `urls` are inputs that the execution point
    fetches, by job key; `apart` is True if jobs that need much memory are spread over pilots, see
    `memory_balance.apart`, and `largest` the shape of the biggest pilot, if known. `kept_off` are
    nodes or pilots on which these jobs failed before; `shared` are inputs that are sent once to
    each pilot, by job key. With `bundles`, those of `keys` that run one after the other as one job
    of HTCondor are together, for `bundle_s` as far as is known. `priorities` has the priority of a
    job by its key: the largest come first.
    """

    keys: tuple[str, ...]
    request: Request
    avoid: tuple[str, ...] = ()
    urls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    apart: bool = False
    largest: Shape | None = None
    kept_off: tuple[str, ...] = ()
    shared: Mapping[str, tuple[SharedFile, ...]] = field(default_factory=dict)
    bundles: tuple[tuple[str, ...], ...] = ()
    bundle_s: float = 0.0
    priorities: Mapping[str, int] = field(default_factory=dict)


class AccessPoint(Protocol):
    """The queue of the access point. Jobs are named by their ids (see `state.job_ids`). Every
    method raises `OutcomeUnknownError` or `RejectedError`.
    """

    def submit(self, submission: Submission) -> dict[str, str]:
        """Submit all jobs of `submission` or none; return job key → id (see `job_ids`).

        Also raises `QueueFullError`.
        """

    def find(self) -> dict[str, str]:
        """Return job key → `cluster.proc` of the jobs of this run that are in the queue."""

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        """Remove jobs of this run (`cluster.proc`) from the queue; all of them if None."""

    def clear(self) -> None:
        """Remove what the access point keeps for the jobs of this run; none of them is left."""

    @property
    def removal_hint(self) -> str:
        """The command that removes the jobs of this run by hand."""

    def interrupt(self) -> None:
        """End the request that another thread waits for, without an answer."""

    def pilots(self) -> dict[str, dict[str, Shape]]:
        """Return this run's pilots in the pool by name, in one query: the jobs of all users in
        each by `cluster.proc`, with their shape; without jobs if no other user may run there.
        """

    @property
    def untested(self) -> frozenset[str]:
        """Registered pilots that take no jobs yet, as their nodes have not passed the tests of the
        container; known after `pilots`.
        """

    @property
    def unsupported_schemes(self) -> frozenset[str]:
        """URL schemes of inputs and images of jobs that no pilot can fetch, as of `pilots`."""

    @property
    def machines(self) -> Mapping[str, str]:
        """The pilots by HTCondor's name for them, as of `pilots`."""

    def occupied(self) -> dict[str, tuple[float, frozenset[str]]]:
        """Return for each pilot of this run when the pool last got its ad, and the jobs in it by
        `cluster.proc`, in one query.
        """

    def force_remove(self, job_ids: Iterable[str] | None) -> None:
        """Remove jobs of this run without confirmation from their pilot (condor_rm -forcex)."""

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        """Release held jobs, with the memory and disk of `shape` from now on if given."""

    def negotiation_status(self, since_s: float) -> NegotiationStatus:
        """Return the state of negotiation for this run's idle jobs since then."""

    def rematch(self, job_ids: Iterable[str]) -> None:
        """Hold idle jobs (no others) and release them at once; see `hold_policy.is_temporary`."""

    def avoid(self, pilots: Iterable[str]) -> None:
        """Replace the list of pilots that jobs of this run must not match."""

    def set_paused(self, *, paused: bool) -> None:
        """Keep idle jobs of this run from starting, or let them start again."""

    def let_start(self, job_ids: Iterable[str]) -> None:
        """Let these jobs start although others are paused."""

    def keep_apart(self, *, apart: bool) -> None:
        """Spread jobs of this run that need much memory over pilots, or not."""

    def prioritize(self, job_ids: Iterable[str], priority: int) -> None:
        """Give jobs of this run another priority, but for those that come first by `rematch`."""

    def events(self) -> list[tuple[str, Event]]:
        """Return new events of jobs since the last call, by `cluster.proc`.

        The outputs of a job that ended are in its folder by then.
        """

    def missed_events(self) -> bool:
        """Return True if `events` may have left out events since the last call."""

    def held(self) -> dict[str, Event]:
        """Return the holds of jobs of this run that are held now, by `cluster.proc`."""

    def ended(self, job_ids: Iterable[str]) -> dict[str, Event]:
        """Return the ends of jobs that have left the queue, as far as the history has them."""

    def past_events(self, job_ids: Iterable[str]) -> list[tuple[str, Event]]:
        """Return the events that `events` does not have of jobs that have left the queue, as far as
        the history has them.
        """

    @property
    def complete_until_s(self) -> float:
        """The time up to which `events` is complete; infinite if it always is."""


class JobJournal(Protocol):
    """Records jobs before they are submitted. Every method raises `OutcomeUnknownError`."""

    def intend(self, keys: Iterable[str]) -> None:
        """Record that these jobs are about to be submitted; without that, they must not be."""

    def submitted(self, ids: Mapping[str, str]) -> None:
        """Record job key → `cluster.proc`."""


class JobFolders(Protocol):
    """The folders of jobs, in which the access point finds inputs and puts outputs."""

    def write(self, keys: Iterable[str]) -> Mapping[str, str]:
        """Write the folders of those of these jobs that are about to be submitted for the first
        time; return why others cannot run, by key. Raises `OutcomeUnknownError`.
        """

    def clear(self, keys: Iterable[str]) -> None:
        """Remove the outputs of earlier attempts of jobs that are about to be resubmitted."""
