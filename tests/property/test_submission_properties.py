"""For any unsent jobs and any room, the room is used up and shared."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.bundling import Bundler, Kind
from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.priorities import JobPriorities
from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import (
    CALM_MAX,
    EXCEPTIONS_MAX,
    WINDOW_S,
    StartFailureLimiter,
)
from snakemake_executor_plugin_osgpilot.jobs.state.submission import SubmitQueue, shares
from snakemake_executor_plugin_osgpilot.jobs.state.table import JobTable
from snakemake_executor_plugin_osgpilot.model.job_order import Outlook
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.model.runtime_by_size import RuntimesBySize

REQUESTS = [Request(JobClass(Shape(cores, 500))) for cores in range(1, 5)]
NUMBERS = st.lists(st.integers(0, 30), min_size=4, max_size=4)


@given(NUMBERS, NUMBERS, st.integers(0, 150))
def test_room_is_used_up_and_shared(unsent_numbers, queued_numbers, room):
    unsent = dict(zip(map(Kind, REQUESTS), unsent_numbers, strict=True))
    queued = dict(zip(REQUESTS, queued_numbers, strict=True))
    taken = shares(unsent, queued, room)

    assert sum(taken.values()) == min(room, sum(unsent.values()))
    assert all(0 < count <= unsent[kind] for kind, count in taken.items())
    for kind, count in taken.items():
        there = queued[kind.request] + count
        held_back = [other for other in unsent if taken.get(other, 0) < unsent[other]]
        assert all(queued[k.request] + taken.get(k, 0) >= there - 1 for k in held_back)


@given(
    st.lists(
        st.tuples(st.sampled_from(REQUESTS), st.sampled_from("ab"), st.booleans(), st.floats(0, 9)),
        max_size=60,
    ),
    st.integers(1, 70),
    st.integers(0, 9),
)
def test_each_job_is_taken_once_and_only_jobs_of_one_kind_together(jobs, room, fails):
    table = JobTable()
    priorities = JobPriorities(table, REQUESTS[-1].job_class.shape, RuntimesBySize())
    queue = SubmitQueue(table, Bundler(table, Shape(4, 9999), all_now=True), priorities)
    queue.add(
        table.put(Job(f"{n:02}", rule, request, bundle_s=60.0 * short, outlook=Outlook(after_s)))
        for n, (request, rule, short, after_s) in enumerate(jobs)
    )
    for job in list(table)[:: fails or 99]:
        table.put(replace(job, state=JobState.REMOVED))
        queue.has_failed = True
    good = {job.key for job in table if job.state is JobState.PREPARED}
    for rule in "ab":
        # jobs that took no time: it is known that all are short
        table.rules[rule].done = 1
    taken: list[str] = []
    for _ in range(len(jobs) + 1):
        batches = queue.take(room, 0.0)
        for kind, parts in batches:
            own = [table[key] for keys in parts for key in keys]
            assert all(job.request == kind.request for job in own)
            assert all(job.rule == kind.rule for job in own if kind.bundle_s)
            assert kind.bundle_s or all(len(keys) == 1 for keys in parts)
            taken += [job.key for job in own]
        assert sum(len(keys) for _, parts in batches for keys in parts) <= room
    assert sorted(taken) == sorted(good)
    assert not len(queue)


@given(st.lists(st.tuples(st.floats(0, 5000), st.booleans()), max_size=80))
def test_limiter_is_on_from_many_failures_to_few(story):
    limiter, struck, now_s, on = StartFailureLimiter(), [], 0.0, False
    for step_s, again in story:
        now_s += step_s / 50
        if again:
            struck.append(now_s)
            limiter = limiter.after_failure(now_s)
        limiter = limiter.at(now_s)
        recent = sum(now_s - at_s < WINDOW_S for at_s in struck)
        on = recent >= EXCEPTIONS_MAX or (on and recent > CALM_MAX)
        assert limiter.on == on
