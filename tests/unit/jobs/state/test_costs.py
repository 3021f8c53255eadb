"""The cost of a job does not grow with the number of jobs, and nothing of ended jobs is kept."""

from dataclasses import replace

import pytest
from queued import NOW_S, job

from snakemake_executor_plugin_osgpilot.jobs.state.bundles import Bundles, MemberEnd
from snakemake_executor_plugin_osgpilot.jobs.state.events import Event, EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.priorities import JobPriorities
from snakemake_executor_plugin_osgpilot.jobs.state.tracker import JobTracker
from snakemake_executor_plugin_osgpilot.jobs.state.unsent import UnsentJobs
from snakemake_executor_plugin_osgpilot.model.resources import Shape

JOBS = 500
SEVERAL = 20
"""More operations for one job than this would be some for each of the others."""


class CountedKey(str):
    """A key that counts how often it is compared with another one."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        CountedKey.compared += 1
        return str.__eq__(self, other)


@pytest.fixture
def tracker():
    """Of jobs of which half wait in the queue."""
    tracker = JobTracker(Shape(4, 9999))
    tracker.add(job(CountedKey(f"k{n}")) for n in range(JOBS))
    tracker.take_unsent(JOBS // 2)
    keys = [f"k{n}" for n in range(JOBS // 2)]
    tracker.priorities.sending(tracker.begin_submission(keys))
    tracker.submitted({key: f"1.{n}" for n, key in enumerate(keys)})
    CountedKey.compared = 0
    return tracker


def test_a_job_fails_without_a_look_at_those_to_be_removed(tracker):
    for n in range(JOBS // 2):
        tracker.resubmit_stuck(tracker[f"k{n}"])
    assert len(tracker.withdrawals_due()) == JOBS // 2
    for n in range(JOBS // 2, JOBS):
        tracker.fail(tracker[f"k{n}"], "why")
    assert len(tracker.take_ended()) == JOBS // 2
    assert CountedKey.compared < SEVERAL * JOBS


def test_a_job_is_adopted_without_a_look_at_those_to_be_removed(tracker):
    for n in range(JOBS // 2):
        tracker.fail(tracker[f"k{n}"], "why")
    for n in range(JOBS // 2):
        tracker.adopt(job(f"k{n}"))
    assert not tracker.take_ended()
    assert CountedKey.compared < SEVERAL * JOBS
    tracker.removals_done(tracker.removals_due())
    assert len(tracker.take_ended()) == JOBS // 2


def test_no_priority_is_kept_of_jobs_that_are_over(tracker):
    for n in range(JOBS // 4):
        tracker.fail(tracker[f"k{n}"], "why")
    tracker.priorities_done(5, [f"1.{n}" for n in range(JOBS // 2)])
    for n in range(JOBS // 4, JOBS // 2):
        tracker.apply(f"1.{n}", Event(EventKind.TERMINATED, NOW_S, exit_status=0))
    assert not tracker.priorities._there


def test_no_start_is_kept_of_a_bundle_that_ended():
    bundles = Bundles()
    bundles.add("7.0", ["a", "b"])
    bundles.expand("7.0", Event(EventKind.EXECUTE, NOW_S), lambda keys: [])
    end = Event(EventKind.TERMINATED, NOW_S, exit_status=0)
    ends = [MemberEnd(0, 0.0, 1.0), MemberEnd(0, 1.0, 2.0)]
    assert len(bundles.expand("7.0", end, lambda keys: ends)) == 3
    assert not bundles._started


def test_unsent_jobs_are_ordered_once(monkeypatch):
    ranked = []
    chosen = JobPriorities.of
    monkeypatch.setattr(
        JobPriorities, "of", lambda self, job: ranked.append(job.key) or chosen(self, job)
    )
    tracker = JobTracker(Shape(1, 9999))
    tracker.add(replace(job(f"k{n}"), bundle_s=60.0) for n in range(JOBS))
    taken = []
    for again in range(20):
        taken += tracker.take_unsent(1)[0].jobs
        tracker.add([replace(job(f"later{again}"), bundle_s=60.0)])
    assert len(set(taken)) == 20
    assert len(ranked) < JOBS + 20 * SEVERAL


RANKS = {"a": 3, "b": 1, "c": 2, "d": 1}


def test_a_new_job_takes_its_place_among_the_others():
    many = [f"z{n}" for n in range(100)]
    ranks = RANKS | dict.fromkeys(many, 9)
    unsent, basis = UnsentJobs(ranks.__getitem__), object()
    for key in (*many, "a", "b"):
        unsent.add(key)
    assert unsent.take(1, basis) == ["b"]
    for key in "cd":
        unsent.add(key)
    assert unsent.take(4, basis) == ["d", "c", "a", "z0"]
    assert len(unsent) == 99


def test_all_are_ordered_again_when_more_is_known():
    ranks = dict(RANKS)
    unsent = UnsentJobs(ranks.__getitem__)
    for key in ranks:
        unsent.add(key)
    assert unsent.take(1, object()) == ["b"]
    ranks["c"] = 9
    assert unsent.take(3, object()) == ["d", "a", "c"]
