"""For any unsent jobs and any room, the room is used up and shared."""

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.start_failures import (
    CALM_MAX,
    EXCEPTIONS_MAX,
    WINDOW_S,
    StartFailureLimiter,
)
from snakemake_executor_plugin_osgpilot.jobs.state.submission import shares, without
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape

REQUESTS = [Request(JobClass(Shape(cores, 500))) for cores in range(1, 5)]
NUMBERS = st.lists(st.integers(0, 30), min_size=4, max_size=4)


@given(NUMBERS, NUMBERS, st.integers(0, 150))
def test_room_is_used_up_and_shared(unsent_numbers, queued_numbers, room):
    unsent = {
        request: [f"{request.job_class.shape.cores}-{n}" for n in range(count)]
        for request, count in zip(REQUESTS, unsent_numbers, strict=True)
        if count
    }
    queued = dict(zip(REQUESTS, queued_numbers, strict=True))
    taken = shares(unsent, queued, room)
    keys = [key for each in unsent.values() for key in each]

    assert sum(map(len, taken.values())) == min(room, len(keys))
    assert all(unsent[request][: len(each)] == each for request, each in taken.items())
    rest = without(keys, taken)
    assert sorted(rest + [key for each in taken.values() for key in each]) == sorted(keys)
    for request, each in taken.items():
        there = queued[request] + len(each)
        held_back = [r for r in unsent if len(taken.get(r, [])) < len(unsent[r])]
        assert all(queued[r] + len(taken.get(r, [])) >= there - 1 for r in held_back)


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
