"""Jobs on the way to the queue: adopted, new, or resubmitted with a reason."""

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from doubles import FakeAccessPoint
from queued import job

from snakemake_executor_plugin_osgpilot.errors import RunTakenOverError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import (
    CHANGED,
    INCOMPLETE,
    NOT_SUBMITTED,
    REMOVED,
    UNREPORTED,
)
from snakemake_executor_plugin_osgpilot.journal.process import this_process
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.run.intake import Intake
from snakemake_executor_plugin_osgpilot.run.resume import restore_jobs, take
from snakemake_executor_plugin_osgpilot.run.shutdown import finish
from snakemake_executor_plugin_osgpilot.run.unwritten import UnwrittenJobs
from snakemake_executor_plugin_osgpilot.staging.commit_outputs import commit
from snakemake_executor_plugin_osgpilot.staging.payload import Payload
from snakemake_executor_plugin_osgpilot.staging.returned_files import MANIFEST


@pytest.fixture
def taken(tmp_path):
    taken = take(tmp_path, RunIdentity("alice", "P", "any"))
    yield taken
    taken.journal.close()


def submit_in_an_earlier_life(taken, *keys):
    for key in keys:
        folder = taken.folder.job(key) / "osgpilot-in"
        folder.mkdir(parents=True)
        (folder / "osgpilot-job").touch()
        taken.journal.note(job(key), f"who-{key}", "how")
    taken.journal.intend(keys)


class Recorded:
    """Remembers which jobs are resubmitted, and why."""

    def __init__(self):
        self.resubmitted = {}

    def again(self, key, why):
        self.resubmitted[key] = why

    def ended(self, jobs):
        pass


def intake(taken, there):
    queue = JobManager(there, Shape(4, 4000), journal=taken.journal)
    left, recorded = restore_jobs(taken, there, queue), Recorded()
    made = Intake(queue, taken.journal, taken.folder, left, count=9, recorder=recorded)
    return made, recorded.resubmitted


class Fetching(FakeAccessPoint):
    """Writes the outputs of job 1, which ended, into what is there when it is asked for events."""

    def __init__(self, back):
        super().__init__()
        self.back, self.queued = back, {"1": "8.0"}

    def events(self):
        self.back.mkdir(exist_ok=True)
        (self.back / "out").write_text("fetched")
        return super().events()


def test_refetched_outputs_are_not_written_through_links(taken):
    submit_in_an_earlier_life(taken, "1")
    job_folder, workdir = taken.folder.job("1"), taken.folder.path / "work"
    there = Fetching(job_folder / "osgpilot-out")
    there.back.mkdir()
    (there.back / "out").write_text("whole")
    (there.back / MANIFEST).write_bytes(b"5\0out\0end\0")
    payload = Payload((), "bash", (), ("out",), ())
    commit(payload, job_folder, workdir, 0)
    intake(taken, there)
    assert (workdir / "out").read_text() == "whole"
    assert (there.back / "out").read_text() == "fetched"
    commit(payload, job_folder, workdir, 0)
    assert (workdir / "out").read_text() == "whole", "committing again changes nothing"


def test_reason_of_each_resubmission_is_logged_and_recorded(taken, logged):
    submit_in_an_earlier_life(taken, *"12345")
    (taken.folder.job("4") / "osgpilot-in" / "osgpilot-job").unlink()
    taken.journal.submitted({"2": "7.0", "3": "7.1"})
    there = FakeAccessPoint()
    there.queued = {"4": "8.0", "5": "8.1"}
    there.unread = [("7.0", Event(EventKind.ABORTED, 3.0))]
    made, noted = intake(taken, there)
    verdicts = [
        made.key_for(f"who-{n}", lambda n=n: "other" if n == 5 else "how") for n in range(1, 6)
    ]
    assert [known for _, known in verdicts] == [False] * 5
    keys = [key for key, _ in verdicts]
    reasons = (NOT_SUBMITTED, REMOVED, UNREPORTED, INCOMPLETE, CHANGED)
    assert noted == dict(zip(keys, reasons, strict=True))
    made.hand_over(job(key) for key in keys)
    assert logged.info == [f"resubmitting 1 job of the previous session: {why}" for why in reasons]
    made.hand_over([])
    assert len(logged.info) == 5, "once"


def test_adopted_and_new_jobs_are_not_logged_as_resubmitted(taken, logged):
    submit_in_an_earlier_life(taken, "1")
    there = FakeAccessPoint()
    there.queued = {"1": "8.0"}
    made, noted = intake(taken, there)
    assert made.key_for("who-1", lambda: "how") == ("1", True)
    assert made.key_for("who-new", lambda: "how") == ("000010", False)
    assert made.key_for("who-1", lambda: "how") == ("000011", False), "another attempt"
    assert (logged.texts, noted) == ([], {})


def test_outputs_of_earlier_attempt_are_removed_before_the_next(taken):
    there = FakeAccessPoint()
    seen = []
    submit = there.submit

    def submitting(submission):
        seen.append((taken.folder.job("1") / "osgpilot-out").exists())
        return submit(submission)

    there.submit = submitting
    folders = UnwrittenJobs(taken.folder, taken.journal)
    queue = JobManager(there, Shape(4, 4000), journal=taken.journal, folders=folders)
    queue.add([job("1")])
    taken.journal.note(job("1"), "who", "how")
    queue.send()
    (job_id,) = there.queued.values()
    came = taken.folder.job("1") / "osgpilot-out"
    came.mkdir(parents=True)
    (came / "half").touch()
    there.unread = [(job_id, Event(EventKind.TERMINATED, 3.0, exit_status=0))]
    queue.follow()
    assert queue.run_again("1", "it did not come back whole")
    queue.send()
    assert seen == [False, False]


def test_unwritten_settlement_is_retried(taken, logged):
    submit_in_an_earlier_life(taken, "1", "2")
    there = FakeAccessPoint()
    there.queued = {"1": "8.0", "2": "8.1"}
    made, *_ = intake(taken, there)
    made.done("1")
    with closing(sqlite3.connect(taken.folder.path / JOURNAL, isolation_level=None)) as other:
        taken.journal._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        made.settle(["2"])
        made.settle()
        assert taken.folder.job("1").is_dir()
        other.execute("ROLLBACK")
    assert len(logged.warnings) == 1, "once"
    made.settle()
    assert taken.journal.entries() == []
    assert not taken.folder.job("1").exists()
    assert taken.folder.job("2").is_dir(), "to be inspected"


def test_process_that_lost_a_run_removes_nothing(taken):
    submit_in_an_earlier_life(taken, "1")
    there = FakeAccessPoint()
    there.queued = {"1": "8.0"}
    made, *_ = intake(taken, there)
    made.done("1")
    with closing(Journal(taken.folder.path / JOURNAL)) as other:
        other.hold(replace(this_process(), pid=77))
        made.settle()
        with pytest.raises(RunTakenOverError):
            finish(taken.folder, taken.journal)
    assert taken.folder.job("1").is_dir()
