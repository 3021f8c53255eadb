"""The journal: written before each action, read by the next session of the run."""

import resource
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    JournalDamagedError,
    MissingPrerequisiteError,
    NotRecordedError,
    OutcomeUnknownError,
    RunTakenOverError,
)
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Past
from snakemake_executor_plugin_osgpilot.journal import schema
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.journal.process import this_process
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    Request,
    Shape,
)

SEAT = RunIdentity("alice", "MyProject", "r1")
CLASS = JobClass(Shape(2, 512, 100, 1), 600, ("short/4c",))
PILOT = Pilot("osgpilot-r1-1", Shape(4, 3800), offer="normal/4c", walltime_s=3600, asked_s=5.0)


def job(key):
    return Job(key, "map", Request(CLASS))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


@pytest.fixture
def journal(path):
    made = Journal(path, SEAT)
    yield made
    made.close()


def note(journal, *keys, identity=None):
    for key in keys:
        journal.note(job(key), identity or f"identity-{key}", f"digest-{key}")


def later(path):
    """Open the journal as the next session does; nothing was closed before."""
    return closing(Journal(path))


def test_intended_job_is_known_to_next_session_without_id(journal, path):
    note(journal, "1", "2")
    journal.intend(["1"])
    with later(path) as found:
        assert found.entries() == [Entry("1", "identity-1", "digest-1", "map", CLASS)]
        assert found.seat == SEAT


def test_ids_are_known_after_submission(journal, path):
    note(journal, "1", "2")
    journal.intend(["1", "2"])
    journal.submitted({"2": "7.1"})
    with later(path) as found:
        assert [entry.job_id for entry in found.entries()] == ["", "7.1"]


def test_settled_job_is_no_longer_an_entry(journal, path):
    note(journal, "1", "2")
    journal.intend(["1", "2"])
    ended = replace(
        job("1"), state=JobState.ENDED, exit_status=0, busy_s=7.5, started_s=3.0, ended_s=9.5,
        pilot=PILOT.name, allocation_id="42",
    )  # fmt: skip
    journal.settled([ended])
    with later(path) as found:
        assert [entry.key for entry in found.entries()] == ["2"]
        (past,) = found.past()
        assert past == Past("map", CLASS, True, 7.5, 3.0, 9.5, PILOT.name, "42", "identity-1")


def test_journal_of_first_version_is_usable(path):
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{schema.MIGRATIONS[0]}; PRAGMA user_version = 1")
        db.execute("INSERT INTO run (one, run, owner, project) VALUES (1, 'r1', 'alice', 'P')")
        db.executemany(
            "INSERT INTO jobs (key, identity, digest, rule, class, over) "
            "VALUES (?, ?, 'd', 'map', '[1, 500, 100, 0, 60]', ?)",
            [("1", "one", 1), ("2", "two", 0)],
        )
        db.commit()
    with later(path) as found:
        assert found.past() == [], "the ends of jobs were not recorded in that version"
        found.settled([replace(job("2"), state=JobState.REMOVED)])
        assert [past.succeeded for past in found.past()] == [False]


def test_latest_entry_replaces_earlier_ones_of_a_job(journal):
    note(journal, "1", identity="same")
    journal.intend(["1"])
    note(journal, "2", identity="same")
    journal.intend(["2"])
    assert [entry.key for entry in journal.entries()] == ["2"]


def test_resubmitted_key_gets_no_new_entry(journal):
    note(journal, "1")
    journal.intend(["1"])
    journal.intend(["1"])
    assert [entry.key for entry in journal.entries()] == ["1"]


def test_pilots_are_restored_as_last_recorded(journal, path):
    seen = replace(PILOT, state=PilotState.DONE, allocation_id="4", started_s=9.5, ended_s=60.0)
    journal.record_pilots([PILOT])
    journal.record_pilots([seen, replace(PILOT, name="osgpilot-r1-2")])
    with later(path) as found:
        assert found.pilots() == [seen, replace(PILOT, name="osgpilot-r1-2")]


def test_holder_and_end_are_recorded(journal, path):
    me = this_process()
    journal.hold(me)
    with later(path) as found:
        assert found.holder == me
        assert not found.is_finished
    journal.finish()
    with later(path) as found:
        assert found.holder is None
        assert found.is_finished


def test_previous_holder_cannot_write(journal, path):
    journal.hold(this_process())
    note(journal, "1", "2")
    journal.intend(["1"])
    journal.check_held()
    with later(path) as other:
        other.hold(replace(this_process(), pid=77, host="login2"))
        other.check_held()
        before, reported = path.read_bytes(), []
        journal.on_lost = reported.append
        writes = (
            lambda: journal.intend(["2"]),
            lambda: journal.submitted({"1": "3.0"}),
            lambda: journal.settled([job("1")]),
            lambda: journal.record_pilots([PILOT]),
            lambda: journal.record_pilots([]),
            lambda: journal.hold(this_process()),
            lambda: journal.hold(None),
            lambda: journal.set_place(Place("here")),
            journal.finish,
            journal.check_held,
        )
        for write in writes:
            with pytest.raises(
                RunTakenOverError, match=r"run .* was taken over by process 77 on login2"
            ):
                write()
        assert path.read_bytes() == before
        assert len(reported) == len(writes)
        other.intend([])
        other.finish()
    with pytest.raises(RunTakenOverError, match="another process, which has ended since"):
        journal.check_held()


def test_one_of_two_concurrent_takers_holds_the_run(journal, path):
    with later(path) as one, later(path) as other:
        one.hold(this_process())
        with pytest.raises(RunTakenOverError, match=f"process {this_process().pid}"):
            other.hold(replace(this_process(), pid=77))
        one.check_held()


def test_released_and_retaken_run_is_lost_to_first_holder(journal, path):
    journal.hold(this_process())
    journal.hold(None)
    journal.check_held()
    with later(path) as other:
        other.hold(this_process())
        other.hold(None)
    with pytest.raises(RunTakenOverError):
        journal.check_held()


def test_failed_read_does_not_prove_a_lost_run(journal, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        journal._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OutcomeUnknownError, match="cannot be read"):
            journal.check_held()
        other.execute("ROLLBACK")
    journal.check_held()


@pytest.mark.parametrize("column", ["holder", "place", "scope"])
@pytest.mark.parametrize("text", ["{", "[1]", '{"color": 3}'])
def test_malformed_row_is_damage(journal, path, column, text):
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"UPDATE run SET {column} = ?", (text,))
        db.commit()
    with pytest.raises(JournalDamagedError, match="is damaged"):
        getattr(journal, "seat" if column == "scope" else column)


def test_locked_journal_is_not_damaged(journal, path):
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        journal._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(MissingPrerequisiteError, match="database is locked"):
            journal.check()


@contextmanager
def no_growth():
    """Have each write that makes a file larger fail, as one does that exceeds a quota."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_quota_that_is_used_up_is_named_and_nothing_is_lost(journal, path):
    note(journal, "1", "2")
    journal.intend(["1"])
    with no_growth(), pytest.raises(NotRecordedError, match="is your quota there used up"):
        journal.intend(["2"])
    journal.check()
    journal.intend(["2"])
    with later(path) as found:
        assert [entry.key for entry in found.entries()] == ["1", "2"]


def test_failed_write_is_reported_and_retried(journal, path):
    note(journal, "1", "2")
    journal.intend(["1"])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        journal._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(OutcomeUnknownError, match="cannot be written"):
            journal.intend(["2"])
        with pytest.raises(OutcomeUnknownError):
            journal.submitted({"1": "3.0"})
        other.execute("ROLLBACK")
    journal.intend(["2"])
    assert {e.key: e.job_id for e in journal.entries()} == {"1": "3.0", "2": ""}


def test_damaged_journal_is_one_clear_error(path):
    path.with_name("lease").touch()
    path.write_bytes(b"SQLite format 3\0" + b"nonsense" * 200)
    with pytest.raises(InputError, match=r"is damaged.*osgpilot cleanup"):
        Journal(path)


def test_damaged_pages_are_detected(path):
    with closing(Journal(path, SEAT)) as journal:
        note(journal, *(f"{n:06}" for n in range(500)))
        journal.intend([f"{n:06}" for n in range(500)])
    content = bytearray(path.read_bytes())
    content[5 * 4096 : 6 * 4096] = b"x" * 4096
    path.write_bytes(content)
    with later(path) as found, pytest.raises(InputError, match="is damaged"):
        found.check()


def test_missing_or_unwritable_journal_is_one_clear_error(path, tmp_path):
    with pytest.raises(MissingPrerequisiteError, match="cannot be used"):
        Journal(path)
    with pytest.raises(MissingPrerequisiteError, match="cannot be created: No such file"):
        Journal(tmp_path / "no-such-folder" / "journal.sqlite", SEAT)


def test_older_journal_is_migrated(path, monkeypatch):
    with closing(Journal(path, SEAT)) as journal:
        note(journal, "1")
        journal.intend(["1"])
    more = (*schema.MIGRATIONS, "ALTER TABLE jobs ADD COLUMN note TEXT NOT NULL DEFAULT 'old'")
    monkeypatch.setattr(schema, "MIGRATIONS", more)
    with later(path) as found:
        assert found._read("SELECT note FROM jobs") == [("old",)]
        assert found._read("PRAGMA user_version") == [(len(more),)]


def test_failed_migration_changes_nothing(path, monkeypatch):
    Journal(path, SEAT).close()
    right = schema.MIGRATIONS
    half = "ALTER TABLE jobs ADD COLUMN note TEXT; SELECT nonsense FROM nowhere"
    monkeypatch.setattr(schema, "MIGRATIONS", (*right, half))
    with pytest.raises(MissingPrerequisiteError):
        Journal(path)
    monkeypatch.setattr(schema, "MIGRATIONS", right)
    with later(path) as found:
        assert found._read("PRAGMA user_version") == [(len(right),)]
        assert "note" not in {row[1] for row in found._read("PRAGMA table_info(jobs)")}


def test_newer_journal_is_refused(path):
    Journal(path, SEAT).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    with pytest.raises(InputError, match="newer version"):
        Journal(path)
