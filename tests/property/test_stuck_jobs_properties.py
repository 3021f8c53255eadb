"""A job counts as stuck only after minutes in which looks at pilots showed room for it."""

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job, JobState
from snakemake_executor_plugin_osgpilot.jobs.state.stuck_jobs import (
    BACK_OFF_FACTOR,
    GAP_S,
    REMATCHES_MAX,
    STUCK_AFTER_S,
    CapacityHistory,
    RematchCount,
    overdue,
)
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    Request,
    Shape,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Running, Snapshot

CLASS = JobClass(Shape(2, 500))
LOOKS = st.lists(
    st.tuples(
        st.sampled_from([3.0, 20.0, GAP_S, GAP_S + 1, 600.0]),  # since the look before
        st.tuples(st.integers(0, 4), st.integers(0, 4)),  # cores that are free on each pilot
        st.booleans(),  # a job has started on the first one meanwhile
        st.booleans(),  # the job waits
    ),
    max_size=40,
)


def pilot(name):
    return Pilot(name, Shape(4, 3800), PilotState.READY, ends_s=1e9)


def busy(free):
    return (Running(JobClass(Shape(1, 500)), 4 - free, 0.0),) if free < 4 else ()


@given(LOOKS, st.integers(0, REMATCHES_MAX + 1), st.floats(0, 2000), st.floats(0, 3000))
def test_overdue_job_had_room_all_that_time(looks, times, since_s, unknown_s):
    capacity, now_s, started_s = CapacityHistory(), 1000.0, {}
    seen = []  # times between two looks that showed the same pilot with room
    had, could = set(), False
    for gap_s, free, started, waits in looks:
        before_s, now_s = now_s, now_s + gap_s
        if started:
            started_s = {"p0": now_s - gap_s / 2}
        running = {f"p{n}": busy(cores) for n, cores in enumerate(free)}
        snapshot = Snapshot(now_s, {CLASS: 1} if waits else {}, (pilot("p0"), pilot("p1")), running)
        capacity = capacity.after(snapshot, started_s)
        has = {f"p{n}" for n, cores in enumerate(free) if cores >= 2} if waits else set()
        if not waits:
            seen = []
        if has & had and could and gap_s <= GAP_S:
            seen.append((before_s, now_s))
        if started and "p0" in has | had:
            cut_s = started_s["p0"]
            seen = [(max(a, cut_s), b) for a, b in seen if b > cut_s]
        had, could = has, waits
    job = Job("a", "r", Request(CLASS), state=JobState.WAITING, job_id="1.0", since_s=since_s)
    known_s = now_s - unknown_s
    time_s = sum(max(0.0, min(b, known_s) - max(a, since_s)) for a, b in seen)
    found = overdue([job], capacity, {"a": RematchCount(times, 0.0)}, known_s)
    if found:
        assert time_s >= STUCK_AFTER_S * BACK_OFF_FACTOR**times
        assert times < REMATCHES_MAX
        assert found["a"] >= since_s
    elif times < REMATCHES_MAX:
        assert time_s < STUCK_AFTER_S * BACK_OFF_FACTOR**times
