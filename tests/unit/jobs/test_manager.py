"""Jobs are submitted in batches and followed; a lost answer loses no job."""

from dataclasses import replace

import pytest
from queued import BIG, NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.errors import OutcomeUnknownError, RejectedError
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape


def test_each_request_is_one_transaction(queue, ap):
    queue.add([job(f"s{n}") for n in range(100)] + [job("b", BIG), job("c", image="i")])
    assert queue.send() == 102
    assert sorted(len(s.keys) for s in ap.submissions) == [1, 1, 100]


def test_no_transaction_exceeds_the_batch_limit(ap, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.jobs.state.submission.BATCH_MAX", 4)
    queue = JobManager(ap, Shape(4, 3800))
    queue.add([job(f"s{n}") for n in range(10)])
    assert queue.send() == 10
    assert [len(s.keys) for s in ap.submissions] == [4, 4, 2]


def test_memory_heavy_jobs_are_spread_while_light_jobs_wait(queue, ap):
    heavy = JobClass(Shape(1, 2000))
    queue.add([job("h1", heavy), job("h2", heavy), *(job(f"s{n}") for n in range(3))])
    queue.repair(NOW_S)
    queue.send()
    assert [s.apart for s in ap.submissions] == [False, False]
    queue.add([job("s3")])
    for _ in range(2):
        queue.repair(NOW_S)
    queue.send()
    assert [s.apart for s in ap.submissions] == [False, False, True]
    assert ap.apart == [True]
    for n in range(4):
        ap.tell(f"s{n}", EventKind.EXECUTE, pilot="p1")
        queue.follow()
        queue.repair(NOW_S)
        assert ap.apart == [True, False][: 1 + n // 3]


def test_largest_jobs_have_the_highest_priority(queue, ap):
    queue.add([job("h", JobClass(Shape(1, 2000))), job("s"), job("b", BIG)])
    queue.send()
    priorities = {key: value for each in ap.submissions for key, value in each.priorities.items()}
    assert sorted(priorities, key=priorities.__getitem__) == ["s", "b", "h"]


def test_added_job_counts_as_demand_at_once(queue):
    queue.add([job("a")])
    assert queue.view().waiting == {SMALL: 1}
    queue.send()
    assert queue.view().waiting == {SMALL: 1}


def test_failed_jobs_are_reported_after_they_left_the_queue(queue, ap):
    submit = ap.submit

    def meanwhile(submission):
        queue.fail_waiting([SMALL, BIG], "no pilots")
        assert not set(queue.over()) & set(submission.keys)
        return submit(submission)

    ap.submit = meanwhile
    queue.add([job("a"), job("b", BIG)])
    assert queue.send() == 1, "the other was given up before it was sent"
    (sent,) = ap.submissions[0].keys
    queue.repair(NOW_S)
    assert ap.removed == [ap.queued[sent]]
    assert set(queue.over()) == {sent}


def test_unsent_job_that_fails_is_reported(queue, ap):
    ap.room = 0
    submit = ap.submit

    def meanwhile(submission):
        queue.fail_waiting([SMALL], "no pilots")
        return submit(submission)

    ap.submit = meanwhile
    queue.add([job("a")])
    assert queue.send() == 0
    assert set(queue.over()) == {"a"}


def test_running_jobs_count_on_their_pilot(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    queue.follow()
    view = queue.view()
    assert view.waiting == {SMALL: 1}
    assert {p: [(g.job_class, g.jobs) for g in r] for p, r in view.running().items()} == {
        "p1": [(SMALL, 1)]
    }


def no_answer():
    raise OutcomeUnknownError("the access point did not answer")


def test_each_end_is_reported_once(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [job.exit_status for job in queue.over().values()] == [0]
    assert queue.over() == {}
    assert not queue.any_left()


def test_events_before_the_submit_answer_are_kept(queue, ap):
    ap.unread.append(("1.0", Event(EventKind.TERMINATED, 1.0, exit_status=0)))
    queue.follow()
    queue.add([job("a")])
    queue.send()
    assert list(queue.over()) == ["a"]


def test_rejected_batch_fails_its_jobs_with_the_reason(queue, ap):
    ap.fails = RejectedError("no such universe")
    queue.add([job("a")])
    queue.send()
    assert queue.over()["a"].text == "no such universe"


def test_batch_that_never_arrived_is_resubmitted(queue, ap):
    ap.fails = OutcomeUnknownError("no connection")
    queue.add([job("a")])
    with pytest.raises(OutcomeUnknownError):
        queue.send()
    assert queue.view().waiting == {SMALL: 1}
    assert queue.send() == 1


def test_batch_with_lost_answer_is_found_and_not_resubmitted(queue, ap):
    ap.lost_answer = True
    queue.add([job("a"), job("b")])
    with pytest.raises(OutcomeUnknownError):
        queue.send()
    assert queue.any_left()
    queue.send()
    assert len(ap.submissions) == 1
    ap.tell("b", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert list(queue.over()) == ["b"]


def test_failed_held_job_is_removed_and_reported(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, text="disk quota")
    queue.follow()
    queue.repair(NOW_S)
    assert queue.over()["a"].state is JobState.REMOVED
    assert ap.removed == ["1.0"]


def test_fail_waiting_fails_jobs_by_class(queue, ap):
    queue.add([job("a"), job("b", BIG)])
    queue.send()
    queue.fail_waiting([BIG], "too big")
    assert queue.any_left()
    queue.repair(NOW_S)
    assert [(j.key, j.text) for j in queue.over().values()] == [("b", "too big")]
    assert ap.removed == [ap.queued["b"]]
    assert queue.view().waiting == {SMALL: 1}


def test_failed_unsent_jobs_are_never_submitted(queue, ap):
    queue.add([job("a")])
    queue.fail_waiting([SMALL], "no pilots")
    assert queue.send() == 0
    assert list(queue.over()) == ["a"]


def test_lost_answer_does_not_lose_other_requests(queue, ap):
    ap.fails = OutcomeUnknownError("no connection")
    queue.add([job("a"), job("b", BIG), job("c", image="i")])
    with pytest.raises(OutcomeUnknownError):
        queue.send()
    assert queue.send() == 3
    assert sorted(ap.queued) == ["a", "b", "c"]


def test_job_that_fails_while_in_doubt_is_not_resubmitted(queue, ap):
    ap.fails = OutcomeUnknownError("no connection")
    queue.add([job("a")])
    with pytest.raises(OutcomeUnknownError):
        queue.send()
    queue.fail_waiting([SMALL], "no pilots")
    assert queue.send() == 0
    assert ap.queued == {}


def test_failed_job_found_in_the_queue_is_removed(queue, ap):
    ap.lost_answer = True
    queue.add([job("a")])
    with pytest.raises(OutcomeUnknownError):
        queue.send()
    queue.fail_waiting([SMALL], "no pilots")
    queue.send()
    queue.repair(NOW_S)
    assert ap.removed == ["1.0"]


def test_pilots_that_started_jobs_are_remembered(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.view().served == {"p1": 2000.0}


def test_held_job_that_the_user_releases_is_reported_once(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, text="disk quota")
    queue.follow()
    queue.over()
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.over() == {}


def test_every_submission_includes_the_urls_of_its_jobs(queue, ap):
    queue.add([replace(job("a"), urls=("https://h/x",)), job("b")])
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.run_again("a", "half of it is missing")
    queue.send()
    assert [submission.urls for submission in ap.submissions] == [{"a": ("https://h/x",)}] * 2


def test_fail_waiting_ignores_classes_without_waiting_jobs(queue, ap):
    queue.add([job("a")])
    queue.fail_waiting([BIG], "too big")
    assert queue.send() == 1
    assert queue.over() == {}
