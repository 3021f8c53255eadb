"""Each member of a bundle is a job of its own; what interrupts the bundle counts against none."""

from dataclasses import replace

import pytest
from doubles import FakeAccessPoint
from queued import BIG, NOW_S, SMALL, job

from snakemake_executor_plugin_osgpilot.jobs.manager import JobManager
from snakemake_executor_plugin_osgpilot.jobs.state.bundles import Bundles, MemberEnd, text_of
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind, Usage
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState
from snakemake_executor_plugin_osgpilot.jobs.state.job_ids import htcondor_ids
from snakemake_executor_plugin_osgpilot.jobs.state.recovery import Entry, leftover
from snakemake_executor_plugin_osgpilot.jobs.submitter import NoFolders
from snakemake_executor_plugin_osgpilot.model.resources import Shape
from snakemake_executor_plugin_osgpilot.model.upcoming import UpcomingWork

TARGET_S = 60.0
DONE = MemberEnd(0, 1.0, 2.0)


class Folders(NoFolders):
    """Remembers which folders were cleared."""

    def __init__(self):
        self.cleared = []

    def clear(self, keys):
        self.cleared += keys


class BundlingAccessPoint(FakeAccessPoint):
    """Expands events of HTCondor's jobs as the real one does; `ends` is what came back."""

    def __init__(self):
        super().__init__()
        self.bundles = Bundles()
        self.ends = {}
        self.gone = []
        self.folders = Folders()

    def submit(self, submission):
        ids = super().submit(submission)
        if not submission.bundles:
            return ids
        cluster = len(self.submissions)
        ids = {}
        for n, keys in enumerate(submission.bundles):
            ids |= self.bundles.add(f"{cluster}.{n}", keys)
        self.queued |= ids
        return ids

    def remove(self, job_ids, reason):
        self.gone += htcondor_ids(job_ids)
        super().remove(job_ids, reason)

    def happens(self, job_id, kind, at_s=NOW_S, **more):
        ends = lambda keys: [self.ends.get(key) for key in keys]  # noqa: E731
        self.unread += self.bundles.expand(job_id, Event(kind, at_s, **more), ends)


@pytest.fixture
def ap():
    return BundlingAccessPoint()


@pytest.fixture
def queue(ap):
    """Of a run whose pilots have room for one job."""
    return JobManager(ap, Shape(1, 500), folders=ap.folders)


@pytest.fixture
def bundle(queue, ap):
    """A bundle with six of seven jobs, made when the first one had shown that they are short."""
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(7))
    queue.send()
    assert [each.keys for each in ap.submissions] == [("j00",)], "the others wait"
    ap.tell("j00", EventKind.EXECUTE, at_s=NOW_S - 1, pilot="p0")
    ap.tell("j00", EventKind.TERMINATED, at_s=NOW_S - 0.5, exit_status=0)
    queue.follow()
    queue.repair(NOW_S)
    assert len(queue.over()) == 1
    queue.send()
    (keys,) = ap.submissions[-1].bundles
    assert len(keys) == 6
    return f"{len(ap.submissions)}.0", list(keys)


def test_members_end_each_with_its_own_status_and_times(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1", node="n1")
    queue.follow()
    first, *others = queue.jobs(keys)
    assert first.state is JobState.RUNNING
    assert {each.state for each in others} == {JobState.WAITING}
    (running,) = queue.view().running()["p1"]
    assert running.jobs == 1, "one slot is taken"
    ap.ends = {key: MemberEnd(n == 3, n + 0.5, n + 1.0) for n, key in enumerate(keys)}
    usage = Usage(cpu_s=6.0, memory_mb=100)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 9, exit_status=0, usage=usage)
    queue.follow()
    over = queue.over()
    assert list(over) == keys
    assert [over[key].exit_status for key in keys] == [0, 0, 0, 1, 0, 0]
    assert [over[key].ended_s - NOW_S for key in keys] == [1, 2, 3, 4, 5, 6]
    assert {over[key].pilot for key in keys} == {"p1"}
    assert {over[key].usage for key in keys} == {Usage(cpu_s=1.0, memory_mb=100)}
    assert queue.rules()["map"].past_core_s == pytest.approx(0.5 + 1.0 + 5 * 0.5)


def test_a_member_that_did_not_end_runs_alone_and_no_attempt_counts(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    ap.ends = dict.fromkeys(keys[:4], DONE)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 9, exit_status=0)
    queue.follow()
    assert set(queue.over()) == set(keys[:4])
    again(queue, ap, keys[4:])


def again(queue, ap, keys):
    """Check that these jobs are submitted again, each alone, after their bundle is gone."""
    sent = len(ap.submissions)
    queue.send()
    assert len(ap.submissions) == sent, "it may still run"
    queue.repair(NOW_S + 10)
    queue.send()
    assert sorted(key for each in ap.submissions[sent:] for key in each.keys) == sorted(keys)
    assert not any(each.bundles for each in ap.submissions[sent:])
    assert {len(each.failed_attempts) for each in queue.jobs(keys)} == {0}
    assert sorted(ap.folders.cleared) == sorted(keys), (
        "results of the bundle may have returned late"
    )


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (EventKind.EVICTED, {"code": 1005}),
        (EventKind.EVICTED, {"code": 45}),
        (EventKind.NOT_STARTED, {"text": "no such pilot"}),
        (EventKind.HELD, {"code": 34, "subcode": 102}),
        (EventKind.HELD, {"code": 12, "subcode": 28}),
    ],
)
def test_an_interrupted_bundle_is_taken_apart(queue, ap, bundle, kind, more):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    ap.happens(job_id, kind, NOW_S + 5, **more)
    queue.follow()
    assert not queue.over()
    again(queue, ap, keys)
    assert job_id in ap.gone
    # its later events are ignored
    ap.ends = dict.fromkeys(keys, DONE)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 20, exit_status=0)
    queue.follow()
    assert not queue.over()


def test_a_failed_start_of_a_bundle_counts_once(queue, ap, bundle, monkeypatch):
    job_id, _ = bundle
    seen = []
    limiter = "snakemake_executor_plugin_osgpilot.jobs.state.start_failures.StartFailureLimiter"
    monkeypatch.setattr(f"{limiter}.after_failure", lambda self, at_s: seen.append(at_s) or self)
    ap.happens(job_id, EventKind.NOT_STARTED, NOW_S + 5, text="no such pilot")
    queue.follow()
    assert len(seen) == 1


def test_a_bundle_is_lost_with_its_pilot(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    queue.follow()
    queue.pilot_ended("p1", NOW_S + 5, vanished=True)
    queue.repair(NOW_S + 60)
    queue.repair(NOW_S + 60)
    queue.send()
    assert job_id in ap.gone
    alone = [each for each in ap.submissions if set(each.keys) & set(keys)][1:]
    assert sorted(key for each in alone for key in each.keys) == sorted(keys)
    assert not any(each.bundles for each in alone)


def test_a_hold_by_hand_keeps_a_bundle_together(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EVICTED, NOW_S + 1, code=1)
    ap.happens(job_id, EventKind.HELD, NOW_S + 1, code=1)
    ap.happens(job_id, EventKind.HELD, NOW_S + 2, code=1, subcode=REMATCHING)
    queue.follow()
    queue.repair(NOW_S + 3)
    assert not ap.gone
    ap.happens(job_id, EventKind.RELEASED, NOW_S + 4)
    ap.happens(job_id, EventKind.EXECUTE, NOW_S + 5, pilot="p1")
    ap.ends = dict.fromkeys(keys, DONE)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 9, exit_status=0)
    queue.follow()
    assert set(queue.over()) == set(keys)


def test_a_bundle_that_somebody_removed_fails_all_its_jobs(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.ABORTED, NOW_S + 1, text="condor_rm")
    queue.follow()
    over = queue.over()
    assert set(over) == set(keys)
    assert {each.state for each in over.values()} == {JobState.REMOVED}


def test_what_waits_in_a_running_bundle_continues_alone_when_its_class_fails(queue, ap, bundle):
    """`fail_waiting` ends those that wait; the first one runs, and must not be lost with them."""
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    queue.follow()
    queue.fail_waiting([SMALL], "no pilots")
    queue.repair(NOW_S + 1)
    over = queue.over()
    assert keys[0] not in over
    assert set(keys[1:]) <= set(over)
    sent = len(ap.submissions)
    queue.repair(NOW_S + 1)
    queue.send()
    assert keys[0] in [key for each in ap.submissions[sent:] for key in each.keys]


def test_a_job_is_in_a_bundle_once(queue, ap, bundle):
    job_id, keys = bundle
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    ap.ends = dict.fromkeys(keys, DONE)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 9, exit_status=0)
    queue.follow()
    for key in keys:
        assert queue.run_again(key, "its outputs did not come back")
    queue.send()
    assert sorted(ap.submissions[-1].keys) == sorted(keys)
    assert not ap.submissions[-1].bundles


def test_the_retry_of_a_job_runs_alone(queue, ap, bundle):
    job_id, keys = bundle
    queue.add(replace(job(f"r{n:02}"), bundle_s=TARGET_S, identity=f"i{n}") for n in range(2))
    ap.happens(job_id, EventKind.EXECUTE, pilot="p1")
    ap.ends = dict.fromkeys(keys, DONE)
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 9, exit_status=0)
    queue.follow()
    queue.send()
    (both,) = ap.submissions[-1].bundles[-1:]
    assert both == ("r00", "r01")
    job_id = f"{len(ap.submissions)}.{len(ap.submissions[-1].bundles) - 1}"
    ap.ends = dict.fromkeys(both, DONE._replace(exit_status=1))
    ap.happens(job_id, EventKind.EXECUTE, NOW_S + 10, pilot="p1")
    ap.happens(job_id, EventKind.TERMINATED, NOW_S + 19, exit_status=0)
    queue.follow()
    again = [replace(job(f"s{n:02}"), bundle_s=TARGET_S, identity=f"i{n}") for n in range(2)]
    queue.add(again)
    queue.send()
    assert sorted(key for key in ap.submissions[-1].keys) == ["s00", "s01"]
    assert not ap.submissions[-1].bundles


def test_what_htcondor_keeps_of_a_bundle_names_its_members():
    bundles = Bundles()
    assert bundles.of_text("7.2", text_of(["../x", "j03", "a/b"])) == {"j03": "7.2/0"}
    ids = bundles.of_text("7.0", text_of(["j00", "j01"]))
    assert ids == {"j00": "7.0/0", "j01": "7.0/1"}
    assert bundles.of_text("7.1", "j02") == {"j02": "7.1"}
    assert bundles.ids("7.0") == ["7.0/0", "7.0/1"]
    assert bundles.ids("7.1") == ["7.1"]


def entry(key, job_id):
    return Entry(key, f"identity-{key}", "digest", "map", SMALL, job_id)


def test_an_interrupted_bundle_of_an_earlier_session_is_removed_and_its_jobs_run_again():
    bundles, keys = Bundles(), ["j00", "j01"]
    entries = [entry(key, f"7.0/{n}") for n, key in enumerate(keys)]
    log = [("7.0", Event(EventKind.SUBMIT, 1.0, key=text_of(keys)))]
    log += [("7.0", Event(EventKind.EXECUTE, 2.0, pilot="p1"))]
    log += [("7.0", Event(EventKind.EVICTED, 3.0))]
    events = [pair for each in log for pair in bundles.expand(*each, lambda keys: [])]
    found = {"j00": "7.0/0", "j01": "7.0/1"}
    left = leftover(entries, found, events)
    assert not left.entries
    assert set(left.orphans) == set(found.values())
    assert all("bundle" in why for why in left.gone.values())


def test_ends_of_an_earlier_session_are_known_again():
    bundles, keys = Bundles(), ["j00", "j01"]
    entries = [entry(key, f"7.0/{n}") for n, key in enumerate(keys)]
    log = [("7.0", Event(EventKind.SUBMIT, 1.0, key=text_of(keys)))]
    log += [("7.0", Event(EventKind.TERMINATED, 9.0, exit_status=0))]
    events = [pair for each in log for pair in bundles.expand(*each, lambda keys: [DONE, None])]
    left = leftover(entries, {}, events)
    assert [each.key for each in left.entries.values()] == ["j00"]
    assert list(left.gone) == ["identity-j01"]


def test_a_mistake_in_the_decision_loses_no_job(queue, ap, monkeypatch):
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(1))
    with monkeypatch.context() as broken:
        place = "snakemake_executor_plugin_osgpilot.jobs.state.bundling.sizes"
        broken.setattr(place, lambda *given, **more: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            queue.send()
    assert queue.send() == 1


def test_when_pilots_come_as_many_jobs_follow_as_they_have_room_for(queue, ap):
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(20))
    assert queue.send() == 1
    assert queue.send() == 0
    queue.set_shapes([Shape(4, 3800), Shape(4, 3800)])
    assert queue.send() == 7


def test_jobs_follow_as_soon_as_one_has_shown_that_they_are_short(queue, ap):
    queue.set_shapes([Shape(2, 3800)])
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(20))
    assert queue.send() == 2
    ap.tell("j00", EventKind.EXECUTE, at_s=NOW_S - 1, pilot="p0")
    queue.follow()
    assert queue.send() == 0
    ap.tell("j00", EventKind.TERMINATED, at_s=NOW_S - 0.5, exit_status=0)
    queue.follow()
    assert queue.send() > 1, "although the other first one is still idle"


def test_jobs_that_wait_to_be_bundled_take_no_room_of_others(ap):
    queue = JobManager(ap, Shape(1, 500), queued_max=20)
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(50))
    queue.add(replace(job(f"k{n:02}", BIG), rule="other") for n in range(50))
    queue.send()
    sent = [key for each in ap.submissions for key in each.keys]
    assert [key for key in sent if key < "k"] == ["j00"]
    assert len(sent) == 20


def test_jobs_that_continue_waiting_are_not_looked_at(queue, monkeypatch):
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(50))
    assert queue.send() == 1
    looked_at = []
    table = "snakemake_executor_plugin_osgpilot.jobs.state.table.JobTable"
    monkeypatch.setattr(f"{table}.__getitem__", lambda table, key: looked_at.append(key))
    assert queue.send() == 0
    assert not looked_at


def test_jobs_that_wait_to_be_bundled_do_not_count_as_waiting_for_room(ap):
    queue = JobManager(ap, Shape(1, 500), queued_max=20)
    queue.add(replace(job(f"j{n:02}"), bundle_s=TARGET_S) for n in range(50))
    assert queue.send() == 1
    assert queue.notices() == []


def test_bundles_are_short_while_other_jobs_wait_for_single_results(ap):
    queue = JobManager(ap, Shape(1, 500))
    queue.add(replace(job(f"j{n:03}"), bundle_s=TARGET_S) for n in range(200))
    queue.send()
    ap.tell("j000", EventKind.EXECUTE, at_s=NOW_S - 1, pilot="p0")
    ap.tell("j000", EventKind.TERMINATED, at_s=NOW_S, exit_status=0)
    queue.follow()
    queue.repair(NOW_S)
    queue.expect(UpcomingWork(after={"j005": {SMALL: 1}}))
    queue.send()
    (keys,) = ap.submissions[-1].bundles
    assert 1 < len(keys) <= 10
