"""What the controller needs from the world. Real adapters and test doubles implement these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from snakemake_executor_plugin_osgpilot.jobs.state.events import Event
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import NegotiationStatus
from snakemake_executor_plugin_osgpilot.model.resources import Request, Shape


@dataclass(frozen=True)
class Submission:
    """Jobs that go to the queue in one transaction. `keys` name their job folders, `avoid` pilots
    that leave, or are gone but may still be offered; `urls` are inputs that the execution point
    fetches, by job key; `apart` says whether heavy ones are to keep apart, see
    `core.balance.apart`, and `largest` what the biggest pilot offers, if that is known. `kept_off`
    are nodes or pilots on which these jobs failed before.
    """

    keys: tuple[str, ...]
    request: Request
    avoid: tuple[str, ...] = ()
    urls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    apart: bool = False
    largest: Shape | None = None
    kept_off: tuple[str, ...] = ()


class AccessPoint(Protocol):
    """The queue of the access point. Every method raises `OutcomeUnknownError` or
    `RejectedError`."""

    def submit(self, submission: Submission) -> dict[str, str]:
        """Queue all jobs of `submission` or none; return job key → `cluster.proc`.

        Raises `QueueFullError`, too.
        """

    def find(self) -> dict[str, str]:
        """Return job key → `cluster.proc` of the jobs of this run that are in the queue."""

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        """Remove jobs of this run (`cluster.proc`) from the queue; all of them if None."""

    @property
    def removal_hint(self) -> str:
        """The command that removes the jobs of this run by hand."""

    def interrupt(self) -> None:
        """Have the request that another thread waits for end as unanswered, at once."""

    def pilots(self) -> dict[str, dict[str, Shape]]:
        """Return this run's pilots that the pool knows by name, in one query: the jobs in each by
        `cluster.proc`, anybody's, with what they take; none are told if no others may run there.
        """

    @property
    def unfetched(self) -> frozenset[str]:
        """Schemes of URLs among the inputs of jobs that no pilot could fetch, as of `pilots`."""

    @property
    def machines(self) -> Mapping[str, str]:
        """The pilots by the name that HTCondor has for them, as of `pilots`."""

    def occupied(self) -> dict[str, tuple[float, frozenset[str]]]:
        """Return of this run's pilots when the pool last heard of each, and the jobs in it, by
        `cluster.proc`, in one query.
        """

    def forget(self, job_ids: Iterable[str] | None) -> None:
        """Drop removed jobs of this run whose pilot vanished before it could confirm."""

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        """Let held jobs run again, with the memory and disk of `shape` from now on if given."""

    def offers(self, since_s: float) -> NegotiationStatus:
        """Return what became of this run's idle jobs with the negotiators since then."""

    def wake(self, job_ids: Iterable[str]) -> None:
        """Hold idle jobs (no others) and release them at once; `core.holds.is_ours` knows it."""

    def avoid(self, pilots: Iterable[str]) -> None:
        """Have the jobs of this run not matched with these pilots, nor those named before."""

    def set_paused(self, *, paused: bool) -> None:
        """Have no waiting job of this run started, or let them start again."""

    def let_start(self, job_ids: Iterable[str]) -> None:
        """Let these jobs start although others may not."""

    def keep_apart(self, *, apart: bool) -> None:
        """Have jobs of this run that need much memory start beside others such or not."""

    def events(self) -> list[tuple[str, Event]]:
        """Return what is new of the jobs since the last call, by `cluster.proc`.

        What ended has left its outputs in the job's folder by then.
        """

    def missed_events(self) -> bool:
        """Whether there may be events that `events` did not tell, since this was asked last."""

    def held(self) -> dict[str, Event]:
        """Return why jobs of this run are held in the queue now, by `cluster.proc`."""

    def ended(self, job_ids: Iterable[str]) -> dict[str, Event]:
        """Return how jobs ended that have left the queue, as far as its history has them."""

    @property
    def told_until_s(self) -> float:
        """The time up to which `events` has told everything; infinite if that is always all."""


class JobJournal(Protocol):
    """Where jobs are written down before they are submitted. Every method raises
    `OutcomeUnknownError`."""

    def intend(self, keys: Iterable[str]) -> None:
        """Write down that these jobs are about to be submitted; without that, they must not be."""

    def submitted(self, ids: Mapping[str, str]) -> None:
        """Write down job key → `cluster.proc`."""
