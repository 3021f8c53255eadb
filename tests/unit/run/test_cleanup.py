"""`osgpilot cleanup` with unreadable journals, and with runs that cannot be removed."""

import json
import os
from contextlib import closing
from dataclasses import replace
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.cli.cleanup import cleanup
from snakemake_executor_plugin_osgpilot.errors import OsgpilotError, OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.journal.location import Place, SiteLocation, SlurmHost
from snakemake_executor_plugin_osgpilot.journal.process import this_process
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, RunFolder
from snakemake_executor_plugin_osgpilot.journal.schema import MIGRATIONS
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.run import endpoints
from snakemake_executor_plugin_osgpilot.run.resume import take


class SharedQueue(FakeAccessPoint):
    """An access point with jobs of several runs."""

    def __init__(self, runs, resisting):
        super().__init__()
        self.runs, self.resisting = runs, resisting

    def folders_of_jobs(self):
        return [(run, folder / "jobs" / "000001") for run, folder in self.runs.items()]

    def close(self):
        pass


class FakeEndpoints:
    """Stands for the one access point and the one Slurm of this host."""

    reached_all = True

    def __init__(self, owner):
        self.users, self.slurms, self.hosts = {("", ""): "alice"}, {}, {}
        self.slurms[SlurmHost()] = self

    def reach(self, place):
        pass

    def folders(self):
        return []

    def access_point(self, queue, run):
        if run in self.resisting:
            raise OutcomeUnknownError("the access point is away")
        return SharedQueue(self.jobs, self.resisting)

    def close(self):
        pass


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(endpoints, "Endpoints", FakeEndpoints)
    monkeypatch.setattr(FakeEndpoints, "jobs", {}, raising=False)
    monkeypatch.setattr(FakeEndpoints, "resisting", set(), raising=False)
    return tmp_path


def dead(folder, project):
    """Leave a run as a process that ended at once would; return its folder."""
    taken = take(folder / ".snakemake", RunIdentity("alice", project, "any"))
    taken.journal.hold(replace(this_process(), started="1"))
    taken.journal.close()
    (taken.folder.path / "jobs" / "000001").mkdir()
    return taken.folder.path


def called(folder, *options):
    done = CliRunner().invoke(cleanup, ["--dir", str(folder), "--yes", *options])
    assert done.exception is None or isinstance(done.exception, OsgpilotError | SystemExit)
    return done


def fates(folder):
    done = CliRunner().invoke(cleanup, ["--dir", str(folder), "--json"])
    assert done.exit_code == 0, done.exception
    reported = json.loads(done.stdout)
    return {each["run"]: (each["fate"], each["may_go"], each["why"]) for each in reported}


def unreadable(run):
    (run / JOURNAL).chmod(0)


def a_folder(run):
    (run / JOURNAL).unlink()
    (run / JOURNAL).mkdir()


def newer(run):
    with closing(Journal(run / JOURNAL)) as journal:
        journal._db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")


def sealed(run):
    run.chmod(0)


def test_a_place_that_was_skipped_is_not_reported_as_clean(folder, monkeypatch):
    assert called(folder).output == "nothing is left of any run\n"
    monkeypatch.setattr(FakeEndpoints, "reached_all", False)
    assert "where osgpilot could look" in called(folder).output


def test_an_endpoint_that_does_not_answer_counts_as_skipped(monkeypatch):
    def silent(*_):
        raise OutcomeUnknownError("no answer")

    monkeypatch.setattr(endpoints, "access_point_of", silent)
    monkeypatch.setattr(endpoints, "slurm_of", silent)
    places = endpoints.Endpoints("alice")
    assert places.reached_all
    places.reach(Place())
    assert not places.reached_all


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (unreadable, "cannot be used: unable to open database file; make it readable"),
        (a_folder, "cannot be used: unable to open database file; make it readable"),
        (newer, "was written by a newer version of osgpilot"),
        (sealed, "Permission denied"),
    ],
)
def test_unreadable_journal_is_reported_and_kept(folder, broken, why):
    bad, good = dead(folder, "Bad"), dead(folder, "Good")
    broken(bad)
    if broken in (unreadable, sealed) and os.access(bad / JOURNAL, os.R_OK):
        pytest.skip("root reads everything")
    reported = fates(folder)
    assert reported[bad.name][:2] == ("unknown", False)
    assert why in reported[bad.name][2]
    assert reported[good.name] == ("interrupted", True, "")
    done = called(folder)
    assert "removed what 1 run left behind" in done.output
    assert f"run {bad.name}: " in done.output
    assert why in done.output
    assert not (good / "jobs").exists()
    bad.chmod(0o700)
    assert (bad / "jobs" / "000001").exists()


def test_run_with_damaged_journal_is_removed(folder):
    bad = dead(folder, "Bad")
    (bad / JOURNAL).write_bytes(b"x" * 5000)
    (bad / "lease").unlink()
    assert fates(folder)[bad.name][:2] == ("interrupted", True)
    assert "removed what 1 run left behind" in called(folder).output
    assert not (bad / JOURNAL).exists()
    assert fates(folder) == {}


def test_run_never_begun_is_removed_with_its_folder(folder):
    state = folder / ".snakemake"
    for number, content in enumerate((None, b"")):
        run = RunFolder.create(state, f"20261122-10101{number}-abc123").path
        if content is not None:
            (run / JOURNAL).write_bytes(content)
    # a name that only looks similar is none of ours
    (state / "osgpilot" / "results").mkdir()
    assert {reported[:2] for reported in fates(folder).values()} == {("was never begun", True)}
    assert "removed what 2 runs left behind" in called(folder).output
    assert [path.name for path in (state / "osgpilot").iterdir() if path.is_dir()] == ["results"]


def test_failed_removal_does_not_block_other_runs(folder):
    bad, good = dead(folder, "Bad"), dead(folder, "Good")
    FakeEndpoints.resisting.add(bad.name)
    FakeEndpoints.jobs[bad.name] = bad
    done = called(folder)
    assert "removed what 1 run left behind" in done.output
    assert str(done.exception) == f"run {bad.name}: the access point is away"
    assert (bad / "jobs").exists()
    assert not (good / "jobs").exists()


def test_each_folder_of_pilots_on_a_host_is_removed(folder, monkeypatch):
    run, far = dead(folder, "Two"), SlurmHost("far")
    places = [f"/scratch/{name}/{run.name}" for name in "ab"]
    sites = [SiteLocation(place, "far", folder=place) for place in places]
    with closing(Journal(run / JOURNAL)) as journal:
        journal.set_place(Place(site="a", ssh="far", folder=places[0], others=(sites[1],)))
    ran = []
    host = SimpleNamespace(run=ran.append)

    class Behind(FakeEndpoints):
        def __init__(self, owner):
            super().__init__(owner)
            self.hosts[far], self.slurms[far] = host, self

    monkeypatch.setattr(endpoints, "Endpoints", Behind)
    assert "removed what 1 run left behind" in called(folder).output
    assert ran == [["rm", "-rf", place] for place in places]


def test_process_cannot_continue_a_removed_run(folder):
    run = dead(folder, "Slow")
    with closing(Journal(run / JOURNAL)) as frozen:
        called(folder)
        with pytest.raises(OsgpilotError, match="was taken over by another process"):
            frozen.check_held()
