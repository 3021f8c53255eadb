"""The run that a start resumes, the runs that it skips, and when it refuses to start."""

import errno
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import replace

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    MissingPrerequisiteError,
    NeverBegunError,
    OsgpilotError,
    OutcomeUnknownError,
)
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.journal.lease import lease_age_s
from snakemake_executor_plugin_osgpilot.journal.location import Place, SiteLocation
from snakemake_executor_plugin_osgpilot.journal.process import started, this_process
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL, LEASE, RunFolder, write
from snakemake_executor_plugin_osgpilot.journal.schema import MIGRATIONS
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import PilotSharing, RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.run.leftovers import RunStatus, place_of, status_of
from snakemake_executor_plugin_osgpilot.run.resume import in_use, restore_jobs, take

SMALL = JobClass(Shape(1, 500))


def seat(project="P", pilot_sharing=PilotSharing.WORKFLOW):
    return RunIdentity("alice", project, "any", pilot_sharing)


def begin(folder, project="P", holder=None):
    """Leave a run as a process that ended at once would; return its folder."""
    taken = take(folder, seat(project))
    taken.journal.hold(holder)
    taken.journal.close()
    return taken.folder


def again(folder, project="P", pilot_sharing=PilotSharing.WORKFLOW):
    taken = take(folder, seat(project, pilot_sharing))
    taken.journal.close()
    return taken


def dead():
    return replace(this_process(), started="1")


def elsewhere():
    return replace(this_process(), host="login2", boot="other")


@pytest.mark.parametrize("holder", [None, dead(), replace(dead(), boot="before")])
def test_run_of_dead_process_is_resumed(tmp_path, holder):
    first = begin(tmp_path, holder=holder)
    taken = again(tmp_path)
    assert (taken.resumed, taken.folder, taken.seat.run) == (True, first, first.path.name)
    with closing(Journal(first.path / JOURNAL)) as journal:
        assert journal.holder.pid == os.getpid()


@pytest.mark.parametrize(
    ("holder", "blocks"),
    [(elsewhere(), True), (this_process(), True), (dead(), False), (None, False)],
)
def test_a_folder_is_in_use_if_a_start_would_be_refused(tmp_path, holder, blocks):
    folder = begin(tmp_path, holder=holder)
    begin(tmp_path / "other")
    before = sorted(tmp_path.rglob("*"))
    why = in_use(tmp_path)
    assert (f"another Snakemake is running in this folder: run {folder.path.name}" in why) == blocks
    assert bool(why) == blocks
    assert sorted(tmp_path.rglob("*")) == before
    assert in_use(tmp_path / "other") == ""


def test_run_with_another_scope_is_not_resumed(tmp_path):
    alone = begin(tmp_path)
    shared = again(tmp_path, pilot_sharing=PilotSharing.OWNER)
    assert (shared.resumed, shared.seat.pilot_sharing) == (False, PilotSharing.OWNER)
    assert again(tmp_path).folder == alone


def test_finished_run_is_not_resumed(tmp_path):
    first = begin(tmp_path)
    with closing(Journal(first.path / JOURNAL)) as journal:
        journal.finish()
    taken = again(tmp_path)
    assert not taken.resumed
    assert taken.folder != first


def test_live_process_on_other_host_is_named_and_blocks_start(tmp_path):
    first = begin(tmp_path, holder=elsewhere())
    with pytest.raises(
        MissingPrerequisiteError, match=rf"run {first.path.name}, process {os.getpid()} on login2"
    ):
        again(tmp_path)
    assert [path.parent.name for path in tmp_path.glob(f"osgpilot/*/{JOURNAL}")] == [
        first.path.name
    ]


def test_remote_process_with_expired_lease_is_dead(tmp_path):
    first = begin(tmp_path, holder=elsewhere())
    os.utime(first.path / LEASE, (time.time() - 3600,) * 2)
    assert again(tmp_path).resumed


def test_runs_of_one_process_do_not_conflict(tmp_path):
    taken = take(tmp_path, seat())
    other = again(tmp_path, project="Q")
    assert not other.resumed
    taken.journal.close()


def test_run_of_other_project_is_kept_and_reported(tmp_path, logged):
    first = begin(tmp_path, project="Other")
    assert not again(tmp_path).resumed
    (line,) = logged.info
    assert f"run {first.path.name} of project Other was interrupted" in line
    assert "osgpilot cleanup" in line


def test_damaged_journal_blocks_start(tmp_path):
    first = begin(tmp_path)
    (first.path / JOURNAL).write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match="is damaged"):
        again(tmp_path)


def test_failed_start_leaves_the_run_for_the_next(tmp_path):
    new = take(tmp_path, seat())
    new.release()
    assert not again(tmp_path).resumed
    first = begin(tmp_path / "second")
    take(tmp_path / "second", seat()).release()
    assert again(tmp_path / "second").folder == first


def test_jobs_are_restored_only_if_access_point_answers(tmp_path):
    class Silent(FakeAccessPoint):
        def find(self):
            raise OutcomeUnknownError("the access point is away")

    taken = take(tmp_path, seat())
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    with pytest.raises(OutcomeUnknownError):
        restore_jobs(taken, Silent(), JobManager(Silent(), Shape(4, 4000)))
    there = FakeAccessPoint()
    there.queued = {"1": "5.0", "7": "6.0"}
    there.unread = [("5.0", Event(EventKind.EXECUTE, 3.0, pilot="p1"))]
    queue = JobManager(there, Shape(4, 4000))
    left = restore_jobs(taken, there, queue)
    assert (left.entries["who"].job_id, left.orphans) == ("5.0", ())
    assert there.removed == ["6.0"], "its end was recorded"
    assert queue.busy_pilots() == {"p1"}
    taken.journal.close()


def test_a_removal_that_fails_does_not_stop_a_resumed_run(tmp_path):
    taken = take(tmp_path, seat())
    there = FakeAccessPoint()
    there.queued = {"7": "6.0"}
    there.remove_fails = OutcomeUnknownError("the access point is away")
    queue = JobManager(there, Shape(4, 4000))
    assert restore_jobs(taken, there, queue).orphans == ("6.0",), "it is removed later"
    queue.repair(0.0)
    assert there.removed == ["6.0"]
    taken.journal.close()


def test_unreported_jobs_are_looked_up_in_condor_history(tmp_path):
    taken = take(tmp_path, seat())
    for key in "123":
        taken.journal.note(Job(key, "map", Request(SMALL)), f"who{key}", "how")
    taken.journal.intend("123")
    taken.journal.submitted({"1": "5.0", "2": "5.1"})
    there = FakeAccessPoint()
    there.history = {
        "5.0": Event(EventKind.TERMINATED, 3.0, exit_status=0),
        "5.1": Event(EventKind.ABORTED, 3.0),
    }
    queue = JobManager(there, Shape(4, 4000))
    left = restore_jobs(taken, there, queue)
    assert set(left.entries) == {"who1"}, "removed and unsent jobs are resubmitted"
    assert queue.ended("1")
    there.history_fails = OutcomeUnknownError("it takes too long")
    assert restore_jobs(taken, there, JobManager(there, Shape(4, 4000))).entries == {}
    taken.journal.close()


def test_process_is_identified_by_start_time():
    assert started(os.getpid()) == this_process().started != ""
    assert started(2**22 + 1) == ""


def test_lease_age_uses_clock_of_file_server(tmp_path):
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
def test_run_is_resumed_only_where_its_jobs_and_pilots_are(tmp_path, before, now):
    taken = take(tmp_path, seat())
    taken.settle_at(before)
    taken.settle_at(now)
    assert taken.journal.place == now, "while there are none"
    taken.settle_at(before)
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    if now == before:
        taken.settle_at(now)
    else:
        with pytest.raises(InputError, match=r"was interrupted, and its .* `osgpilot cleanup`"):
            taken.settle_at(now)
        assert taken.journal.place == before
    taken.journal.close()


def test_run_is_resumed_with_all_of_its_sites_or_more(tmp_path):
    two = replace(BEHIND, site="A", others=(SiteLocation("B", "far", "", "/home/alice/y"),))
    three = replace(two, others=(*two.others, SiteLocation("C")))
    taken = take(tmp_path, seat())
    taken.settle_at(two)
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    taken.settle_at(three)
    assert taken.journal.place == three
    with pytest.raises(InputError, match="its pilots are in the Slurm of login1; resume it there"):
        taken.settle_at(two)
    taken.journal.close()


def test_folders_at_a_site_that_does_not_answer_now_stay_known(tmp_path):
    two = replace(BEHIND, site="A", others=(SiteLocation("B", "far", "", "/home/alice/y"),))
    taken = take(tmp_path, seat())
    taken.settle_at(two)
    taken.settle_at(replace(two, others=(SiteLocation("B", "far"),)))
    assert taken.journal.place == two
    taken.settle_at(replace(two, others=(SiteLocation("B", "farther"),)))
    assert taken.journal.place.others == (SiteLocation("B", "farther"),), "it is another host"
    taken.journal.close()


def test_run_of_one_site_is_not_resumed_with_several(tmp_path):
    taken = take(tmp_path, seat())
    taken.settle_at(BEHIND)
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    with pytest.raises(InputError, match="its jobs and pilots are of one site alone; resume it"):
        taken.settle_at(replace(BEHIND, others=(SiteLocation("B"),)))
    taken.journal.close()


def test_moved_run_is_resumed_only_where_its_outputs_arrive(tmp_path):
    before, now, linked = (tmp_path / name for name in ("before", "now", "linked"))
    before.mkdir()
    taken = take(before / ".snakemake", seat())
    taken.settle_at(replace(HERE, home=str(before)))
    taken.journal.note(Job("1", "map", Request(SMALL)), "who", "how")
    taken.journal.intend(["1"])
    linked.symlink_to(before)
    taken.settle_at(replace(HERE, home=str(linked)))
    taken.settle_at(replace(HERE, home=str(before)))
    taken.journal.hold(None)
    taken.journal.close()
    before.rename(now)
    taken = take(now / ".snakemake", seat())
    refused = (
        rf"was interrupted, and its jobs write their outputs to {before}; .* `osgpilot cleanup`"
    )
    with pytest.raises(InputError, match=refused):
        taken.settle_at(replace(HERE, home=str(now)))
    assert taken.journal.place == replace(HERE, home=str(before))
    before.symlink_to(now)
    taken.settle_at(replace(HERE, home=str(now)))
    assert taken.journal.place == replace(HERE, home=str(now))
    taken.journal.close()


def test_unwritable_folder_is_named_with_a_fix(tmp_path):
    (tmp_path / "osgpilot").touch()
    with pytest.raises(
        MissingPrerequisiteError, match=r"osgpilot: .*; a run keeps its journal there, so work"
    ):
        take(tmp_path, seat())


@pytest.mark.parametrize(
    "broken", ["run.resume.RunFolder.create", "journal.start_lock.fcntl.lockf"]
)
def test_file_system_error_during_start_is_named(tmp_path, monkeypatch, broken):
    def refuse(*arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(f"snakemake_executor_plugin_osgpilot.{broken}", refuse)
    with pytest.raises(
        MissingPrerequisiteError, match=f"^{tmp_path}.*: Read-only file system; a run keeps"
    ):
        take(tmp_path, seat())
    monkeypatch.undo()
    assert not take(tmp_path, seat()).resumed


@pytest.mark.parametrize("umask", [0o022, 0o000])
def test_run_folder_is_private(tmp_path, umask):
    before = os.umask(umask)
    try:
        taken = take(tmp_path / ".snakemake", seat())
        write(taken.folder, {})
    finally:
        os.umask(before)
        taken.journal.close()
    state = tmp_path / ".snakemake" / "osgpilot"
    modes = {path: path.stat().st_mode & 0o777 for path in (state, *state.rglob("*"))}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert {mode for path, mode in modes.items() if not path.is_dir()} == {0o600}


FULL_AT_BYTES = (0, 1, 511, 512, 1024, 4096, 4097, 8192, 12288, 20480, 28672, 36864)


def killed_or_full(folder, limit, *, kill):
    """Start a run where no file can be longer than `limit`: an error, or the end, at that byte."""
    child = os.fork()
    if not child:
        status = 3
        with suppress(OsgpilotError):
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL if kill else signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            take(folder, seat())
            status = 0
        os._exit(status)
    return os.waitpid(child, 0)[1]


@pytest.mark.parametrize("kill", [True, False])
def test_start_works_wherever_the_previous_was_interrupted(tmp_path, kill):
    ends = Counter()
    for limit in FULL_AT_BYTES:
        folder = tmp_path / str(limit)
        ends[killed_or_full(folder, limit, kill=kill)] += 1
        taken = again(folder)
        assert taken.folder.path.is_dir()
        runs = {path.name for path in (folder / "osgpilot").iterdir() if path.is_dir()}
        fates = {
            run: status_of(RunFolder(folder / "osgpilot" / run), is_here=False) for run in runs
        }
        assert fates.pop(taken.folder.path.name) == (RunStatus.ALIVE, "")
        assert set(fates.values()) <= {(RunStatus.NEVER_BEGUN, "")}
        assert kill or not fates, "a start that sees the trouble leaves nothing"
    assert ends[0], "one start succeeded"
    assert len(ends) == 2, f"the others were interrupted in one way: {ends}"


def empty(path):
    path.write_bytes(b"")


def without_a_row(path):
    with closing(sqlite3.connect(path)) as db:
        for number, script in enumerate(MIGRATIONS, 1):
            db.executescript(f"{script}; PRAGMA user_version = {number}")


def older_without_a_row(path):
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{MIGRATIONS[0]}; PRAGMA user_version = 1")


def with_a_hot_journal(path):
    """Leave the file of a first transaction that was killed while it wrote."""
    child = os.fork()
    if not child:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA cache_size = 1")
        db.execute("PRAGMA cache_spill = 1")
        db.execute("BEGIN IMMEDIATE")
        db.execute("CREATE TABLE run (text)")
        db.execute("INSERT INTO run SELECT hex(randomblob(9000)) FROM (VALUES (1), (2), (3), (4))")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert path.with_name(f"{JOURNAL}-journal").exists()


def zeros(path):
    path.write_bytes(bytes(4096))


def half(path):
    with closing(Journal(path.with_name("whole"), seat())):
        path.write_bytes(path.with_name("whole").read_bytes()[:5000])
    path.with_name("whole").unlink()


def not_renamed(path):
    without_a_row(path.with_name(f"{JOURNAL}.new"))


@pytest.mark.parametrize(
    "broken",
    [empty, zeros, half, without_a_row, older_without_a_row, with_a_hot_journal, not_renamed],
)
def test_run_never_begun_is_skipped(tmp_path, broken):
    folder = RunFolder.create(tmp_path, "20261122-101010-abc123")
    broken(folder.path / JOURNAL)
    assert status_of(folder, is_here=False) == (RunStatus.NEVER_BEGUN, "")
    assert place_of(folder) is None
    taken = again(tmp_path)
    assert not taken.resumed
    if broken is not not_renamed:
        with pytest.raises(NeverBegunError, match=r"was never begun.*osgpilot cleanup"):
            Journal(folder.path / JOURNAL)


@pytest.mark.parametrize("trace", ["jobs/000001", "pilots/osgpilot-1-1", "jobs.log", LEASE])
def test_empty_journal_of_a_begun_run_is_damage(tmp_path, trace):
    folder = begin(tmp_path)
    (folder.path / JOURNAL).write_bytes(b"")
    (folder.path / LEASE).unlink()
    (folder.path / trace).touch()
    with pytest.raises(InputError, match="is damaged"):
        again(tmp_path)


def test_concurrent_lease_checks_do_not_conflict(tmp_path):
    folder = RunFolder(tmp_path)
    (tmp_path / LEASE).touch()
    with ThreadPoolExecutor(8) as many:
        ages = list(many.map(lambda _: lease_age_s(folder), range(4000)))
    assert all(age is not None and age < 600 for age in ages)
    assert [path.name for path in tmp_path.iterdir()] == [LEASE]


@pytest.mark.parametrize("broken", ["probe", "lease"])
def test_lease_of_unknown_age_counts_as_alive(tmp_path, monkeypatch, broken):
    first = begin(tmp_path, holder=elsewhere())

    def fail(*arguments, **named):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    if broken == "lease":
        (first.path / LEASE).unlink()
        (first.path / LEASE).symlink_to(LEASE)
    else:
        at = "snakemake_executor_plugin_osgpilot.journal.lease"
        monkeypatch.setattr(f"{at}.tempfile.NamedTemporaryFile", fail)
    assert lease_age_s(first) is None
    with pytest.raises(
        MissingPrerequisiteError, match=r"on login2.*age of its lease .* cannot be read"
    ):
        again(tmp_path)


def test_start_lock_is_private(tmp_path):
    lock = tmp_path / "osgpilot" / "starting"
    lock.parent.mkdir()
    lock.touch(0o644)
    again(tmp_path)
    assert lock.stat().st_mode & 0o777 == 0o600
    lock.unlink()
    again(tmp_path)
    assert lock.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def locked(tmp_path):
    """Have another process hold the start lock; return its PID."""
    (tmp_path / "osgpilot").mkdir()
    hold = (
        "import fcntl, sys; lock = open(sys.argv[1], 'w'); fcntl.lockf(lock, fcntl.LOCK_EX); "
        "print('has it', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", hold, str(tmp_path / "osgpilot" / "starting")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"has it\n"
        yield process


def test_start_names_lock_holder_and_continues_afterwards(tmp_path, locked, logged):
    logged.addFilter(lambda record: locked.kill() or True)
    take(tmp_path, seat()).journal.close()
    (line,) = logged.info
    assert f"waiting for process {locked.pid} (python" in line


def test_start_gives_up_on_lock_with_one_line(tmp_path, locked, monkeypatch):
    at = "snakemake_executor_plugin_osgpilot.journal.start_lock"
    monkeypatch.setattr(f"{at}.GIVE_UP_AFTER_S", 0.2)
    with pytest.raises(
        MissingPrerequisiteError, match=rf"starting has been locked for .* {locked.pid} .*: end"
    ):
        take(tmp_path, seat())


def test_symlink_as_lock_is_not_followed(tmp_path):
    (tmp_path / "osgpilot").mkdir()
    victim = tmp_path / "precious"
    victim.write_text("text")
    (tmp_path / "osgpilot" / "starting").symlink_to(victim)
    with pytest.raises(
        MissingPrerequisiteError, match="starting: Too many levels of symbolic links"
    ):
        take(tmp_path, seat())
    assert victim.read_text() == "text"


def test_concurrent_starts_create_one_run(tmp_path):
    # each in a process of its own: what one has taken, another sees alive
    children = []
    go, wait = os.pipe()
    for _ in range(6):
        child = os.fork()
        if not child:
            os.close(wait)
            os.read(go, 1)
            try:
                take(tmp_path, seat())
            except MissingPrerequisiteError as error:
                os._exit(1 if "another Snakemake is running in this folder" in str(error) else 2)
            # whoever has the run stays until all have looked
            os.read(go, 1)
            os._exit(0)
        children.append(child)
    for _ in children:
        os.write(wait, b"x")
    statuses = [os.waitpid(-1, 0)[1] for _ in children[1:]]
    os.write(wait, b"x")
    statuses.append(os.waitpid(-1, 0)[1])
    assert sorted(statuses) == [0] + [256] * 5
    assert len(list(tmp_path.glob(f"osgpilot/*/{JOURNAL}"))) == 1


def test_start_that_lost_the_run_releases_nothing(tmp_path):
    taken = take(tmp_path, seat())
    with closing(Journal(taken.folder.path / JOURNAL)) as other:
        other.hold(theirs := elsewhere())
        taken.release()
        assert other.holder == theirs
        assert not other.is_finished
