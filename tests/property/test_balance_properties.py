"""Heavy jobs keep apart in the simulator as they do by what is submitted, and not for ever."""

import time

import classad2
from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.htcondor.submit_description import requirements
from snakemake_executor_plugin_osgpilot.model.memory_balance import (
    CORES_KEPT_S,
    apart,
    is_heavy,
    may_start_beside,
    weight,
)
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape

shapes = st.builds(Shape, st.integers(1, 16), st.integers(0, 70_000))
pilots = st.builds(Shape, st.integers(1, 64), st.integers(1, 256_000))


@st.composite
def rooms(draw):
    """A pilot, and what is free on it."""
    pilot = draw(pilots)
    return pilot, Shape(draw(st.integers(0, pilot.cores)), draw(st.integers(0, pilot.memory_mb)))


def may_start(shape, pilot, free, *, keeps_apart=True, quiet_s=0.0):
    job = classad2.ClassAd({"RequestCpus": shape.cores, "RequestMemory": shape.memory_mb})
    job["OSGPilotApart"] = keeps_apart
    slot = {
        "TotalSlotCpus": pilot.cores,
        "TotalSlotMemory": pilot.memory_mb,
        "Cpus": free.cores,
        "Memory": free.memory_mb,
        "NumDynamicSlotsTime": int(time.time() - quiet_s),
    }
    return classad2.ExprTree(requirements(0)).eval(scope=job, target=classad2.ClassAd(slot))


@given(shapes, rooms())
def test_what_is_submitted_and_what_is_simulated_are_the_same(shape, room):
    assert may_start(shape, *room) is may_start_beside(shape, *room)


@given(shapes, rooms())
def test_no_core_is_kept_for_long_and_none_where_nobody_wants_it(shape, room):
    assert may_start(shape, *room, quiet_s=CORES_KEPT_S + 60)
    assert may_start(shape, *room, keeps_apart=False)


@given(shapes, pilots)
def test_every_job_may_start_on_an_empty_pilot(shape, pilot):
    assert may_start_beside(shape, pilot, pilot)


@given(shapes, pilots)
def test_a_slot_that_is_claimed_already_takes_the_next_job_of_its_kind(shape, pilot):
    if shape.memory_mb:
        assert may_start(shape, shape, shape)


@given(shapes, pilots)
def test_a_job_weighs_its_cores_and_more_only_if_it_is_heavy(shape, pilot):
    assert weight(shape, pilot) >= shape.cores
    assert (weight(shape, pilot) > shape.cores) <= is_heavy(shape, pilot)


demands = st.dictionaries(st.builds(JobClass, shapes), st.integers(0, 100), max_size=6)


@given(demands, pilots, st.booleans())
def test_jobs_keep_apart_only_while_both_kinds_wait(waiting, pilot, before):
    heavy = {c: n for c, n in waiting.items() if n and is_heavy(c.shape, pilot)}
    light = {c: n for c, n in waiting.items() if n and not is_heavy(c.shape, pilot)}
    assert apart(waiting, pilot, before=before) <= bool(heavy and light)
    assert not apart(heavy, pilot, before=before)
    assert not apart(light, pilot, before=before)
