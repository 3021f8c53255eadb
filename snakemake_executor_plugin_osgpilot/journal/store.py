"""The journal of a run: each job and pilot is recorded before it is submitted, then its answer.

One SQLite file in the run's folder. One process writes, from several threads; the rollback journal
works on network file systems, where a write-ahead log does not (sqlite.org/wal.html, section 1).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..common.printable import storable
from ..errors import NotRecordedError, RunTakenOverError
from ..jobs.state import avoidance as elsewhere
from ..jobs.state.job import Job
from ..jobs.state.recovery import Entry, Past
from ..model.identity import PilotSharing, RunIdentity
from ..model.resources import JobClass, Pilot, PilotState, Shape
from .holder import RunOwner
from .location import Place, SiteLocation
from .schema import connect, create, damaged, reason, unusable


class Journal:
    """Opens the journal at `path`, or creates it for a run of `seat`; safe from several threads.

    Raises `NeverBegunError`, `JournalDamagedError`, `InputError` (from a newer version), or
    `MissingPrerequisiteError`. A failed write raises `OutcomeUnknownError` and can be retried.

    Each take-over of the run increments a generation number, which each transaction checks: the
    previous holder gets `RunTakenOverError`, and `on_lost` is called with it first.
    """

    def __init__(self, path: Path, seat: RunIdentity | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[Job, str, str]] = {}
        self._ids: dict[str, str] = {}
        self._keys = self._keys_written = 0
        self._pilots: dict[str, Pilot] = {}
        self.on_lost: Callable[[RunTakenOverError], None] = _ignore
        if seat is not None:
            create(path, seat)
        self._db = connect(path)
        self._generation = int(self._read("SELECT generation FROM run")[0][0])

    def check(self) -> None:
        """Check the integrity of the file. Raises `JournalDamagedError`."""
        found = self._read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise damaged(self._path, found)

    def close(self) -> None:
        """Close the file; the run is not changed."""
        with self._lock:
            self._db.close()

    def check_held(self) -> None:
        """Raise `RunTakenOverError` if another process took the run over, `OutcomeUnknownError` if
        that is unknown.

        It reads one row, so it is cheap enough to precede each action.
        """
        with self._lock, self._reporting("read"):
            self._assert_held()

    def _assert_held(self) -> None:
        generation, closed, holder = self._db.execute(
            "SELECT generation, closed, holder FROM run"
        ).fetchone()
        if generation == self._generation:
            return
        who = "another process, which has ended since"
        if holder and not closed:
            with self._understanding():
                owner = RunOwner(**json.loads(holder))
                who = f"process {owner.pid} on {owner.host}"
        raise RunTakenOverError(f"run {self._path.parent.name} was taken over by {who}")

    @contextmanager
    def _reporting(self, done: str) -> Iterator[None]:
        """Translate errors of SQLite to `NotRecordedError`; call `on_lost` on a lost run."""
        try:
            yield
        except sqlite3.Error as error:
            why = reason(error)
            raise NotRecordedError(f"the journal {self._path} cannot be {done}: {why}") from error
        except RunTakenOverError as lost:
            self.on_lost(lost)
            raise

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Run one transaction, which includes the keys given to jobs since the last one, and job
        ids that could not be written before.

        Raises `OutcomeUnknownError` or `RunTakenOverError`.
        """
        with self._lock, self._reporting("written"):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._assert_held()
                self._db.executemany(
                    "UPDATE jobs SET job_id = ? WHERE key = ?",
                    [(job_id, key) for key, job_id in self._ids.items()],
                )
                if (keys := self._keys) > self._keys_written:
                    self._db.execute("UPDATE run SET keys = max(keys, ?)", (keys,))
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                self._db.rollback()
                raise
            self._ids.clear()
            self._keys_written = keys

    def reserve(self, keys: int) -> None:
        """Record the number of keys that were given to jobs with the next write."""
        with self._lock:
            self._keys = max(self._keys, keys)

    def note(self, job: Job, identity: str, digest: str) -> None:
        """Register a job for `intend`, which writes it."""
        self._noted[job.key] = (job, identity, digest)

    def intend(self, keys: Iterable[str]) -> None:
        """Record that jobs are about to be submitted. Raises `OutcomeUnknownError`; do not submit
        then.

        An older job with the same identity is marked as over.
        """
        new = {key: self._noted[key] for key in keys if key in self._noted}
        if not new:
            self.check_held()
            return
        rows = [
            (key, identity, digest, storable(job.rule), _encoded(job.job_class))
            for key, (job, identity, digest) in new.items()
        ]
        with self._writing() as db:
            db.executemany(
                "UPDATE jobs SET over = 1 WHERE identity = ? AND over = 0",
                [(identity,) for _, identity, _, _, _ in rows],
            )
            db.executemany(
                "INSERT INTO jobs (key, identity, digest, rule, class) VALUES (?, ?, ?, ?, ?)", rows
            )
        for key in new:
            del self._noted[key]

    def submitted(self, ids: Mapping[str, str]) -> None:
        """Record the ids of jobs, by key. Raises `OutcomeUnknownError`; the next write includes
        them then.
        """
        with self._lock:
            self._ids |= ids
        with self._writing():
            pass

    def settled(self, jobs: Iterable[Job]) -> None:
        """Record the end of jobs that was reported to Snakemake. Raises `OutcomeUnknownError`."""
        rows = [(*_past_texts(Past.of(job)), job.key) for job in jobs]
        with self._writing() as db:
            db.executemany("UPDATE jobs SET over = 1, past = ?, failed_on = ? WHERE key = ?", rows)

    def record_pilots(self, pilots: Iterable[Pilot]) -> None:
        """Record changes of pilots. Raises `OutcomeUnknownError`."""
        new = {p.name: p for p in pilots if self._pilots.get(p.name) != p}
        if not new:
            self.check_held()
            return
        rows = [(name, _pilot_text(pilot)) for name, pilot in new.items()]
        with self._writing() as db:
            db.executemany("REPLACE INTO pilots (name, content) VALUES (?, ?)", rows)
        self._pilots |= new

    def hold(self, holder: RunOwner | None) -> None:
        """Record the process that holds the run from now on (None: none).

        Any process that held the run before has lost it. Raises `OutcomeUnknownError`.
        """
        text = "" if holder is None else json.dumps(asdict(holder))
        taken = 0 if holder is None else 1
        with self._writing() as db:
            db.execute("UPDATE run SET holder = ?, generation = generation + ?", (text, taken))
        self._generation += taken

    def finish(self) -> None:
        """Record that nothing of the run is left anywhere. Raises `OutcomeUnknownError`."""
        with self._writing() as db:
            db.execute("UPDATE run SET closed = 1, holder = ''")

    @property
    def seat(self) -> RunIdentity:
        run, owner, project, sharing = self._read("SELECT run, owner, project, scope FROM run")[0]
        with self._understanding():
            return RunIdentity(owner, project, run, PilotSharing(sharing))

    def set_place(self, place: Place) -> None:
        """Record where jobs and pilots of this run are. Raises `OutcomeUnknownError`."""
        with self._writing() as db:
            db.execute("UPDATE run SET place = ?", (json.dumps(asdict(place)),))

    @property
    def place(self) -> Place:
        """Location of jobs and pilots of this run; its own host if nothing was recorded."""
        text = self._read("SELECT place FROM run")[0][0]
        with self._understanding():
            return _place(json.loads(text)) if text else Place()

    @property
    def is_finished(self) -> bool:
        return bool(self._read("SELECT closed FROM run")[0][0])

    @property
    def holder(self) -> RunOwner | None:
        text = self._read("SELECT holder FROM run")[0][0]
        with self._understanding():
            return RunOwner(**json.loads(text)) if text else None

    def entries(self) -> list[Entry]:
        """Return the jobs whose end was not reported to Snakemake."""
        found = self._read(
            "SELECT key, identity, digest, rule, class, job_id FROM jobs WHERE over = 0"
        )
        with self._understanding():
            return [
                Entry(key, identity, digest, rule, _decoded(job_class), job_id)
                for key, identity, digest, rule, job_class, job_id in found
            ]

    def past(self) -> list[Past]:
        """Return the jobs whose end was reported to Snakemake, oldest first."""
        found = self._read(
            "SELECT identity, failed_on, past FROM jobs WHERE over = 1 AND past != '' ORDER BY key"
        )
        with self._understanding():
            return [_past(*texts) for texts in found]

    def last_key(self) -> int:
        """Return the number of the last key that was given to a job, 0 if there was none."""
        reserved, last = self._read("SELECT keys, (SELECT max(key) FROM jobs) FROM run")[0]
        return max(int(reserved), int(last or 0))

    def pilots(self) -> list[Pilot]:
        """Return all pilots of the run as they were last seen."""
        found = self._read("SELECT name, content FROM pilots")
        with self._understanding():
            self._pilots = {name: _pilot(text) for name, text in found}
        return list(self._pilots.values())

    def _read(self, query: str) -> list[tuple[str, ...]]:
        with self._lock:
            try:
                return self._db.execute(query).fetchall()
            except sqlite3.OperationalError as error:
                raise unusable(self._path, reason(error)) from error
            except sqlite3.Error as error:
                raise damaged(self._path, str(error)) from error

    @contextmanager
    def _understanding(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, TypeError, KeyError) as error:
            raise damaged(self._path, f"{type(error).__name__}: {error}") from error


def _ignore(lost: RunTakenOverError) -> None:
    """Do nothing; the caller handles the error."""


def _encoded(job_class: JobClass) -> str:
    return json.dumps([*job_class.shape, job_class.runtime_s, *job_class.offers])


def _decoded(text: str) -> JobClass:
    cores, memory_mb, disk_mb, gpus, runtime_s, *offers = json.loads(text)
    return JobClass(Shape(cores, memory_mb, disk_mb, gpus), runtime_s, tuple(offers))


def _past_texts(past: Past) -> tuple[str, str]:
    content = asdict(past) | {"job_class": _encoded(past.job_class)}
    # it has its own column
    del content["identity"]
    failed_on = content.pop("failed_on")
    return json.dumps(content), json.dumps(failed_on) if failed_on else ""


def _past(identity: str, failed_on: str, text: str) -> Past:
    content = json.loads(text)
    place = elsewhere.Place(*json.loads(failed_on)) if failed_on else None
    more = {"job_class": _decoded(content["job_class"]), "identity": identity, "failed_on": place}
    return Past(**content | more)


def _place(content: dict[str, Any]) -> Place:
    others = tuple(SiteLocation(**each) for each in content.pop("others", ()))
    return Place(**content, others=others)


def _pilot_text(pilot: Pilot) -> str:
    return json.dumps(asdict(pilot) | {"shape": list(pilot.shape), "state": pilot.state.value})


def _pilot(text: str) -> Pilot:
    content = json.loads(text)
    shape, state = Shape(*content.pop("shape")), PilotState(content.pop("state"))
    return Pilot(**content, shape=shape, state=state)
