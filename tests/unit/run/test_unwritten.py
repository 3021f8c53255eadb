"""Folders of jobs are written when the queue takes the jobs, not when they are handed over."""

import errno
import os
import sqlite3
from contextlib import closing

import pytest
from doubles import FakeAccessPoint
from queued import job

from snakemake_executor_plugin_osgpilot.errors import InputError, NotRecordedError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.run.intake import Intake
from snakemake_executor_plugin_osgpilot.run.resume import take
from snakemake_executor_plugin_osgpilot.run.unwritten import UnwrittenJobs
from snakemake_executor_plugin_osgpilot.staging.job_archive import JobArchive, pack
from snakemake_executor_plugin_osgpilot.staging.payload import Payload
from snakemake_executor_plugin_osgpilot.staging.preparer import Prepared

KEYS = [f"{number:06}" for number in range(1, 11)]
LIMIT = 4


class Handed:
    """Ten jobs handed over to a queue that takes four."""

    def __init__(self, folder, packs=None):
        self.taken = take(folder, RunIdentity("alice", "P", "any"))
        self.there = FakeAccessPoint()
        self.unwritten = UnwrittenJobs(self.taken.folder, self.taken.journal)
        self.queue = JobManager(
            self.there, Shape(4, 4000), LIMIT, self.taken.journal, folders=self.unwritten
        )
        self.intake = Intake(self.queue, self.taken.journal, self.taken.folder)
        for key in KEYS:
            self.unwritten.add(job(key), (packs or {}).get(key, packed))
        self.queue.add(map(job, KEYS))

    def folders(self):
        return sorted(path.name for path in (self.taken.folder.path / "jobs").iterdir())

    def rows(self):
        with closing(sqlite3.connect(self.taken.folder.path / JOURNAL)) as db:
            return [key for (key,) in db.execute("SELECT key FROM jobs ORDER BY key")]

    def end_one(self):
        key, job_id = next(iter(self.there.queued.items()))
        del self.there.queued[key]
        self.there.unread = [(job_id, Event(EventKind.TERMINATED, 3.0, exit_status=0))]
        self.queue.follow()

    def sent_until_all_ended(self):
        sent = set()
        for _ in KEYS:
            self.queue.send()
            sent |= set(self.there.queued)
            if self.there.queued:
                self.end_one()
        return sent


def packed():
    payload = Payload(("true",), "bash", (), (), ())
    return Prepared(payload, job("1").request, JobArchive(b"records", {}))


@pytest.fixture
def handed(tmp_path):
    made = Handed(tmp_path)
    yield made
    made.taken.journal.close()


def test_only_jobs_in_the_queue_have_folders_and_rows(handed):
    assert (handed.folders(), handed.rows()) == ([], [])
    handed.queue.send()
    assert handed.folders() == handed.rows() == sorted(handed.there.queued) == KEYS[:LIMIT]
    assert handed.queue.counts()["waiting"] == len(KEYS), "scaling counts all of them"
    handed.end_one()
    handed.queue.send()
    assert handed.folders() == handed.rows() == KEYS[: LIMIT + 1]
    assert handed.there.queued.keys() == set(KEYS[1 : LIMIT + 1])


def test_a_job_that_cannot_be_packed_fails_alone(tmp_path):
    def missing():
        return pack(Payload((), "bash", ("gone",), (), ()), tmp_path, tmp_path)

    handed = Handed(tmp_path, {KEYS[1]: missing})
    handed.queue.send()
    assert set(handed.there.queued) == set(KEYS[:LIMIT]) - {KEYS[1]}
    ((key, failed),) = handed.queue.over().items()
    assert (key, "gone is not there" in failed.text) == (KEYS[1], True)
    assert KEYS[1] not in handed.folders()
    assert KEYS[1] not in handed.rows()
    with pytest.raises(InputError):
        missing()


class FailsOnce:
    """A disk that fails at the first attempt to write."""

    digest = "d"

    def __init__(self, number):
        self.number = number

    def write(self, folder):
        folder.mkdir()
        if self.number:
            number, self.number = self.number, 0
            raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
    ],
)
def test_jobs_wait_while_the_run_folder_cannot_be_written(tmp_path, number, text):
    disk = FailsOnce(number)
    payload = Payload((), "bash", (), (), ())
    handed = Handed(tmp_path, {KEYS[2]: lambda: Prepared(payload, job("1").request, disk)})
    with pytest.raises(NotRecordedError, match=text):
        handed.queue.send()
    assert not handed.there.submissions
    assert KEYS[2] not in handed.folders()
    assert handed.sent_until_all_ended() == set(KEYS)
    assert all(each.succeeded for each in handed.queue.over().values())


def test_a_job_with_an_impossible_file_name_fails(tmp_path):
    payload = Payload((), "bash", (), (), ())
    disk = FailsOnce(errno.ENAMETOOLONG)
    handed = Handed(tmp_path, {KEYS[0]: lambda: Prepared(payload, job("1").request, disk)})
    handed.queue.send()
    ((key, failed),) = handed.queue.over().items()
    assert (key, "File name too long" in failed.text) == (KEYS[0], True)
    assert len(handed.there.queued) == LIMIT - 1


def test_a_job_that_cannot_be_packed_is_not_submitted_after_the_disk_was_full(tmp_path):
    def missing():
        raise InputError("gone is not there")

    payload, disk = Payload((), "bash", (), (), ()), FailsOnce(errno.ENOSPC)
    packs = {KEYS[0]: missing, KEYS[1]: lambda: Prepared(payload, job("1").request, disk)}
    handed = Handed(tmp_path, packs)
    with pytest.raises(NotRecordedError):
        handed.queue.send()
    assert handed.sent_until_all_ended() == set(KEYS) - {KEYS[0]}
    assert not handed.queue.over()[KEYS[0]].succeeded


def test_keys_of_unwritten_jobs_are_not_used_again(tmp_path):
    handed = Handed(tmp_path)
    keys = [handed.intake.key_for(f"who-{key}", str)[0] for key in KEYS]
    handed.intake.reserve()
    handed.taken.journal.hold(None)
    handed.taken.journal.close()
    later = take(tmp_path, RunIdentity("alice", "P", "any"))
    assert later.resumed
    assert later.journal.last_key() == int(keys[-1]) == len(KEYS)
