"""A session continues with the jobs of the previous one."""

from dataclasses import replace

import pytest
from queued import BIG, NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import SharedFile
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Leftover, Past
from snakemake_executor_plugin_osgpilot.model.job_order import Outlook, priority
from snakemake_executor_plugin_osgpilot.model.resources import Shape


def entry(key, identity="who"):
    return Entry(key, identity, "how", "map", SMALL, f"5.{key}")


def event(job_id, kind, **more):
    return job_id, Event(kind, 2000.0, **more)


RAN = (event("5.1", EventKind.SUBMIT, key="1"), event("5.1", EventKind.EXECUTE, pilot="p1"))


def test_restored_jobs_have_their_state_from_the_log(queue):
    queue.restore(Leftover({"a": entry("1", "a"), "b": entry("2", "b")}), RAN)
    view = queue.view()
    assert (view.waiting, [j.key for j in view.executing]) == ({SMALL: 1}, ["1"])
    assert queue.served_s() == {"p1": 2000.0}
    assert queue.notices() == []


def test_restored_job_starting_on_an_ended_pilot_is_resubmitted(queue, ap):
    matched = event("5.1", EventKind.MATCHED, pilot="p1")
    queue.restore(Leftover({"a": entry("1", "a")}), (*RAN[:1], matched))
    assert queue.served_s() == {}
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.repair(2120.0)
    assert ap.removed == ["5.1"]


def test_restored_jobs_get_current_pause_and_spread_settings(queue, ap):
    """The previous session may have ended while starts were suspended."""
    ap.paused = True
    queue.restore(Leftover({"a": entry("1", "a")}), RAN[:1])
    for _ in range(2):
        queue.repair(NOW_S)
    assert not ap.paused
    assert ap.apart == [False]
    assert queue.notices() == []


def test_restored_job_that_ended_is_reported_when_adopted(queue):
    done = event("5.1", EventKind.TERMINATED, exit_status=0)
    queue.restore(Leftover({"a": entry("1", "a")}), (*RAN, done))
    queue.over()
    queue.claim([job("1", image="i")])
    assert [(j.key, j.exit_status, j.request.container_image) for j in queue.over().values()] == [
        ("1", 0, "i")
    ]


def test_a_restored_job_that_runs_again_has_all_that_it_was_prepared_with(queue, ap):
    queue.restore(Leftover({"a": entry("1", "a")}), RAN)
    genome, url = SharedFile("genome", 1 << 30), "https://h/a"
    queue.claim(
        [replace(job("1"), urls=(url,), shared=(genome,), outlook=Outlook(rule_priority=7))]
    )
    queue.pilot_ended("p1", 2100.0, vanished=True)
    for _ in range(2):
        queue.repair(2120.0)
    assert queue.send() == 1
    (again,) = ap.submissions
    assert again.urls == {"1": (url,)}
    assert again.shared == {"1": (genome,)}
    assert again.priorities["1"] > priority(SMALL.shape, Shape(4, 3800))


def test_changed_job_is_submitted_after_the_old_one_left(queue, ap):
    queue.restore(Leftover({"a": entry("1", "a")}), RAN)
    queue.claim([], [(job("2"), "1")])
    assert queue.send() == 0
    ap.remove_fails = OutcomeUnknownError("away")
    with pytest.raises(OutcomeUnknownError):
        queue.repair(NOW_S)
    assert queue.send() == 0
    queue.repair(NOW_S)
    assert ap.removed == ["5.1"]
    assert queue.send() == 1
    assert [s.keys for s in ap.submissions] == [("2",)]
    assert queue.view().executing == ()


def test_changed_job_that_was_held_is_replaced(queue, ap):
    held = event("5.1", EventKind.HELD, code=1, text="by the user")
    queue.restore(Leftover({"a": entry("1", "a")}), (*RAN, held))
    queue.claim([], [(job("2"), "1")])
    queue.repair(NOW_S)
    queue.send()
    assert "5.1" in ap.removed
    assert [s.keys for s in ap.submissions] == [("2",)]
    assert queue.over().keys() <= {"1"}


def test_orphans_are_removed_and_count_until_then(queue, ap):
    queue.restore(Leftover({}, ("9.0",)), ())
    assert queue.any_left()
    queue.repair(NOW_S)
    assert ap.removed == ["9.0"]
    assert not queue.any_left()


def test_last_submission_of_a_killed_session_is_an_orphan(queue, ap):
    queue.restore(Leftover({"a": entry("1", "a")}), RAN)
    queue.add([job("3")])
    ap.unread += [
        event("8.0", EventKind.SUBMIT, key="2"),
        event("9.0", EventKind.SUBMIT, key="3"),
    ]
    queue.follow()
    queue.repair(NOW_S)
    assert ap.removed == ["8.0"]


class QueueFullError:
    """A journal on a full disk."""

    def __init__(self):
        self.full, self.intended, self.ids = True, [], {}

    def intend(self, keys):
        if self.full:
            raise OutcomeUnknownError("the journal cannot be written: disk full")
        self.intended += keys

    def submitted(self, ids):
        self.ids |= ids


def test_job_that_cannot_be_journaled_is_not_submitted_or_lost(ap):
    journal = QueueFullError()
    queue = JobManager(ap, Shape(4, 3800), journal=journal)
    queue.add([job("a"), job("b")])
    with pytest.raises(OutcomeUnknownError, match="disk full"):
        queue.send()
    assert ap.submissions == []
    journal.full = False
    assert queue.send() == 2
    assert journal.intended == ["a", "b"]
    assert journal.ids == ap.queued


def test_jobs_of_previous_sessions_count_in_the_sums(ap):
    whole = JobManager(ap, Shape(4, 3800))
    whole.add([job("a"), job("b"), job("c", BIG)])
    whole.send()
    ids = dict(ap.queued)
    for n, key in enumerate("abc"):
        place = {"pilot": f"p{n}", "allocation_id": str(n)}
        ap.tell(key, EventKind.SUBMIT, 90.0 + n)
        ap.tell(key, EventKind.EXECUTE, 100.0 + n, **place)
        ap.tell(key, EventKind.TERMINATED, 110.0 + 2 * n, exit_status=n % 2)
    events = list(ap.unread)
    whole.follow()

    past = tuple(Past.of(each) for each in whole.jobs("ab"))
    rest = Entry("c", "c", "", "map", BIG, ids["c"])
    resumed = JobManager(ap, Shape(4, 3800))
    resumed.restore(Leftover({"c": rest}, past=past), events)
    assert resumed.rules() == whole.rules()
    assert resumed.rules()["map"].jobs == 3
    assert resumed.served_s() == whole.served_s()
    assert resumed.span_s() == whole.span_s() == (90.0, 114.0)
