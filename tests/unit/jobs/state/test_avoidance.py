"""The next attempt of a failed job goes to another place, if there is one."""

from contextlib import closing

import pytest
from doubles import FakeAccessPoint
from queued import NOW_S, SMALL

from snakemake_executor_plugin_osgpilot.htcondor.submit_description import describe
from snakemake_executor_plugin_osgpilot.jobs.access_point import Submission
from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.avoidance import Place, kept_off
from snakemake_executor_plugin_osgpilot.jobs.state.events import IMAGE_NOT_STARTED, Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import FULL_DISKS_MAX
from snakemake_executor_plugin_osgpilot.jobs.state.job import NODE_AT_FAULT, Job
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, Leftover
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.identity import RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Request, Shape

P1, P2, P3 = Place("p1", "n1"), Place("p2", "n2"), Place("p3", "n1")


def test_job_avoids_failed_nodes_if_there_are_others():
    assert kept_off([P1], [P1, P2]) == ("n1",)
    assert kept_off([P1, P2], [P1, P2, Place("p4", "n4")]) == ("n1", "n2")


def test_job_avoids_failed_pilots_on_the_only_node():
    assert kept_off([P1], [P1, P3]) == ("p1",)


def test_job_avoids_nothing_without_another_place():
    assert kept_off([P1], [P1]) == ()
    assert kept_off([P1], []) == ()
    assert kept_off([P1, P2], [P1, P2]) == ()
    assert kept_off([], [P1, P2]) == ()


def test_unknown_node_is_avoided_by_its_pilot():
    assert kept_off([Place("p1")], [Place("p1"), P2]) == ("p1",)


def one_try(key, identity="same"):
    return Job(key, "map", Request(SMALL), identity=identity)


def run(queue, ap, key, pilot, node, status, identity="same"):
    queue.add([one_try(key, identity)])
    queue.send()
    ap.tell(key, EventKind.EXECUTE, 2000.0, pilot=pilot, node=node)
    ap.tell(key, EventKind.TERMINATED, 2001.0, exit_status=status)
    queue.follow()


def test_snakemake_retry_avoids_the_failed_node(queue, ap):
    run(queue, ap, "good", "p2", "n2", 0, identity="other")
    run(queue, ap, "first", "p1", "n1", 1)
    queue.add([one_try("second"), one_try("another", "third")])
    queue.send()
    sent = {submission.keys: submission.kept_off for submission in ap.submissions[2:]}
    assert sent == {("second",): ("n1",), ("another",): ()}


def test_retry_may_use_the_failed_node_without_others(queue, ap):
    run(queue, ap, "good", "p2", "n2", 0, identity="other")
    run(queue, ap, "first", "p1", "n1", 1)
    queue.pilot_ended("p2", NOW_S, vanished=False)
    queue.add([one_try("second")])
    queue.send()
    assert ap.submissions[-1].kept_off == ()


def test_job_with_incomplete_outputs_runs_again_elsewhere(queue, ap):
    run(queue, ap, "good", "p2", "n2", 0, identity="other")
    run(queue, ap, "first", "p1", "n1", 0)
    assert queue.run_again("first", "it did not come back whole")
    queue.send()
    assert ap.submissions[-1].kept_off == ("n1",)


def test_job_whose_image_does_not_start_runs_on_another_node(queue, ap):
    run(queue, ap, "good", "p2", "n2", 0, identity="other")
    queue.add([one_try("a")])
    queue.send()
    there = {"pilot": "p1", "node": "n1"}
    ap.tell("a", EventKind.EXECUTE, 2000.0, **there)
    ap.tell("a", EventKind.EVICTED, 2001.0, code=IMAGE_NOT_STARTED, text="no fuse", **there)
    queue.follow()
    queue.repair(NOW_S)
    queue.send()
    assert ap.submissions[-1].keys == ("a",)
    assert ap.submissions[-1].kept_off == ("n1",)
    assert "a" not in queue.over()


def test_job_with_full_disks_on_many_nodes_fails(queue, ap):
    queue.add([one_try("a")])
    for number in range(FULL_DISKS_MAX):
        queue.send()
        ap.tell("a", EventKind.EXECUTE, 2000.0, pilot=f"p{number}", node=f"n{number}")
        ap.tell("a", EventKind.TERMINATED, 2001.0, exit_status=NODE_AT_FAULT)
        queue.follow()
        again = queue.run_again("a", "the job failed for want of room on the node's disk")
        assert again is (number < FULL_DISKS_MAX - 1)


def described(tmp_path, **more):
    submission = Submission(("a",), Request(SMALL), **more)
    return describe(submission, RunIdentity("alice", "MyProject", "r1"), tmp_path)


def test_only_failed_jobs_have_their_own_requirements(tmp_path):
    plain, shy = described(tmp_path), described(tmp_path, kept_off=("n1", 'x" || true'))
    assert "OSGPilotFailedOn" not in str(plain)
    assert shy["My.OSGPilotFailedOn"] == '"n1"'
    assert shy["requirements"].startswith(plain["requirements"])


def test_job_waits_for_another_place_for_limited_time(tmp_path):
    import classad2
    import htcondor2  # noqa: F401  # brings the functions of HTCondor, such as stringListMember

    clause = described(tmp_path, kept_off=("n1", "p2"))["requirements"].rpartition("OSGPilotApart")[
        2
    ]
    clause = clause[clause.index("((stringListMember") :]
    for node, pilot, age_s, fits in [
        ("n1", "p1", 10, False),
        ("n2", "p2", 10, False),
        ("n3", "p3", 10, True),
        ("n1", "p1", 301, True),
    ]:
        job = classad2.ClassAd({"OSGPilotFailedOn": "n1,p2"})
        job["QDate"] = classad2.ExprTree(f"time() - {age_s}")
        slot = classad2.ClassAd({"OSGPILOT_NODE": node, "OSGPILOT_PILOT_ID": pilot})
        assert classad2.ExprTree(clause).eval(scope=job, target=slot) is fits


def next_session(left, events=()):
    """Return access point and job manager of the next session, with a good pilot p2 on n2."""
    ap = FakeAccessPoint()
    queue = JobManager(ap, Shape(4, 4000))
    queue.restore(left, events)
    run(queue, ap, "good", "p2", "n2", 0, identity="other")
    return ap, queue


@pytest.mark.parametrize(("ends", "kept"), [((1,), ("n1",)), ((0,), ()), ((1, 0), ())])
def test_retry_after_a_restart_avoids_the_failed_node(queue, ap, tmp_path, ends, kept):
    with closing(Journal(tmp_path / "journal", RunIdentity("alice", "P", "r1"))) as journal:
        for number, status in enumerate(ends):
            key = f"00{number}"
            journal.note(one_try(key), "same", "how")
            journal.intend([key])
            run(queue, ap, key, "p1", "n1", status)
            journal.settled(queue.jobs([key]))
    with closing(Journal(tmp_path / "journal")) as journal:
        there, later = next_session(Leftover(past=tuple(journal.past())))
    later.add([one_try("retry")])
    later.send()
    assert there.submissions[-1].kept_off == kept


def test_resubmitted_job_avoids_the_failed_node_after_a_restart():
    """A job with incomplete outputs runs again under the same key, which the log has."""
    events = [
        ("5.1", Event(EventKind.SUBMIT, 1.0, key="1")),
        ("5.1", Event(EventKind.EXECUTE, 2.0, pilot="p1", node="n1")),
        ("5.1", Event(EventKind.TERMINATED, 3.0, exit_status=0)),
        ("6.1", Event(EventKind.SUBMIT, 4.0, key="1")),
    ]
    entry = Entry("1", "same", "how", "map", SMALL, "6.1")
    there, later = next_session(Leftover({"same": entry}), events)
    later.add([one_try("retry")])
    later.send()
    assert there.submissions[-1].kept_off == ("n1",)
