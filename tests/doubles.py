"""Stand-ins for the world, for faults and moments that cannot be made with the real one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

from snakemake_executor_plugin_osgpilot.config.site import Partition, Site
from snakemake_executor_plugin_osgpilot.errors import (
    OsgpilotError,
    OutcomeUnknownError,
    QueueFullError,
    RejectedError,
)
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import NegotiationStatus
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.pilots.batch_system import Allocation
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import Row, Seen

SEAT = RunIdentity("alice", "MyProject", "r1")


def site(folder: Path) -> Site:
    token = folder / "token"
    token.write_text("secret")
    token.chmod(0o600)
    partition = Partition("", 4, 4000, (60,), smallest_cores=4)
    return Site("Home", "Home-Slurm", token, "docker://pilot", (partition,))


def messages(said: list[str], warned: list[str] | None = None) -> SimpleNamespace:
    """Return `common.messages.Messages` that puts information into `said`, warnings into `warned`,
    and all into `said` without the latter.
    """
    return SimpleNamespace(info=said.append, warning=(said if warned is None else warned).append)


class HandClock:
    """Time that moves when told."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def now_s(self) -> float:
        return self.at_s

    def sleep(self, seconds: float) -> None:
        self.at_s += seconds


class FakeSlurm:
    """A batch queue in memory. `moves` is what the next look shows; `fails` is raised once."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.submitted: list[Allocation] = []
        self.cancelled: list[str] = []
        self.drained: list[str] = []
        self.ended: list[str] = []
        self.killed: list[str] = []
        self.looks = 0
        self.fails: OsgpilotError | None = None
        self.deaf = False
        self.lost_answer = False

    def _maybe_fail(self) -> None:
        if self.fails:
            error, self.fails = self.fails, None
            raise error

    def submit(self, allocation: Allocation) -> str:
        self._maybe_fail()
        self.write({allocation.folder / name: text for name, text in allocation.files.items()})
        self.submitted.append(allocation)
        number = str(len(self.submitted))
        self.rows[allocation.name] = Row(number, allocation.name, Seen.QUEUED)
        if self.lost_answer:
            self.lost_answer = False
            raise OutcomeUnknownError("sbatch gave no answer")
        return number

    def interrupt(self) -> None:
        """Nothing hangs here."""

    def look(self) -> dict[str, Row]:
        self.looks += 1
        self._maybe_fail()
        return dict(self.rows)

    def show(self, seen: Seen, **more: object) -> None:
        """Show every allocation in this state from now on."""
        self.rows = {
            name: Row(row.allocation_id, name, seen, **more)  # type: ignore[arg-type]
            for name, row in self.rows.items()
        }

    def _drop(self, ids: Iterable[str], when: Seen | None) -> None:
        for name, row in self.rows.items():
            if row.allocation_id in ids and when in (None, row.seen):
                self.rows[name] = Row(row.allocation_id, name, Seen.CANCELLED)

    def cancel_pending(self, pilots: Mapping[str, str]) -> None:
        self.cancelled += pilots
        self._drop(pilots, Seen.QUEUED)

    def expectation(self, allocation: Allocation) -> None:
        return None

    def drain_running(self, pilots: Mapping[str, str]) -> None:
        self.drained += pilots

    def end_running(self, pilots: Mapping[str, str]) -> None:
        self.ended += pilots
        if not self.deaf:
            self._drop(pilots, Seen.RUNNING)

    def kill(self, pilots: Mapping[str, str]) -> None:
        self.killed += pilots
        self._drop(pilots, None)

    def write(self, files: Mapping[Path, str]) -> None:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def log_tail(self, folder: Path) -> str:
        try:
            return (folder / "slurm.log").read_text()
        except OSError as error:
            raise RejectedError(f"tail: {error}") from error


class FakeAccessPoint:
    """A queue in memory; the test sets the events."""

    room = at_once = 10**9

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.queued: dict[str, str] = {}
        self.removed: list[str] = []
        self.released: list[tuple[tuple[str, ...], Shape | None]] = []
        self.removed_all = 0
        self.removed_linger = False
        self.unread: list[tuple[str, Event]] = []
        self.fails: OsgpilotError | None = None
        self.remove_fails: OsgpilotError | None = None
        self.lost_answer = False
        self.missed = False
        self.held_now: dict[str, Event] = {}
        self.history: dict[str, Event] = {}
        self.history_fails: OsgpilotError | None = None
        self.forgotten = False
        self.known: dict[str, dict[str, Shape]] = {}
        self.unsupported_schemes: frozenset[str] = frozenset()
        self.untested: frozenset[str] = frozenset()
        self.pool_asked = 0
        self.avoided: list[tuple[str, ...]] = []
        self.paused = False
        self.tried: list[tuple[str, ...]] = []
        self.machines: dict[str, str] = {}
        self.there: dict[str, tuple[float, frozenset[str]]] = {}
        self.apart: list[bool] = []
        self.prioritized: list[tuple[int, tuple[str, ...]]] = []
        self.offered = NegotiationStatus(math.inf)
        self.asked_since_s: list[float] = []
        self.woken: list[tuple[str, ...]] = []

    def submit(self, submission: Submission) -> dict[str, str]:
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        room = self.room - len(self.queued)
        if len(submission.keys) > min(room, self.at_once):
            at_once = self.at_once < room
            raise QueueFullError(
                "no room", self.at_once if at_once else max(0, room), at_once=at_once
            )
        self.submissions.append(submission)
        ids = {key: f"{len(self.submissions)}.{n}" for n, key in enumerate(submission.keys)}
        self.queued |= ids
        if self.lost_answer:
            self.lost_answer = False
            raise OutcomeUnknownError("no answer to submit")
        return ids

    removal_hint = "condor_rm -constraint 'OSGPilotWorkflow == \"r1\"'"

    complete_until_s = math.inf

    def interrupt(self) -> None:
        """Nothing hangs here."""

    def pilots(self) -> dict[str, dict[str, Shape]]:
        self.pool_asked += 1
        return self.known

    def find(self) -> dict[str, str]:
        return dict(self.queued)

    def remove(self, job_ids: Iterable[str] | None, reason: str) -> None:
        if self.remove_fails:
            error, self.remove_fails = self.remove_fails, None
            raise error
        if job_ids is None:
            self.removed_all += 1
            if not self.removed_linger:
                self.queued.clear()
        else:
            self.removed += list(job_ids)

    def avoid(self, pilots: Iterable[str]) -> None:
        self.avoided.append(tuple(pilots))

    def set_paused(self, *, paused: bool) -> None:
        self.paused = paused

    def let_start(self, job_ids: Iterable[str]) -> None:
        self.tried.append(tuple(job_ids))

    def occupied(self) -> dict[str, tuple[float, frozenset[str]]]:
        return self.there

    def keep_apart(self, *, apart: bool) -> None:
        self.apart.append(apart)

    def prioritize(self, job_ids: Iterable[str], priority: int) -> None:
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        self.prioritized.append((priority, tuple(job_ids)))

    def clear(self) -> None:
        pass

    def force_remove(self, job_ids: Iterable[str] | None) -> None:
        if job_ids is None:
            self.forgotten = True
            self.queued.clear()
        else:
            gone = set(job_ids)
            self.queued = {key: own for key, own in self.queued.items() if own not in gone}

    def release(self, job_ids: Iterable[str], shape: Shape | None) -> None:
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        self.released.append((tuple(job_ids), shape))

    def negotiation_status(self, since_s: float) -> NegotiationStatus:
        self.asked_since_s.append(since_s)
        return self.offered

    def rematch(self, job_ids: Iterable[str]) -> None:
        if self.fails:
            error, self.fails = self.fails, None
            raise error
        self.woken.append(tuple(job_ids))

    def tell(self, key: str, kind: EventKind, at_s: float = 2000.0, **more: object) -> None:
        self.unread.append((self.queued[key], Event(kind, at_s, **more)))  # type: ignore[arg-type]

    def held(self) -> dict[str, Event]:
        return {self.queued[key]: event for key, event in self.held_now.items()}

    def ended(self, job_ids: Iterable[str]) -> dict[str, Event]:
        if self.history_fails:
            raise self.history_fails
        return {job_id: self.history[job_id] for job_id in job_ids if job_id in self.history}

    def past_events(self, job_ids: Iterable[str]) -> list[tuple[str, Event]]:
        return list(self.ended(job_ids).items())

    def missed_events(self) -> bool:
        missed, self.missed = self.missed, False
        return missed

    def events(self) -> list[tuple[str, Event]]:
        reported, self.unread = self.unread, []
        return reported

    def close(self) -> None:
        """Nothing to close."""


@dataclass
class StorageSettings:
    """Of a storage plugin; `env_var` marks secrets."""

    key: str | None = field(default=None, metadata={"env_var": True})
    endpoint: str | None = None
    token_file: str | None = None
    access_key: str | None = field(default=None, metadata={"env_var": True})
    secret_key: str | None = field(default=None, metadata={"env_var": True})
    token: str | None = field(default=None, metadata={"env_var": True})
    region: str | None = None
    endpoint_url: str | None = None
    signature_version: str | None = None


class InStorage(str):
    """A file in storage, as Snakemake has it: its text is the local path."""

    is_storage = True

    def __new__(
        cls, query, *, retrieve=True, path=".snakemake/storage/x", is_dir=False, **settings
    ):
        made = super().__new__(cls, path)
        made.storage_object = SimpleNamespace(
            query=query,
            print_query=query,
            retrieve=retrieve,
            is_dir=lambda: is_dir,
            provider=SimpleNamespace(settings=StorageSettings(**settings)),
        )
        return made
