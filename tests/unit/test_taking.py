"""Which run a start goes on with, which it leaves alone, and when it refuses to start."""

import errno
import os
import time
from contextlib import closing
from dataclasses import replace

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.core.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.core.jobs import Job
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.core.remains import (
    Place,
)
from snakemake_executor_plugin_osgpilot.errors import BadInput, Unanswered, Unavailable
from snakemake_executor_plugin_osgpilot.journal.process import started, this_process
from snakemake_executor_plugin_osgpilot.journal.resume import STARTING, lease_age_s, recall, take
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.ports import Scope, Seat
from snakemake_executor_plugin_osgpilot.queue import Queue
from snakemake_executor_plugin_osgpilot.run import JOURNAL, LEASE, RunFolder, write

SMALL = JobClass(Shape(1, 500))


def seat(project="P", scope=Scope.WORKFLOW):
    return Seat("alice", project, "any", scope)


def begin(folder, project="P", holder=None):
    """Leave a run as a process that ended at once would; return its folder."""
    taken = take(folder, seat(project), print)
    taken.journal.hold(holder)
    taken.journal.close()
    return taken.folder


def again(folder, project="P", said=None, scope=Scope.WORKFLOW):
    taken = take(folder, seat(project, scope), (said if said is not None else []).append)
    taken.journal.close()
    return taken


def dead():
    return replace(this_process(), started="1")


def elsewhere():
    return replace(this_process(), host="login2", boot="other")


@pytest.mark.parametrize("holder", [None, dead(), replace(dead(), boot="before")])
def test_a_run_whose_process_is_gone_is_taken_up(tmp_path, holder):
    first = begin(tmp_path, holder=holder)
    taken = again(tmp_path)
    assert (taken.resumed, taken.folder, taken.seat.run) == (True, first, first.path.name)
    with closing(Journal(first.path / JOURNAL)) as journal:
        assert journal.holder.pid == os.getpid()


def test_a_run_whose_pilots_others_may_use_is_told_from_one_whose_pilots_are_ours_alone(tmp_path):
    alone = begin(tmp_path)
    shared = again(tmp_path, scope=Scope.OWNER)
    assert (shared.resumed, shared.seat.scope) == (False, Scope.OWNER)
    assert again(tmp_path).folder == alone


def test_a_run_that_came_to_its_end_is_left_alone(tmp_path):
    first = begin(tmp_path)
    with closing(Journal(first.path / JOURNAL)) as journal:
        journal.finish()
    taken = again(tmp_path)
    assert not taken.resumed
    assert taken.folder != first


def test_a_live_process_elsewhere_is_named_and_nothing_is_begun(tmp_path):
    first = begin(tmp_path, holder=elsewhere())
    with pytest.raises(
        Unavailable, match=rf"run {first.path.name}, process {os.getpid()} on login2"
    ):
        again(tmp_path)
    assert [path.parent.name for path in tmp_path.glob(f"osgpilot/*/{JOURNAL}")] == [
        first.path.name
    ]


def test_a_process_elsewhere_that_is_not_heard_of_any_more_is_taken_for_dead(tmp_path):
    first = begin(tmp_path, holder=elsewhere())
    os.utime(first.path / LEASE, (time.time() - 3600,) * 2)
    assert again(tmp_path).resumed


def test_runs_of_this_process_do_not_get_in_each_others_way(tmp_path):
    taken = take(tmp_path, seat(), print)
    other = again(tmp_path, project="Q")
    assert not other.resumed
    taken.journal.close()


def test_a_run_of_another_project_is_left_alone_and_said(tmp_path):
    first = begin(tmp_path, project="Other")
    said = []
    assert not again(tmp_path, said=said).resumed
    (line,) = said
    assert f"run {first.path.name} of project Other was cut short" in line
    assert "osgpilot reap" in line


def test_a_damaged_journal_stops_the_start(tmp_path):
    first = begin(tmp_path)
    (first.path / JOURNAL).write_bytes(b"x" * 5000)
    with pytest.raises(BadInput, match="is damaged"):
        again(tmp_path)


def test_a_start_that_fails_leaves_the_run_for_the_next(tmp_path):
    new = take(tmp_path, seat(), print)
    new.give_back()
    assert not again(tmp_path).resumed
    first = begin(tmp_path / "second")
    take(tmp_path / "second", seat(), print).give_back()
    assert again(tmp_path / "second").folder == first


def test_jobs_are_recalled_only_if_the_access_point_answers(tmp_path):
    class Silent(FakeAccessPoint):
        def find(self):
            raise Unanswered("the access point is away")

    taken = take(tmp_path, seat(), print)
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    with pytest.raises(Unanswered):
        recall(taken, Silent(), Queue(Silent(), Shape(4, 4000)))
    there = FakeAccessPoint()
    there.queued = {"1": "5.0", "7": "6.0"}
    there.told = [("5.0", Event(EventKind.EXECUTE, 3.0, pilot="p1"))]
    queue = Queue(there, Shape(4, 4000))
    left = recall(taken, there, queue)
    assert (left.entries["who"].job_id, left.strays) == ("5.0", ("6.0",))
    assert queue.busy_pilots() == {"p1"}
    taken.journal.close()


def test_jobs_that_ended_unheard_are_asked_for_in_the_history(tmp_path):
    taken = take(tmp_path, seat(), print)
    for key in "123":
        taken.journal.note(Job(key, "map", Request(SMALL)), f"who{key}", "how")
    taken.journal.intend("123")
    taken.journal.submitted({"1": "5.0", "2": "5.1"})
    there = FakeAccessPoint()
    there.history = {
        "5.0": Event(EventKind.TERMINATED, 3.0, exit_status=0),
        "5.1": Event(EventKind.ABORTED, 3.0),
    }
    queue = Queue(there, Shape(4, 4000))
    left = recall(taken, there, queue)
    assert set(left.entries) == {"who1"}, "what was removed or never sent is submitted anew"
    assert queue.ended("1")
    there.history_fails = Unanswered("it takes too long")
    assert recall(taken, there, Queue(there, Shape(4, 4000))).entries == {}
    taken.journal.close()


def test_a_process_is_known_by_its_start():
    assert started(os.getpid()) == this_process().started != ""
    assert started(2**22 + 1) == ""


def test_the_age_of_a_lease_is_taken_from_the_file_server(tmp_path):
    folder = RunFolder(tmp_path)
    assert lease_age_s(folder) == float("inf")
    (tmp_path / LEASE).touch()
    assert lease_age_s(folder) < 60
    os.utime(tmp_path / LEASE, (time.time() + 3600,) * 2)
    assert lease_age_s(folder) < 0
    assert [path.name for path in tmp_path.iterdir()] == [LEASE]


HERE = Place("login1")
THERE = Place("login1", "ap", "cm")
BEHIND = Place("login1", "ap", "cm", "cluster", "/home/alice/x")


@pytest.mark.parametrize("before", [HERE, THERE, BEHIND])
@pytest.mark.parametrize("now", [HERE, replace(HERE, host="login2"), THERE, BEHIND])
def test_a_run_is_gone_on_with_only_where_its_jobs_and_pilots_are(tmp_path, before, now):
    taken = take(tmp_path, seat(), print)
    taken.settle_at(before)
    taken.settle_at(now)
    assert taken.journal.place == now, "as long as there are none"
    taken.settle_at(before)
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    if now == before:
        taken.settle_at(now)
    else:
        with pytest.raises(BadInput, match=r"was cut short, and its .* `osgpilot reap`"):
            taken.settle_at(now)
        assert taken.journal.place == before
    taken.journal.close()


def test_where_nothing_can_be_written_the_place_is_named_and_what_to_do(tmp_path):
    (tmp_path / "osgpilot").touch()
    with pytest.raises(Unavailable, match=r"osgpilot: .*; a run keeps its journal there, so work"):
        take(tmp_path, seat(), print)


@pytest.mark.parametrize("broken", ["RunFolder.create", "fcntl.lockf"])
def test_a_file_system_that_refuses_on_the_way_is_named(tmp_path, monkeypatch, broken):
    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(f"snakemake_executor_plugin_osgpilot.journal.resume.{broken}", refuse)
    with pytest.raises(Unavailable, match=f"^{tmp_path}.*: Read-only file system; a run keeps"):
        take(tmp_path, seat(), print)
    monkeypatch.undo()
    assert not take(tmp_path, seat(), print).resumed


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_nobody_else_can_enter_the_folder_of_a_run_or_open_what_is_in_it(tmp_path, umask):
    before = os.umask(umask)
    try:
        taken = take(tmp_path / ".snakemake", seat(), print)
        write(taken.folder, {})
    finally:
        os.umask(before)
        taken.journal.close()
    state = tmp_path / ".snakemake" / "osgpilot"
    modes = {path: path.stat().st_mode & 0o777 for path in (state, *state.rglob("*"))}
    # nobody gets to the lock but through its folder
    del modes[state / STARTING]
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}
