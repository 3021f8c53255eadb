"""Leftovers of finished and interrupted runs, and what may be removed."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.journal.location import (
    Place,
    SiteLocation,
    SlurmHost,
    run_of,
)
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, RunFolder
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.run.leftovers import (
    Leftovers,
    RunStatus,
    is_folder_of,
    status_of,
)
from snakemake_executor_plugin_osgpilot.slurm import parse

HERE = Place("login1")
THERE = Place("login1", "ap", "cm")
BEHIND = Place("login1", "ap", "cm", "cluster", "/home/alice/x")
TWO = replace(BEHIND, others=(SiteLocation("B", "far"),))


@pytest.mark.parametrize(
    ("fate", "named", "goes"),
    [
        (RunStatus.ALIVE, True, False),
        (RunStatus.ALIVE, False, False),
        (RunStatus.DETACHED, False, False),
        (RunStatus.DETACHED, True, True),
        (RunStatus.UNSEEN, False, False),
        (RunStatus.DEAD, False, True),
        (RunStatus.GONE, False, True),
        (RunStatus.OUT_OF_REACH, True, False),
    ],
)
def test_run_that_may_be_alive_is_not_removed(fate, named, goes):
    assert Leftovers("r", "f", fate).may_go(named=named) is goes


def test_remote_places_are_the_same_from_any_host():
    assert replace(BEHIND, host="login2").differs(BEHIND) == ""
    assert "access point of login1" in replace(HERE, host="login2").differs(HERE)
    assert "Slurm of login1" in replace(THERE, host="login2").differs(THERE)
    assert "cluster b" in BEHIND.differs(replace(BEHIND, cluster="b"))


@pytest.mark.parametrize(
    ("place", "host", "queues", "slurms", "seen"),
    [
        (Place(), "login1", {("", "")}, {""}, True),
        (HERE, "login1", {("", "")}, {""}, True),
        (HERE, "login2", {("", "")}, {""}, False),
        (THERE, "login1", {("", "")}, {""}, False),
        (THERE, "login1", {("ap", "cm")}, {""}, True),
        (THERE, "login2", {("ap", "cm")}, {""}, False),
        (BEHIND, "login2", {("ap", "cm")}, {""}, False),
        (BEHIND, "login2", {("ap", "cm")}, {"cluster"}, True),
        (TWO, "login2", {("ap", "cm")}, {"cluster"}, False),
        (TWO, "login2", {("ap", "cm")}, {"cluster", "far"}, True),
    ],
)
def test_a_run_is_removed_only_if_all_of_it_can_be_seen(place, host, queues, slurms, seen):
    hosts = {SlurmHost(ssh) for ssh in slurms}
    assert place.is_visible_from(host, queues, hosts) is seen
    assert not replace(place, cluster="other").is_visible_from(host, queues, hosts)


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("/home/alice/.local/state/osgpilot/20261122-101010-abc123", True),
        ("/20261122-101010-abc123", False),
        ("/home/alice", False),
        ("20261122-101010-abc123", False),
        ("/home/../20261122-101010-abc123", False),
        ("/home/alice/20261122-101010-abc123/", False),
        ("", False),
    ],
)
def test_only_a_runs_own_folder_is_removed_from_a_cluster(path, is_one):
    assert is_folder_of("20261122-101010-abc123", path) is is_one
    assert not is_folder_of("", path)
    assert not is_folder_of("alice", path)


def test_pilots_are_identified_by_job_name():
    assert run_of("osgpilot-20261122-101010-abc123-12") == "20261122-101010-abc123"
    assert run_of("somebody-elses-job-1") == ""


def test_allocations_and_their_folders_are_read():
    folder = "/home/a b/r/pilots/osgpilot-r-1"
    fields = ("7", "osgpilot-r-1", "RUNNING", "None", "N/A", "N/A", "n1", "4", folder)
    line = "m+" + "m,".join(fields) + "m.\n"
    assert parse.folders(line, "m") == [("7", "osgpilot-r-1", Path(folder))]
    with pytest.raises(OutcomeUnknownError):
        parse.folders(line[:-4], "m")


def test_a_run_whose_folder_was_moved_while_it_runs_is_alive(tmp_path):
    name = "20261122-101010-abc123"
    gone = RunFolder(tmp_path / "before" / name)
    gone.path.mkdir(parents=True)
    with closing(Journal(gone.path / JOURNAL, RunIdentity("alice", "MyProject", name))):
        gone.path.parent.rename(tmp_path / "after")
        assert status_of(gone, is_here=True) == (RunStatus.ALIVE, "")
    assert status_of(gone, is_here=True) == (RunStatus.GONE, "")
