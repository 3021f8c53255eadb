"""The journal file: created atomically, migrated to the current schema when it is opened."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ..common import private_files as private
from ..errors import (
    InputError,
    JournalDamagedError,
    MissingPrerequisiteError,
    NeverBegunError,
    OsgpilotError,
)
from ..model.identity import RunIdentity
from .run_folder import RunFolder

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
    "ALTER TABLE run ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE jobs ADD COLUMN failed_on TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE run ADD COLUMN keys INTEGER NOT NULL DEFAULT 0",
)
"""Each migrates a journal from the version of its index to the next; never changed later."""

NEW = ".new"
"""Suffix of a journal that is being created."""


def create(path: Path, seat: RunIdentity) -> None:
    """Create the journal of a run of `seat` under a temporary name, and rename it when complete.

    Raises `MissingPrerequisiteError` if it cannot be written; nothing is left of it then.
    """
    part = path.with_name(f"{path.name}{NEW}")
    try:
        part.touch(private.FILE_MODE)
        with _translated(path), closing(_connect(part, "rw")) as db:
            _migrate(db, path)
            db.execute(
                "INSERT INTO run (one, run, owner, project, scope) VALUES (1, ?, ?, ?, ?)",
                (seat.run, seat.owner, seat.project, seat.pilot_sharing),
            )
        if path.exists():
            raise MissingPrerequisiteError(f"the journal {path} exists already")
        part.rename(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise MissingPrerequisiteError(
            f"the journal {path} cannot be created: {error.strerror}"
        ) from error
    finally:
        part.unlink(missing_ok=True)


def connect(path: Path) -> sqlite3.Connection:
    """Open the journal at `path` and migrate it to the current schema.

    Raises `NeverBegunError` if it has no run yet, `JournalDamagedError` if it is not a journal,
    `InputError` if it is from a newer version, `MissingPrerequisiteError` if it cannot be used now.
    """
    with _translated(path):
        db = _connect(path, "rw")
        try:
            _check_begun(db, path)
            _migrate(db, path)
            _check_begun(db, path, "run")
        except BaseException:
            db.close()
            raise
        return db


def _check_begun(db: sqlite3.Connection, path: Path, table: str = "sqlite_schema") -> None:
    if not db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]:
        raise _broken(path, "it is empty")


def damaged(path: Path, how: str) -> JournalDamagedError:
    """Return the error for a damaged journal."""
    return JournalDamagedError(
        f"the journal {path} is damaged ({how}); `osgpilot cleanup` removes what run "
        f"{path.parent.name} has left in the queue and in Slurm"
    )


def unusable(path: Path, how: str) -> MissingPrerequisiteError:
    """Return the error for a journal that cannot be read now, with what to do."""
    return MissingPrerequisiteError(
        f"the journal {path} cannot be used: {how}; make it readable and writable, or move its "
        "folder elsewhere if the run is over"
    )


def _broken(path: Path, how: str) -> OsgpilotError:
    """Return the error for a file that is not a journal; a run that was begun has further files."""
    try:
        bare = RunFolder(path.parent).is_bare()
    except OSError as error:
        return unusable(path, f"{how}, and {error.filename}: {error.strerror}")
    if not bare:
        return damaged(path, how)
    return NeverBegunError(
        f"run {path.parent.name} was never begun: its start ended before its journal {path} was "
        "complete; `osgpilot cleanup` removes it"
    )


def reason(error: sqlite3.Error) -> str:
    """Return what SQLite says; it has one message for all but a full disk."""
    said = str(error)
    return f"{said} (is your quota there used up?)" if said == "disk I/O error" else said


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Translate errors of SQLite."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise unusable(path, reason(error)) from error
    except sqlite3.DatabaseError as error:
        raise _broken(path, str(error)) from error


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    db = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_S,
        check_same_thread=False, isolation_level=None,
    )  # fmt: skip
    try:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA synchronous = FULL")
    except BaseException:
        db.close()
        raise
    return db


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise InputError(f"the journal {path} was written by a newer version of osgpilot")
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        # one transaction, so that a kill leaves the previous version
        db.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
