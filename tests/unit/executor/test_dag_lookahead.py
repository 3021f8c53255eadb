"""Upcoming jobs from the DAG."""

from dataclasses import dataclass, field

import pytest
from doubles import HandClock

from snakemake_executor_plugin_osgpilot.executor.dag_lookahead import Lookahead
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.model.snapshot import UpcomingGroup

SMALL = JobClass(Shape(1, 500))


@dataclass(eq=False)
class FakeJob:
    name: str
    after: list = field(default_factory=list)
    is_local: bool = False
    attempt: int = 1
    restart_times: int = 0

    def is_group(self):
        return False


class FakeDag:
    def __init__(self, *jobs):
        self.jobs = list(jobs)

    def needrun_jobs(self):
        return iter(self.jobs)

    def job_dependencies(self, job):
        return job.after


@pytest.fixture
def clock():
    return HandClock()


def look(clock, *jobs, class_of=lambda job: SMALL):
    return Lookahead(FakeDag(*jobs), clock, class_of)


def test_a_job_that_waits_for_one_is_listed_after_it(clock):
    first = FakeJob("first")
    lookahead = look(clock, first, FakeJob("second", [first]))
    lookahead.add(first, "000001", SMALL)
    lookahead.walk()
    assert lookahead.ahead.after == {"000001": {SMALL: 1}}
    assert lookahead.ahead.soon({"000001": 1190.0}) == (UpcomingGroup(SMALL, 1, 1200),)
    assert lookahead.ahead.soon({}) == (UpcomingGroup(SMALL, 1, None),)


def test_many_jobs_may_wait_for_one(clock):
    first = FakeJob("first")
    lookahead = look(clock, first, *(FakeJob(f"map{n}", [first]) for n in range(100)))
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    assert lookahead.ahead.soon({"1": 1190.0}) == (UpcomingGroup(SMALL, 100, 1200),)


def test_a_job_that_waits_for_many_is_listed_as_gathered(clock):
    parts = [FakeJob(f"part{n}") for n in range(1000)]
    lookahead = look(clock, *parts, FakeJob("gather", parts))
    for number, part in enumerate(parts):
        lookahead.add(part, str(number), SMALL)
    lookahead.walk()
    assert lookahead.ahead.gathered == {SMALL: 1}
    assert lookahead.ahead.later == 0


def test_jobs_further_downstream_are_only_counted(clock):
    first = FakeJob("first")
    second = FakeJob("second", [first])
    lookahead = look(clock, first, second, FakeJob("third", [second]))
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    assert lookahead.ahead.later == 1


def test_dependencies_through_local_jobs_are_followed(clock):
    first = FakeJob("first")
    local = FakeJob("local", [first], is_local=True)
    lookahead = look(clock, first, local, FakeJob("second", [local]))
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    assert lookahead.ahead.after == {"1": {SMALL: 1}}


def test_a_job_with_unknown_resources_is_only_counted(clock):
    first = FakeJob("first")
    lookahead = look(clock, first, FakeJob("second", [first]), class_of=lambda job: None)
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    assert (lookahead.ahead.after, lookahead.ahead.later) == ({}, 1)


def test_finished_jobs_are_neither_upcoming_nor_waited_for(clock):
    first = FakeJob("first")
    second = FakeJob("second", [first])
    lookahead = look(clock, first, second)
    lookahead.add(first, "1", SMALL)
    lookahead.finished(first, "", 10.0)
    lookahead.add(second, "2", SMALL)
    lookahead.walk()
    assert lookahead.ahead.soon({}) == ()
    assert lookahead.ahead.later == 0


@pytest.mark.parametrize(("keep_going", "later"), [(True, 1), (False, 0)])
def test_jobs_downstream_of_a_failure_are_not_upcoming(clock, keep_going, later):
    good, bad = FakeJob("good"), FakeJob("bad")
    good_2, bad_2 = FakeJob("good 2", [good]), FakeJob("bad 2", [bad])
    good_3, bad_3 = FakeJob("good 3", [good_2]), FakeJob("bad 3", [bad_2, good_2])
    dag = FakeDag(good, bad, good_2, bad_2, good_3, bad_3)
    lookahead = Lookahead(dag, clock, lambda job: SMALL, keep_going=keep_going)
    lookahead.add(good, "1", SMALL)
    lookahead.add(bad, "2", SMALL)
    lookahead.failed(bad)
    lookahead.walk()
    assert lookahead.ahead.after == ({"1": {SMALL: 1}} if keep_going else {})
    assert lookahead.ahead.later == later


def test_a_job_that_is_retried_is_upcoming(clock):
    job = FakeJob("job", restart_times=1)
    lookahead = look(clock, job)
    lookahead.add(job, "1", SMALL)
    lookahead.failed(job)
    lookahead.walk()
    assert lookahead.ahead.soon({}) == (UpcomingGroup(SMALL, 1, None),)


def test_the_critical_path_is_the_longest_chain_of_runtimes(clock):
    short, long = FakeJob("short"), FakeJob("long")
    last = FakeJob("last", [short, long])
    lookahead = look(clock, short, long, last)
    path_s = []
    for job, runtime_s in ((short, 5.0), (long, 60.0), (last, 7.0)):
        lookahead.finished(job, "", runtime_s)
        lookahead.walk()
        path_s.append(lookahead.ahead.critical_path_s)
    assert path_s == [5.0, 60.0, 67.0]


def test_jobs_handed_over_since_the_walk_are_not_upcoming(clock):
    first, second = FakeJob("first"), FakeJob("second")
    gather = FakeJob("gather", [first, second])
    lookahead = look(clock, first, second, gather)
    lookahead.add(first, "1", SMALL)
    lookahead.add(second, "2", SMALL)
    lookahead.walk()
    assert lookahead.ahead.soon({}) == (UpcomingGroup(SMALL, 1, None),)
    lookahead.finished(first, "", 1.0)
    lookahead.finished(second, "", 1.0)
    lookahead.add(gather, "3", SMALL)
    lookahead.walk()
    assert lookahead.ahead.soon({}) == ()


def test_the_dag_is_not_walked_again_at_once(clock):
    first = FakeJob("first")
    second = FakeJob("second", [first])
    dag = FakeDag(first, second)
    lookahead = Lookahead(dag, clock, lambda job: SMALL)
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    dag.jobs.append(FakeJob("third", [second]))
    lookahead.walk()
    assert lookahead.ahead.later == 0
    clock.at_s += 60
    lookahead.walk()
    assert lookahead.ahead.later == 1


def test_resources_are_evaluated_once_per_rule_further_downstream(clock):
    asked = []
    first, second = FakeJob("first"), FakeJob("map")
    second.after = [first]
    thirds = [FakeJob("plot", [second]) for _ in range(5)]
    lookahead = look(clock, first, second, *thirds, class_of=lambda job: asked.append(job) or SMALL)
    lookahead.add(first, "1", SMALL)
    lookahead.walk()
    assert lookahead.ahead.later == 5
    assert lookahead.ahead.further == {SMALL: 5}
    assert len({job.name for job in asked}) == 3
    assert sum(job.name == "plot" for job in asked) == 1


def test_the_longest_chain_is_that_of_the_longest_runtimes(clock):
    kinds = {"long": JobClass(Shape(1, 500), 7200), "short": JobClass(Shape(1, 500), 60)}
    shorts = [FakeJob("short")]
    for _ in range(3):
        shorts.append(FakeJob("short", [shorts[-1]]))
    long = FakeJob("long", [shorts[0]])
    local = FakeJob("all", [long, shorts[-1]], is_local=True)
    dag = FakeDag(local, long, *shorts)
    lookahead = Lookahead(dag, clock, lambda job: kinds[job.name])
    lookahead.walk()
    assert lookahead.ahead.chain == {kinds["long"]: 1, kinds["short"]: 1}


def test_the_longest_chain_is_updated_after_a_tenth_of_the_jobs(clock):
    jobs = [FakeJob("job")]
    for _ in range(19):
        jobs.append(FakeJob("job", [jobs[-1]]))
    lookahead = look(clock, *jobs)
    for done, chain in ((0, 20), (1, 20), (2, 18), (3, 18), (4, 16)):
        for job in jobs[:done]:
            lookahead.finished(job, "", 1.0)
        clock.at_s += 60
        lookahead.walk()
        assert lookahead.ahead.chain == {SMALL: chain}


def test_after_a_job_comes_the_longest_chain_of_those_that_need_it(clock):
    half_hour = JobClass(Shape(1, 500), 3600)
    first, other, local = FakeJob("first"), FakeJob("other"), FakeJob("local", is_local=True)
    second = FakeJob("second", [first, local])
    third = FakeJob("third", [second, other])
    jobs = (third, first, other, local, second)
    lookahead = look(clock, *jobs, class_of=lambda job: half_hour)
    assert {job.name: lookahead.after_s(job) for job in jobs} == {
        "third": 0.0, "second": 1800.0, "other": 1800.0, "first": 3600.0, "local": 3600.0,
    }  # fmt: skip


def test_jobs_that_a_checkpoint_brings_have_their_chains_too(clock):
    dag = FakeDag(FakeJob("first"))
    lookahead = Lookahead(dag, clock, lambda job: SMALL)
    assert lookahead.after_s(dag.jobs[0]) == 0
    new = FakeJob("new")
    dag.jobs += [new, FakeJob("last", [new])]
    assert lookahead.after_s(new) == 600.0
