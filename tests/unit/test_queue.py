"""The queue: batches out, events in, nothing lost when an answer is."""

import errno
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import FakeAccessPoint

from snakemake_executor_plugin_osgpilot.access_point.description import describe
from snakemake_executor_plugin_osgpilot.core.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.core.holds import SETBACKS_MAX, history
from snakemake_executor_plugin_osgpilot.core.jobs import Job, JobState
from snakemake_executor_plugin_osgpilot.core.model import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.core.recovery import Entry, Left, Past
from snakemake_executor_plugin_osgpilot.enquiry import HISTORY_TRIES
from snakemake_executor_plugin_osgpilot.errors import Refused, Unanswered
from snakemake_executor_plugin_osgpilot.ports import Seat
from snakemake_executor_plugin_osgpilot.queue import Queue

NOW_S = 3000.0
SMALL, BIG = JobClass(Shape(1, 500)), JobClass(Shape(4, 3000))


def job(key, job_class=SMALL, image=""):
    return Job(key, "map", Request(job_class, image))


@pytest.fixture
def ap():
    return FakeAccessPoint()


@pytest.fixture
def queue(ap):
    return Queue(ap, Shape(4, 3800))


def test_one_transaction_per_kind_of_job(queue, ap):
    queue.add([job(f"s{n}") for n in range(100)] + [job("b", BIG), job("c", image="i")])
    assert queue.send() == 102
    assert sorted(len(s.keys) for s in ap.submissions) == [1, 1, 100]


def test_no_transaction_is_larger_than_an_access_point_takes(ap, monkeypatch):
    monkeypatch.setattr("snakemake_executor_plugin_osgpilot.core.feeding.BATCH_MAX", 4)
    queue = Queue(ap, Shape(4, 3800))
    queue.add([job(f"s{n}") for n in range(10)])
    assert queue.send() == 10
    assert [len(s.keys) for s in ap.submissions] == [4, 4, 2]


def test_heavy_jobs_keep_apart_from_when_others_could_fill_a_pilot_until_none_waits(queue, ap):
    heavy = JobClass(Shape(1, 2000))
    queue.add([job("h1", heavy), job("h2", heavy), *(job(f"s{n}") for n in range(3))])
    queue.mend(NOW_S)
    queue.send()
    assert [s.apart for s in ap.submissions] == [False, False]
    queue.add([job("s3")])
    for _ in range(2):
        queue.mend(NOW_S)
    queue.send()
    assert [s.apart for s in ap.submissions] == [False, False, True]
    assert ap.apart == [True]
    for n in range(4):
        ap.tell(f"s{n}", EventKind.EXECUTE, pilot="p1")
        queue.follow()
        queue.mend(NOW_S)
        assert ap.apart == [True, False][: 1 + n // 3]


def test_jobs_that_take_most_of_a_pilot_come_first(queue, ap):
    queue.add([job("h", JobClass(Shape(1, 2000))), job("s"), job("b", BIG)])
    queue.send()
    seat = Seat("alice", "MyProject", "r1")
    described = [describe(each, seat, Path("/home/alice/r1")) for each in ap.submissions]
    assert sorted(lines["priority"] for lines in described) == ["1", "3", "4"]


def test_a_job_is_waiting_demand_from_the_moment_it_is_added(queue):
    queue.add([job("a")])
    assert queue.view().waiting == {SMALL: 1}
    queue.send()
    assert queue.view().waiting == {SMALL: 1}


def test_jobs_given_up_while_some_are_submitted_are_told_when_none_is_in_the_queue(queue, ap):
    submit = ap.submit

    def meanwhile(submission):
        queue.fail_waiting([SMALL, BIG], "no pilots")
        assert not set(queue.over()) & set(submission.keys)
        return submit(submission)

    ap.submit = meanwhile
    queue.add([job("a"), job("b", BIG)])
    assert queue.send() == 1, "the other was given up before it was sent"
    (sent,) = ap.submissions[0].keys
    queue.mend(NOW_S)
    assert ap.removed == [ap.queued[sent]]
    assert set(queue.over()) == {sent}


def test_a_job_given_up_while_there_was_no_room_for_it_is_told(queue, ap):
    ap.room = 0
    submit = ap.submit

    def meanwhile(submission):
        queue.fail_waiting([SMALL], "no pilots")
        return submit(submission)

    ap.submit = meanwhile
    queue.add([job("a")])
    assert queue.send() == 0
    assert set(queue.over()) == {"a"}


def test_running_jobs_are_counted_on_their_pilot(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    queue.follow()
    view = queue.view()
    assert view.waiting == {SMALL: 1}
    assert {p: [(g.job_class, g.jobs) for g in r] for p, r in view.running().items()} == {
        "p1": [(SMALL, 1)]
    }


def test_jobs_whose_end_the_log_has_lost_are_over_when_the_queue_has_them_no_more(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1")
    del ap.queued["a"]
    queue.follow()
    assert queue.over() == {}, "absence alone is no end"
    ap.missed = True
    queue.follow()
    assert [job.key for job in queue.over().values()] == ["a"]
    assert queue.any_left()
    assert queue.run_again("a", "the list of its outputs did not come back")


def test_a_damaged_log_is_made_up_for_as_soon_as_the_access_point_answers(queue, ap, monkeypatch):
    queue.add([job("a")])
    queue.send()
    ap.queued.clear()
    ap.missed = True
    with monkeypatch.context() as patch:
        patch.setattr(ap, "find", no_answer)
        with pytest.raises(Unanswered):
            queue.follow()
    queue.follow()
    assert set(queue.over()) == {"a"}


def test_how_jobs_ended_is_asked_where_the_log_has_lost_it(queue, ap):
    """A job that somebody removed must not run again for that."""
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    ids = dict(ap.queued)
    ap.history[ids["a"]] = Event(EventKind.ABORTED, 2000.0, text="condor_rm (by user alice)")
    ap.history[ids["b"]] = Event(EventKind.TERMINATED, 2000.0, exit_status=3)
    ap.queued.clear()
    ap.missed = True
    queue.follow()
    over = queue.over()
    assert "condor_rm (by user alice)" in over["a"].text
    assert over["a"].state is JobState.REMOVED
    assert (over["b"].exit_status, over["c"].exit_status) == (3, 0)


@pytest.mark.parametrize("why", [Refused("no history"), Unanswered("it takes too long")])
def test_an_access_point_without_a_history_does_not_stop_the_workflow(queue, ap, why):
    queue.add([job("a")])
    queue.send()
    ap.queued.clear()
    ap.history_fails = why
    ap.missed = True
    tries = 0
    while not (over := queue.over()):
        with suppress(Unanswered):
            queue.follow()
        tries += 1
    assert over["a"].exit_status == 0, "its list of outputs tells"
    assert tries == (1 if isinstance(why, Refused) else HISTORY_TRIES)


def test_a_hold_that_the_log_has_lost_is_found_in_the_queue(queue, ap):
    queue.add([job("a"), job("b")])
    queue.send()
    full = {"code": 7, "subcode": errno.ENOSPC, "text": "No space left on device"}
    ap.held_now["a"] = Event(EventKind.HELD, 2000.0, **full)
    queue.follow()
    assert queue.over() == {}
    ap.missed = True
    queue.follow()
    queue.mend(NOW_S)
    (given_up,) = queue.over().values()
    assert "is its disk full?" in given_up.text
    assert ap.removed == ["1.0"]


@pytest.mark.parametrize("hold", [{"code": 1, "text": "by the user"}, {"code": 13}])
def test_a_release_that_the_log_has_lost_is_found_in_the_queue(queue, ap, hold):
    queue.add([job("a"), job("b")])
    queue.send()
    ap.tell("a", EventKind.HELD, **hold)
    ap.tell("b", EventKind.HELD, **hold)
    queue.follow()
    ap.held_now["b"] = Event(EventKind.HELD, 2000.0, **hold)
    ap.missed = True
    queue.follow()
    assert [each.state for each in queue.jobs("ab")] == [JobState.WAITING, JobState.HELD]
    assert queue.view().waiting == {SMALL: 1}, "pilots are wanted for it again"
    assert [len(each.setbacks) for each in queue.jobs("ab")] == [1, 1]


def test_a_hold_that_is_told_while_the_queue_is_asked_stays(queue, ap, monkeypatch):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, 2000.0, code=1, text="by the user")
    queue.follow()

    def held():
        ap.tell("a", EventKind.RELEASED, 2001.0)
        ap.tell("a", EventKind.HELD, 2001.0, code=1, text="by the user")
        return {}

    monkeypatch.setattr(ap, "held", held)
    ap.missed = True
    queue.follow()
    assert [each.state for each in queue.jobs("a")] == [JobState.HELD]


def test_a_release_that_is_told_while_the_queue_is_asked_counts(queue, ap, monkeypatch):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.HELD, 2000.0, code=1, text="by the user")
    queue.follow()

    def held():
        ap.tell("a", EventKind.RELEASED, 2001.0)
        return {"1.0": Event(EventKind.HELD, 2000.0, code=1, text="by the user")}

    monkeypatch.setattr(ap, "held", held)
    ap.missed = True
    queue.follow()
    assert [(each.state, len(each.setbacks)) for each in queue.jobs("a")] == [(JobState.WAITING, 1)]


def no_answer():
    raise Unanswered("the access point did not answer")


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
    assert queue.view().waiting == {SMALL: 1}
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
    queue.mend(NOW_S)
    assert queue.over()["a"].state is JobState.REMOVED
    assert ap.removed == ["1.0"]


def test_waiting_jobs_can_be_given_up_by_class(queue, ap):
    queue.add([job("a"), job("b", BIG)])
    queue.send()
    queue.fail_waiting([BIG], "too big")
    assert queue.any_left()
    queue.mend(NOW_S)
    assert [(j.key, j.text) for j in queue.over().values()] == [("b", "too big")]
    assert ap.removed == [ap.queued["b"]]
    assert queue.view().waiting == {SMALL: 1}


def test_given_up_jobs_that_were_not_sent_yet_are_never_sent(queue, ap):
    queue.add([job("a")])
    queue.fail_waiting([SMALL], "no pilots")
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
    queue.fail_waiting([SMALL], "no pilots")
    assert queue.send() == 0
    assert ap.queued == {}


def test_a_job_given_up_that_turns_out_to_be_queued_is_removed(queue, ap):
    ap.lost_answer = True
    queue.add([job("a")])
    with pytest.raises(Unanswered):
        queue.send()
    queue.fail_waiting([SMALL], "no pilots")
    queue.send()
    queue.mend(NOW_S)
    assert ap.removed == ["1.0"]


def test_pilots_that_served_are_known_after_their_jobs_ended(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.view().served == {"p1": 2000.0}


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


def hold(ap, key, code, subcode=0, at_s=2000.0):
    ap.tell(key, EventKind.HELD, at_s, code=code, subcode=subcode, text="why")


def test_a_job_that_took_too_much_memory_asks_for_more_and_runs_again(queue, ap):
    queue.add([job("a"), job("b"), job("c")])
    queue.send()
    for key in "abc":
        hold(ap, key, 34, 102)
    queue.follow()
    assert queue.view().waiting == {}
    queue.mend(NOW_S)
    assert ap.released == [(("1.0", "1.1", "1.2"), Shape(1, 1024))]
    assert queue.notices() == [
        "3 job(s) of rule map: took more than 500 MB of memory; asking for 1024 MB"
    ]
    ap.tell("a", EventKind.RELEASED)
    queue.follow()
    assert queue.view().waiting == {JobClass(Shape(1, 1024)): 1}
    queue.mend(NOW_S)
    assert len(ap.released) == 1
    assert queue.over() == {}


def test_a_failed_transfer_is_tried_again_when_its_time_has_come(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 13)
    queue.follow()
    queue.mend(2009.0)
    assert ap.released == []
    queue.mend(2010.0)
    assert ap.released == [(("1.0",), None)]


def test_a_release_without_an_answer_is_said_again(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 34, 102)
    queue.follow()
    ap.fails = Unanswered("schedd is away")
    with pytest.raises(Unanswered):
        queue.mend(NOW_S)
    queue.mend(NOW_S)
    assert len(ap.released) == 1


def test_a_release_that_is_refused_ends_the_job(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 34, 102)
    queue.follow()
    ap.fails = Refused("no such attribute")
    queue.mend(NOW_S)
    queue.mend(NOW_S)
    assert "no such attribute" in queue.over()["a"].text


def test_a_job_held_by_hand_waits_for_its_release(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 1)
    queue.follow()
    queue.mend(NOW_S)
    assert (ap.released, ap.removed, queue.over()) == ([], [], {})
    ap.tell("a", EventKind.RELEASED)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.over()["a"].exit_status == 0


def test_a_job_that_is_given_up_is_told_only_when_it_has_left_the_queue(queue, ap):
    queue.add([job("a")])
    queue.send()
    hold(ap, "a", 14)
    queue.follow()
    assert queue.over() == {}
    ap.remove_fails = Unanswered("schedd is away")
    with pytest.raises(Unanswered):
        queue.mend(NOW_S)
    assert queue.over() == {}
    assert queue.any_left()
    queue.mend(NOW_S)
    assert list(queue.over()) == ["a"]
    assert not queue.any_left()


def test_a_job_that_is_interrupted_again_and_again_is_given_up_with_its_history(queue, ap):
    queue.add([job("a")])
    queue.send()
    for number in range(SETBACKS_MAX):
        ap.tell("a", EventKind.EXECUTE, pilot=f"p{number}", allocation_id=str(number))
        ap.tell("a", EventKind.EVICTED, text="preempted")
    queue.follow()
    queue.mend(NOW_S)
    (given_up,) = queue.over().values()
    assert "started 10 times in vain" in given_up.text
    assert history(given_up.setbacks).startswith("preempted (in Slurm job 0, in Slurm job 1, ")
    assert ap.removed == ["1.0"]


def test_starts_that_fail_before_the_job_runs_count_as_well(queue, ap):
    queue.add([job("a")])
    queue.send()
    for _ in range(SETBACKS_MAX):
        ap.tell("a", EventKind.NOT_STARTED, text="no container")
    queue.follow()
    queue.mend(NOW_S)
    assert list(queue.over()) == ["a"]


def start_on_a_pilot_that_ends(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.EXECUTE, pilot="p1", allocation_id="7")
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)


def test_waiting_jobs_are_kept_off_a_pilot_that_vanished(queue, ap):
    queue.add([job("a")])
    queue.send()
    queue.pilot_ended("gone", 2100.0, vanished=True)
    queue.pilot_ended("left", 2100.0, vanished=False)
    for _ in range(2):
        queue.mend(2100.0)
    assert ap.avoided == [("gone",)]


def test_a_job_whose_pilot_was_lost_is_taken_out_and_submitted_anew(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    queue.mend(2100.0)
    assert ap.removed == []
    queue.mend(NOW_S)
    assert ap.removed == ["1.0"]
    assert ap.queued == {}
    assert queue.view().waiting == {SMALL: 1}
    queue.send()
    assert ap.submissions[-1].avoid == ("p1",)
    ap.told.append(("1.0", Event(EventKind.ABORTED, 2300.0)))
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert [(j.exit_status, len(j.setbacks)) for j in queue.over().values()] == [(0, 1)]


def test_a_job_that_was_lost_before_its_pilot_was_told_is_submitted_anew(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.ADRIFT, at_s=2090.0)
    queue.follow()
    queue.mend(2120.0)
    assert ap.removed == []  # its pilot may be alive behind a network that is cut
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.mend(2110.0)
    assert ap.removed == []
    queue.mend(2120.0)
    assert ap.removed == ["1.0"]
    assert queue.view().waiting == {SMALL: 1}


def test_a_job_that_was_found_again_is_left_alone(queue, ap):
    queue.add([job("a")])
    queue.send()
    ap.tell("a", EventKind.ADRIFT, at_s=2090.0)
    ap.tell("a", EventKind.EXECUTE, at_s=2095.0, pilot="p2", allocation_id="8")
    queue.follow()
    queue.pilot_ended("p1", 2100.0, vanished=True)
    queue.mend(2120.0)
    assert ap.removed == []


def test_a_job_whose_end_is_told_after_that_of_its_pilot_is_not_run_again(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    queue.mend(NOW_S)
    assert list(queue.over()) == ["a"]
    assert ap.removed == []


def test_a_lost_job_is_sent_only_when_the_old_one_is_gone_for_certain(queue, ap):
    start_on_a_pilot_that_ends(queue, ap)
    ap.remove_fails = Unanswered("schedd is away")
    with pytest.raises(Unanswered):
        queue.mend(NOW_S)
    assert queue.send() == 0
    queue.fail_waiting([SMALL], "no pilots")
    assert queue.over() == {}
    queue.mend(NOW_S)
    assert queue.send() == 0
    assert list(queue.over()) == ["a"]


def test_a_job_that_did_not_come_back_whole_runs_again_but_not_for_ever(queue, ap):
    queue.add([job("a")])
    for _ in range(SETBACKS_MAX - 1):
        queue.send()
        ap.tell("a", EventKind.TERMINATED, exit_status=0)
        queue.follow()
        assert list(queue.over()) == ["a"]
        assert queue.run_again("a", "half of it is missing")
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert not queue.run_again("a", "half of it is missing")
    assert not queue.any_left()


def test_urls_go_out_with_their_jobs_each_time_these_are_submitted(queue, ap):
    queue.add([replace(job("a"), urls=("https://h/x",)), job("b")])
    queue.send()
    ap.tell("a", EventKind.TERMINATED, exit_status=0)
    queue.follow()
    assert queue.run_again("a", "half of it is missing")
    queue.send()
    assert [submission.urls for submission in ap.submissions] == [{"a": ("https://h/x",)}] * 2


def test_giving_up_on_what_does_not_wait_changes_nothing(queue, ap):
    queue.add([job("a")])
    queue.fail_waiting([BIG], "too big")
    assert queue.send() == 1
    assert queue.over() == {}


def entry(key, identity="who"):
    return Entry(key, identity, "how", "map", SMALL, f"5.{key}")


def event(job_id, kind, **more):
    return job_id, Event(kind, 2000.0, **more)


RAN = (event("5.1", EventKind.SUBMIT, key="1"), event("5.1", EventKind.EXECUTE, pilot="p1"))


def test_recalled_jobs_are_where_the_log_says_before_snakemake_asks_for_them(queue):
    queue.recall(Left({"a": entry("1", "a"), "b": entry("2", "b")}), RAN)
    view = queue.view()
    assert (view.waiting, [j.key for j in view.executing]) == ({SMALL: 1}, ["1"])
    assert queue.served_s() == {"p1": 2000.0}
    assert queue.notices() == []


def test_a_recalled_job_that_ended_is_told_again_when_snakemake_asks_for_it(queue):
    done = event("5.1", EventKind.TERMINATED, exit_status=0)
    queue.recall(Left({"a": entry("1", "a")}), (*RAN, done))
    queue.over()
    queue.claim([job("1", image="i")])
    assert [(j.key, j.exit_status, j.request.container_image) for j in queue.over().values()] == [
        ("1", 0, "i")
    ]


def test_a_job_that_changed_is_sent_when_the_old_one_has_left(queue, ap):
    queue.recall(Left({"a": entry("1", "a")}), RAN)
    queue.claim([], [(job("2"), "1")])
    assert queue.send() == 0
    ap.remove_fails = Unanswered("away")
    with pytest.raises(Unanswered):
        queue.mend(NOW_S)
    assert queue.send() == 0
    queue.mend(NOW_S)
    assert ap.removed == ["5.1"]
    assert queue.send() == 1
    assert [s.keys for s in ap.submissions] == [("2",)]
    assert queue.view().executing == ()


def test_a_job_that_changed_and_was_held_is_replaced_all_the_same(queue, ap):
    held = event("5.1", EventKind.HELD, code=1, text="by the user")
    queue.recall(Left({"a": entry("1", "a")}), (*RAN, held))
    queue.claim([], [(job("2"), "1")])
    queue.mend(NOW_S)
    queue.send()
    assert "5.1" in ap.removed
    assert [s.keys for s in ap.submissions] == [("2",)]
    assert queue.over().keys() <= {"1"}


def test_strays_are_removed_and_count_until_then(queue, ap):
    queue.recall(Left({}, ("9.0",)), ())
    assert queue.any_left()
    queue.mend(NOW_S)
    assert ap.removed == ["9.0"]
    assert not queue.any_left()


def test_what_a_dead_snakemake_submitted_in_its_last_moment_is_a_stray(queue, ap):
    queue.recall(Left({"a": entry("1", "a")}), RAN)
    queue.add([job("3")])
    ap.told += [
        event("8.0", EventKind.SUBMIT, key="2"),
        event("9.0", EventKind.SUBMIT, key="3"),
    ]
    queue.follow()
    queue.mend(NOW_S)
    assert ap.removed == ["8.0"]


class Full:
    """A journal on a disk that is full, for as long as it says so."""

    def __init__(self):
        self.full, self.intended, self.ids = True, [], {}

    def intend(self, keys):
        if self.full:
            raise Unanswered("the journal cannot be written: disk full")
        self.intended += keys

    def submitted(self, ids):
        self.ids |= ids


def test_what_cannot_be_written_down_is_not_submitted_and_not_lost(ap):
    journal = Full()
    queue = Queue(ap, Shape(4, 3800), journal=journal)
    queue.add([job("a"), job("b")])
    with pytest.raises(Unanswered, match="disk full"):
        queue.send()
    assert ap.submissions == []
    journal.full = False
    assert queue.send() == 2
    assert journal.intended == ["a", "b"]
    assert journal.ids == ap.queued


def test_jobs_of_earlier_lives_count_in_the_sums(ap):
    whole = Queue(ap, Shape(4, 3800))
    whole.add([job("a"), job("b"), job("c", BIG)])
    whole.send()
    ids = dict(ap.queued)
    for n, key in enumerate("abc"):
        place = {"pilot": f"p{n}", "allocation_id": str(n)}
        ap.tell(key, EventKind.SUBMIT, 90.0 + n)
        ap.tell(key, EventKind.EXECUTE, 100.0 + n, **place)
        ap.tell(key, EventKind.TERMINATED, 110.0 + 2 * n, exit_status=n % 2)
    told = list(ap.told)
    whole.follow()

    past = tuple(Past.of(each) for each in whole.jobs("ab"))
    rest = Entry("c", "c", "", "map", BIG, ids["c"])
    resumed = Queue(ap, Shape(4, 3800))
    resumed.recall(Left({"c": rest}, past=past), told)
    assert resumed.rules() == whole.rules()
    assert resumed.rules()["map"].jobs == 3
    assert resumed.served_s() == whole.served_s()
    assert resumed.span_s() == whole.span_s() == (90.0, 114.0)
