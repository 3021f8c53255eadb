"""The queue: batches out, events in, nothing lost when an answer is."""

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.core.jobs import Event, EventKind, Job, JobState
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.queue import Queue

SMALL, BIG = JobClass(Shape(1, 500)), JobClass(Shape(4, 3000))


def job(key, job_class=SMALL, image=""):
    return Job(key, "map", Request(job_class, image))


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    return Queue(ap)


def test_one_transaction_per_kind_of_job(queue, ap):
    queue.add([job(f"s{n}") for n in range(100)] + [job("b", BIG), job("c", image="i")])
    assert queue.send() == 102
    assert sorted(len(s.keys) for s in ap.submissions) == [1, 1, 100]


def test_no_transaction_is_larger_than_an_access_point_takes(queue, ap, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.queue.TRANSACTION_MAX", 4)
    queue.add([job(f"s{n}") for n in range(10)])
    assert queue.send() == 10
    assert [len(s.keys) for s in ap.submissions] == [4, 4, 2]


def test_a_job_is_waiting_demand_from_the_moment_it_is_added(queue):
    queue.add([job("a")])
    assert queue.demand() == ({SMALL: 1}, {})
    queue.send()
    assert queue.demand() == ({SMALL: 1}, {})


def test_running_jobs_are_counted_on_their_pilot(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    queue.follow()
    assert queue.demand() == ({SMALL: 1}, {"p1": (SMALL,)})


def test_the_end_is_reported_once(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [job.exit_status for job in queue.over().values()] == [0]
    assert queue.over() == {}
    assert not queue.any_left()


def test_events_that_come_before_the_answer_are_kept(queue, ap):
    ap.told.append(("1.0", Event(EventKind.TERMINATED, 1.0, exit_status=0)))
    queue.follow()
    queue.add([job("a")])
    queue.send()
    assert list(queue.over()) == ["a"]


def test_a_refused_batch_fails_its_jobs_with_the_reason(queue, ap):
    ap.fails = Refused("no such universe")
    queue.add([job("a")])
    queue.send()
    assert queue.over()["a"].text == "no such universe"


def test_a_batch_that_never_arrived_is_sent_again(queue, ap):
    ap.fails = Unanswered("no connection")
    queue.add([job("a")])
    with pytest.raises(Unanswered):
        queue.send()
    assert queue.demand()[0] == {SMALL: 1}
    assert queue.send() == 1


def test_a_batch_whose_answer_got_lost_is_found_and_not_sent_twice(queue, ap):
    ap.lost_answer = True
    queue.add([job("a"), job("b")])
    with pytest.raises(Unanswered):
        queue.send()
    assert queue.any_left()
    queue.send()
    assert len(ap.submissions) == 1
    ap.tell("b", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert list(queue.over()) == ["b"]


def test_a_held_job_is_reported_and_taken_out_of_the_queue(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, text="disk quota")
    queue.follow()
    queue.remove_given_up()
    assert queue.over()["a"].state is JobState.HELD
    assert ap.removed == ["1.0"]


def test_waiting_jobs_can_be_given_up_by_class(queue, ap):
    queue.add([job("a"), job("b", BIG)])
    queue.send()
    queue.fail_waiting([BIG], "too big")
    assert queue.any_left()
    queue.remove_given_up()
    assert [(j.key, j.text) for j in queue.over().values()] == [("b", "too big")]
    assert ap.removed == [ap.queued["b"]]
    assert queue.demand()[0] == {SMALL: 1}


def test_given_up_jobs_that_were_not_sent_yet_are_never_sent(queue, ap):
    queue.add([job("a")])
    queue.fail_waiting(None, "no pilots")
    assert queue.send() == 0
    assert list(queue.over()) == ["a"]


def test_one_lost_answer_does_not_lose_the_other_kinds_of_the_batch(queue, ap):
    ap.fails = Unanswered("no connection")
    queue.add([job("a"), job("b", BIG), job("c", image="i")])
    with pytest.raises(Unanswered):
        queue.send()
    assert queue.send() == 3
    assert sorted(ap.queued) == ["a", "b", "c"]


def test_a_job_given_up_while_its_submission_was_in_doubt_is_not_sent_again(queue, ap):
    ap.fails = Unanswered("no connection")
    queue.add([job("a")])
    with pytest.raises(Unanswered):
        queue.send()
    queue.fail_waiting(None, "no pilots")
    assert queue.send() == 0
    assert ap.queued == {}


def test_a_job_given_up_that_turns_out_to_be_queued_is_removed(queue, ap):
    ap.lost_answer = True
    queue.add([job("a")])
    with pytest.raises(Unanswered):
        queue.send()
    queue.fail_waiting(None, "no pilots")
    queue.send()
    queue.remove_given_up()
    assert ap.removed == ["1.0"]


def test_pilots_that_served_are_known_after_their_jobs_ended(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.pilots_that_served() == {"p1"}


def test_a_held_job_that_someone_releases_is_not_reported_twice(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, text="disk quota")
    queue.follow()
    queue.over()
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.over() == {}
