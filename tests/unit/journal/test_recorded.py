"""A run that an earlier version wrote (schema 4 of the journal) and left interrupted."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.cli.main import main
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Past
from snakemake_executor_plugin_osgpilot.journal.location import Place
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, LEASE
from snakemake_executor_plugin_osgpilot.journal.schema import MIGRATIONS
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, PilotState, Shape
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY
from snakemake_executor_plugin_osgpilot.run.resume import restore_jobs, take

RECORDED = Path(__file__).with_name("recorded")
RUN, PILOT = "20261129-120000-0a1b2c", "osgpilot-20261129-120000-0a1b2c-1"
SEAT = RunIdentity("alice", "MyProject", RUN)
CLASS = JobClass(Shape(2, 1000, 500, 0), 600, ("compute/4c",))
BEGUN_S = 1_795_953_600.0


@pytest.fixture
def workdir(tmp_path):
    """Return a working folder with the recorded run, whose lease ran out."""
    folder = tmp_path / ".snakemake" / "osgpilot" / RUN
    folder.mkdir(parents=True)
    with closing(sqlite3.connect(folder / JOURNAL)) as db:
        db.executescript((RECORDED / "journal.sql").read_text())
    shutil.copy(RECORDED / HISTORY, folder)
    (folder / LEASE).touch()
    os.utime(folder / LEASE, (BEGUN_S, BEGUN_S))
    return tmp_path


@pytest.fixture
def journal(workdir):
    return workdir / ".snakemake" / "osgpilot" / RUN / JOURNAL


def version(journal):
    with closing(sqlite3.connect(journal)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def test_recorded_journal_is_migrated_and_keeps_every_row(journal):
    assert version(journal) == 4 < len(MIGRATIONS)
    with closing(Journal(journal)) as opened:
        opened.check()
        assert (opened.seat, opened.place) == (SEAT, Place(host="login1"))
        assert (opened.holder.host, opened.holder.pid) == ("login1", 4711)
        assert opened.entries() == [
            Entry("000003", "identity-000003", "digest-000003", "map", CLASS, "7.2"),
            Entry("000004", "identity-000004", "digest-000004", "merge", CLASS),
        ]
        start_s = BEGUN_S + 100
        assert opened.past() == [
            Past("map", CLASS, True, 90, start_s, start_s + 90, PILOT, "101", "identity-000001"),
            Past("map", CLASS, False, 30, start_s, start_s + 30, PILOT, "101", "identity-000002"),
        ]
        (pilot,) = opened.pilots()
        assert (pilot.state, pilot.allocation_id) == (PilotState.READY, "101")
    assert version(journal) == len(MIGRATIONS)


def test_recorded_run_is_resumed_with_its_jobs(workdir):
    taken = take(workdir / ".snakemake", SEAT)
    assert (taken.resumed, taken.seat) == (True, SEAT)
    with closing(taken.journal):
        queue = JobManager(FakeAccessPoint(), Shape(4, 3800), journal=taken.journal)
        left = restore_jobs(taken, FakeAccessPoint(), queue)
    assert left.gone.keys() == {"identity-000003", "identity-000004"}, "the queue removed them"
    assert [past.succeeded for past in left.past] == [True, False]


def test_journal_of_newer_schema_is_refused_in_one_line(workdir, journal):
    with closing(sqlite3.connect(journal)) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    before = journal.read_bytes()
    with pytest.raises(InputError, match="was written by a newer version of osgpilot") as refused:
        take(workdir / ".snakemake", SEAT)
    assert str(journal) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert journal.read_bytes() == before


def test_status_shows_recorded_history(workdir):
    shown = CliRunner().invoke(main, ["status", "--json", "--dir", str(workdir)])
    assert shown.exit_code == 4, "the run was interrupted"
    view = json.loads(shown.stdout)
    assert (view["run"], view["project"]) == (RUN, "MyProject")
    counts = {
        name: tuple(rule[state] for state in ("jobs", "done", "failed", "waiting"))
        for name, rule in view["rules"].items()
    }
    assert counts == {"map": (3, 1, 1, 0), "merge": (1, 0, 0, 1)}
    assert [(p["name"], p["allocation"], p["node"]) for p in view["pilots"]] == [
        (PILOT, "101", "n1")
    ]
    assert [failure["text"] for failure in view["failures"]] == [
        "exit status 1 in Slurm job 101 on n1"
    ]
    assert [decision["text"] for decision in view["decisions"]] == ["launch 1 pilot: 3 job(s) wait"]


def test_report_draws_recorded_history(workdir):
    page = workdir / "page.html"
    done = CliRunner().invoke(main, ["report", "--dir", str(workdir), "--out", str(page)])
    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert all(part in text for part in (RUN, "merge", "exit status 1 in Slurm job 101 on n1"))


def test_recorded_journal_is_not_touched_by_status_and_report(workdir, journal):
    before = journal.read_bytes()
    for command in (["status"], ["report", "--out", str(workdir / "page.html")]):
        CliRunner().invoke(main, [*command, "--dir", str(workdir)])
    assert journal.read_bytes() == before
