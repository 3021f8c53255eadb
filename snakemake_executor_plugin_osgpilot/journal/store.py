"""The journal of a run: every job and pilot before it is asked for, and what was answered.

One SQLite file in the run's folder. One process writes, from several threads; the rollback journal
works on network file systems, where a write-ahead log does not (sqlite.org/wal.html, section 1).
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path

from snakemake_executor_plugin_osgpilot import private
from snakemake_executor_plugin_osgpilot.core.jobs import Job
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.core.ownership import Holder
from snakemake_executor_plugin_osgpilot.core.printable import storable
from snakemake_executor_plugin_osgpilot.core.recovery import Entry, Past
from snakemake_executor_plugin_osgpilot.core.remains import Place
from snakemake_executor_plugin_osgpilot.errors import BadInput, Unanswered, Unavailable
from snakemake_executor_plugin_osgpilot.ports import Scope, Seat

BUSY_S = 10.0

MIGRATIONS = (
    """
    CREATE TABLE run (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        run TEXT NOT NULL, owner TEXT NOT NULL, project TEXT NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0, holder TEXT NOT NULL DEFAULT ''
    );
    CREATE TABLE jobs (
        key TEXT PRIMARY KEY, identity TEXT NOT NULL, digest TEXT NOT NULL, rule TEXT NOT NULL,
        class TEXT NOT NULL, job_id TEXT NOT NULL DEFAULT '', over INTEGER NOT NULL DEFAULT 0
    ) WITHOUT ROWID;
    CREATE INDEX jobs_by_identity ON jobs (identity);
    CREATE TABLE pilots (name TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
    """,
    """
    ALTER TABLE jobs ADD COLUMN past TEXT NOT NULL DEFAULT '';
    ALTER TABLE run ADD COLUMN place TEXT NOT NULL DEFAULT '';
    """,
    "ALTER TABLE run ADD COLUMN scope TEXT NOT NULL DEFAULT 'workflow'",
)
"""Each brings a journal from the version before (its place) to the next; never changed later."""


class Journal:
    """Opens the journal at `path`, or makes it for a run of `seat`; safe from several threads.

    Raises `BadInput` if it is damaged or from a newer version, `Unavailable` if it cannot be
    written. Later, what cannot be written raises `Unanswered`: it can be tried again.
    """

    def __init__(self, path: Path, seat: Seat | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._noted: dict[str, tuple[Job, str, str]] = {}
        self._ids: dict[str, str] = {}
        self._pilots: dict[str, Pilot] = {}
        try:
            self._db = self._open(seat)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"the journal {path} cannot be used: {error}") from error
        except sqlite3.DatabaseError as error:
            raise self._damaged(str(error)) from error

    def _damaged(self, how: str) -> BadInput:
        return BadInput(
            f"the journal {self._path} is damaged ({how}); `osgpilot reap` removes what run "
            f"{self._path.parent.name} has left in the queue and in Slurm"
        )

    def _open(self, seat: Seat | None) -> sqlite3.Connection:
        mode = "rw" if seat is None else "rwc"
        if seat is not None:
            # what keeps it from being made, SQLite tells
            with suppress(OSError):
                self._path.touch(private.FILE_MODE)
        db = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S,
            check_same_thread=False, isolation_level=None,
        )  # fmt: skip
        try:
            db.execute("PRAGMA journal_mode = DELETE")
            db.execute("PRAGMA synchronous = FULL")
            self._migrate(db)
            if seat is not None:
                db.execute(
                    "INSERT INTO run (one, run, owner, project, scope) VALUES (1, ?, ?, ?, ?)",
                    (seat.run, seat.owner, seat.project, seat.scope),
                )
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise BadInput(f"the journal {self._path} was written by a newer version of osgpilot")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            # one transaction, so that a kill leaves the version before
            db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")

    def check(self) -> None:
        """Read it all once. Raises `BadInput` if it is damaged."""
        found = self._read("PRAGMA quick_check(1)")[0][0]
        if found != "ok":
            raise self._damaged(found)

    def close(self) -> None:
        """Close the file; the run stays as it is."""
        with self._lock:
            self._db.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, with what could not be written before. Raises `Unanswered`."""
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(
                        "UPDATE jobs SET job_id = ? WHERE key = ?",
                        [(job_id, key) for key, job_id in self._ids.items()],
                    )
                    yield self._db
                    self._db.execute("COMMIT")
                except BaseException:
                    self._db.rollback()
                    raise
                self._ids.clear()
            except sqlite3.Error as error:
                raise Unanswered(f"the journal {self._path} cannot be written: {error}") from error

    def note(self, job: Job, identity: str, digest: str) -> None:
        """Keep in mind what `intend` will write about a job."""
        self._noted[job.key] = (job, identity, digest)

    def intend(self, keys: Iterable[str]) -> None:
        """Write down that jobs are about to be submitted. Raises `Unanswered`; do not submit then.

        An older job with the same identity is of no use any more.
        """
        new = {key: self._noted[key] for key in keys if key in self._noted}
        if not new:
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
        """Write down ids of jobs, by key. Raises `Unanswered`; the next write has them then."""
        with self._lock:
            self._ids |= ids
        with self._writing():
            pass

    def settled(self, jobs: Iterable[Job]) -> None:
        """Write down how these jobs ended, of which Snakemake knows now. Raises `Unanswered`."""
        rows = [(_past_text(Past.of(job)), job.key) for job in jobs]
        with self._writing() as db:
            db.executemany("UPDATE jobs SET over = 1, past = ? WHERE key = ?", rows)

    def pilots_are(self, pilots: Iterable[Pilot]) -> None:
        """Write down what is new about pilots. Raises `Unanswered`."""
        new = {p.name: p for p in pilots if self._pilots.get(p.name) != p}
        if not new:
            return
        rows = [(name, _pilot_text(pilot)) for name, pilot in new.items()]
        with self._writing() as db:
            db.executemany("REPLACE INTO pilots (name, content) VALUES (?, ?)", rows)
        self._pilots |= new

    def hold(self, holder: Holder | None) -> None:
        """Write down who works on the run from now on (None: nobody). Raises `Unanswered`."""
        text = "" if holder is None else json.dumps(asdict(holder))
        with self._writing() as db:
            db.execute("UPDATE run SET holder = ?", (text,))

    def finish(self) -> None:
        """Write down that nothing of the run is left anywhere. Raises `Unanswered`."""
        with self._writing() as db:
            db.execute("UPDATE run SET closed = 1, holder = ''")

    @property
    def seat(self) -> Seat:
        run, owner, project, scope = self._read("SELECT run, owner, project, scope FROM run")[0]
        return Seat(owner, project, run, Scope(scope))

    def works_at(self, place: Place) -> None:
        """Write down where jobs and pilots of this run are. Raises `Unanswered`."""
        with self._writing() as db:
            db.execute("UPDATE run SET place = ?", (json.dumps(asdict(place)),))

    @property
    def place(self) -> Place:
        """Where jobs and pilots of this run are; on the host of the run if that was not noted."""
        text = self._read("SELECT place FROM run")[0][0]
        return Place(**json.loads(text)) if text else Place()

    @property
    def is_finished(self) -> bool:
        return bool(self._read("SELECT closed FROM run")[0][0])

    @property
    def holder(self) -> Holder | None:
        text = self._read("SELECT holder FROM run")[0][0]
        return Holder(**json.loads(text)) if text else None

    def entries(self) -> list[Entry]:
        """Return the jobs of whose end Snakemake has not been told."""
        found = self._read(
            "SELECT key, identity, digest, rule, class, job_id FROM jobs WHERE over = 0"
        )
        return [
            Entry(key, identity, digest, rule, _decoded(job_class), job_id)
            for key, identity, digest, rule, job_class, job_id in found
        ]

    def past(self) -> list[Past]:
        """Return the jobs of whose end Snakemake has been told."""
        found = self._read("SELECT past FROM jobs WHERE over = 1 AND past != ''")
        return [_past(text) for (text,) in found]

    def last_key(self) -> str:
        """Return the highest key there is, empty if there is none."""
        return str(self._read("SELECT coalesce(max(key), '') FROM jobs")[0][0])

    def pilots(self) -> list[Pilot]:
        """Return all pilots of the run as they were last seen."""
        self._pilots = {
            name: _pilot(text) for name, text in self._read("SELECT name, content FROM pilots")
        }
        return list(self._pilots.values())

    def _read(self, query: str) -> list[tuple[str, ...]]:
        with self._lock:
            try:
                return self._db.execute(query).fetchall()
            except sqlite3.Error as error:
                raise self._damaged(str(error)) from error


def _encoded(job_class: JobClass) -> str:
    return json.dumps([*job_class.shape, job_class.runtime_s, *job_class.offers])


def _decoded(text: str) -> JobClass:
    cores, memory_mb, disk_mb, gpus, runtime_s, *offers = json.loads(text)
    return JobClass(Shape(cores, memory_mb, disk_mb, gpus), runtime_s, tuple(offers))


def _past_text(past: Past) -> str:
    return json.dumps(asdict(past) | {"job_class": _encoded(past.job_class)})


def _past(text: str) -> Past:
    content = json.loads(text)
    return Past(**content | {"job_class": _decoded(content["job_class"])})


def _pilot_text(pilot: Pilot) -> str:
    return json.dumps(asdict(pilot) | {"shape": list(pilot.shape), "state": pilot.state.value})


def _pilot(text: str) -> Pilot:
    content = json.loads(text)
    shape, state = Shape(*content.pop("shape")), PilotState(content.pop("state"))
    return Pilot(**content, shape=shape, state=state)
