"""Where rules go, and why: hints, settings and sizes to a place and the line that is printed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shared_examples import shared

from snakemake_executor_plugin_osgpilot.model.resources import JobClass, PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.routing.policy import (
    Hint,
    Offload,
    RuleFacts,
    Ways,
    Where,
    route,
)
from snakemake_executor_plugin_osgpilot.staging.slurm_resources import Ties

HOUR_S = 3600
NODE = PilotType("compute/16c", Shape(16, 64_000), (12 * HOUR_S,))
HALF = PilotType("compute/8c", Shape(8, 32_000), (12 * HOUR_S,))
BIG = PilotType("big/64c", Shape(64, 500_000, gpus=4), (48 * HOUR_S,))
SITE = Policy((NODE, HALF, BIG))
SMALL_SITE = Policy((NODE, HALF))

OSPOOL, SLURM, LOCAL = Where.OSPOOL, Where.SLURM, Where.LOCAL


def rule(jobs=4000, cores=1, memory_mb=2048, hours=0.5, gpus=0, **more):
    """A rule whose jobs may take twice as long as they are expected to."""
    runtime_s = int(2 * hours * HOUR_S)
    job_class = JobClass(Shape(cores, memory_mb, 0, gpus), runtime_s)
    core_s = jobs * cores * hours * HOUR_S
    return RuleFacts(jobs, frozenset({job_class}), core_s, runtime_s, **more)


def ways(offload=Offload.AUTO, fallback=SLURM, policy=SITE, **more):
    return Ways(policy, offload, fallback, **more)


AUTO, ALWAYS, NEVER = ways(), ways(Offload.ALWAYS), ways(Offload.NEVER)
TO_OSPOOL = "it sets ospool=True"
MPI, FEATURE = Ties(needs=("mpi", "tasks")), Ties(wishes=("constraint",))

DECISIONS = {
    # the setting of a whole workflow
    "everything goes to the OSPool if nothing else is said": (
        (rule(jobs=1), ALWAYS, OSPOOL, "1 job, up to 1 core-hour")
    ),
    "nothing goes there if that is said": (
        (rule(), NEVER, SLURM, "--osgpilot-offload never; 4,000 jobs, up to 4,000 core-hours")
    ),
    # that of a rule takes precedence
    "a rule may want the OSPool": (
        (rule(jobs=1, hint=Hint.YES), NEVER, OSPOOL, f"1 job, up to 1 core-hour; {TO_OSPOOL}")
    ),
    "a rule may not want it": (
        rule(hint=Hint.NO), ALWAYS, SLURM,
        "it sets ospool=False; 4,000 jobs, up to 4,000 core-hours",
    ),
    "a rule may want to be looked at": (
        (rule(hint=Hint.AUTO), NEVER, OSPOOL, "4,000 jobs, up to 4,000 core-hours")
    ),
    # too little work for pilots
    "one short job is not worth a pilot": (
        rule(jobs=1), AUTO, SLURM,
        "1 job, up to 1 core-hour, taken for 0.5 core-hours; "
        "pilots pay from 100 jobs or 4 core-hours (8 cores that boot)",
    ),
    "a few long jobs are": (
        (rule(jobs=4, hours=2), AUTO, OSPOOL, "4 jobs, up to 16 core-hours")
    ),
    "many short jobs are": (
        (rule(jobs=1000, hours=0.001), AUTO, OSPOOL, "1,000 jobs, up to 2 core-hours")
    ),
    "this machine takes what it can do before a pilot comes": (
        rule(jobs=4, hours=0.1), ways(fallback=LOCAL, local_cores=8), LOCAL,
        "4 jobs, up to 0.8 core-hours, taken for 0.4 core-hours; "
        "done here in 3 min, a pilot takes 18 min to come",
    ),
    "this machine does not take more": (
        (rule(jobs=40, hours=0.1), ways(fallback=LOCAL), OSPOOL, "40 jobs, up to 8 core-hours")
    ),
    "this machine takes nothing unasked": (
        rule(jobs=1), ways(fallback=LOCAL, takes_any=False), OSPOOL, "1 job, up to 1 core-hour"
    ),
    # more than suits the OSPool
    "much memory does not suit the OSPool": (
        rule(memory_mb=65536), AUTO, SLURM,
        "more than suits the OSPool: 65536 MB of memory (up to 40960)",
    ),
    "each excess is named": (
        rule(cores=32, hours=12, gpus=2, input_mb=20_000), AUTO, SLURM,
        "more than suits the OSPool: 32 cores (up to 8), 24 hours (up to 20), "
        "20000 MB of input (up to 10240), 2 GPUs (up to 1)",
    ),
    "our own pilots run it nevertheless if nothing is looked at": (
        (rule(memory_mb=65536), ALWAYS, OSPOOL, "4,000 jobs, up to 4,000 core-hours")
    ),
    "or if the rule wants it": (
        rule(memory_mb=65536, hint=Hint.YES), AUTO, OSPOOL,
        f"4,000 jobs, up to 4,000 core-hours; {TO_OSPOOL}",
    ),
    "or if there is no other place": (
        (rule(memory_mb=65536), ways(fallback=None), OSPOOL, "4,000 jobs, up to 4,000 core-hours")
    ),
    "what only HTCondor honours keeps a rule there": (
        rule(jobs=1, tied_to="container_image"), AUTO, OSPOOL,
        "1 job, up to 1 core-hour; for its container_image",
    ),
    # jobs that no pilot can run
    "what no pilot can run goes elsewhere": (
        rule(cores=32, hours=1), ways(Offload.ALWAYS, policy=SMALL_SITE), SLURM,
        "no pilot can run it: it needs 32 cores, 2048 MB, 120 min; the nearest pilot "
        "(compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 16 cores",
    ),
    "unless the rule insists": (
        rule(memory_mb=90_000, hint=Hint.YES), ways(policy=SMALL_SITE), None,
        "it sets ospool=True, but no pilot can run it: it needs 1 core, 90000 MB, 60 min; the "
        "nearest pilot (compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 26000 MB of "
        "memory",
    ),
    "or runs too long": (
        rule(hours=10, hint=Hint.YES), ways(policy=SMALL_SITE), None,
        "it sets ospool=True, but no pilot can run it: it needs 1 core, 2048 MB, 1200 min; the "
        "nearest pilot (compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 491 min of life",
    ),
    "or there is no other place": (
        rule(gpus=1), ways(Offload.ALWAYS, None, SMALL_SITE), None,
        "no pilot can run it: it needs 1 core, 2048 MB, 1 GPU, 60 min; the nearest pilot "
        "(compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 1 GPU",
    ),
    "or the other place is this machine, which nobody named": (
        rule(gpus=1), ways(fallback=LOCAL, takes_any=False, policy=SMALL_SITE), None,
        "no pilot can run it: it needs 1 core, 2048 MB, 1 GPU, 60 min; the nearest pilot "
        "(compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 1 GPU; install "
        "snakemake-executor-plugin-slurm to run it as plain Slurm jobs, or set ospool=False "
        "to run it on this machine",
    ),
    "or it has what only HTCondor honours": (
        rule(gpus=1, tied_to="container_image"), ways(policy=SMALL_SITE), None,
        "no pilot can run it: it needs 1 core, 2048 MB, 1 GPU, 60 min; the nearest pilot "
        "(compute/16c: 16 cores, 64000 MB, 710 min for jobs) lacks 1 GPU; it has "
        "container_image, which is for pilots: set ospool=False to run it without",
    ),
    "a rule that wants none of that says so": (
        rule(gpus=1, tied_to="container_image", hint=Hint.NO), ways(policy=SMALL_SITE), SLURM,
        "it sets ospool=False; 4,000 jobs, up to 4,000 core-hours; without its "
        "container_image, which is for pilots",
    ),
    "a rule that asks for it runs on this machine": (
        rule(jobs=1, hint=Hint.NO), ways(fallback=LOCAL, takes_any=False), LOCAL,
        "it sets ospool=False; 1 job, up to 1 core-hour",
    ),
    "a rule cannot leave where there is no other place": (
        rule(hint=Hint.NO), ways(fallback=None), None,
        "it sets ospool=False, but --osgpilot-fallback none allows only the OSPool",
    ),
    # requests that only Slurm can grant
    "jobs of several processes go to Slurm": (
        rule(jobs=150, slurm=MPI), ALWAYS, SLURM,
        "for its mpi and tasks; 150 jobs, up to 150 core-hours",
    ),
    "even if a rule insists": (
        rule(slurm=MPI, hint=Hint.YES), ALWAYS, None,
        "it sets ospool=True, but only plain Slurm jobs can have its mpi and tasks",
    ),
    "or there is no Slurm": (
        rule(slurm=MPI), ways(fallback=None), None,
        "only plain Slurm jobs can have its mpi and tasks, but --osgpilot-fallback none allows "
        "only the OSPool",
    ),
    "or nobody named this machine": (
        rule(slurm=MPI), ways(fallback=LOCAL, takes_any=False), None,
        "only plain Slurm jobs can have its mpi and tasks; install "
        "snakemake-executor-plugin-slurm, or set ospool=False to run it on this machine",
    ),
    "or it has what only HTCondor honours as well": (
        rule(slurm=MPI, tied_to="container_image"), ALWAYS, None,
        "only plain Slurm jobs can have its mpi and tasks, and only pilots its container_image: "
        "set ospool=False to run it without container_image",
    ),
    "what the nodes of pilots may lack goes to Slurm": (
        rule(jobs=2, slurm=FEATURE), ALWAYS, SLURM,
        "for its constraint; 2 jobs, up to 2 core-hours",
    ),
    "unless the rule wants the OSPool": (
        rule(jobs=2, slurm=FEATURE, hint=Hint.YES), ALWAYS, OSPOOL,
        "2 jobs, up to 2 core-hours; it sets ospool=True; without its constraint, for plain Slurm "
        "jobs alone",
    ),
    "or there are no plain Slurm jobs": (
        rule(jobs=2, slurm=FEATURE), ways(Offload.ALWAYS, fallback=LOCAL), OSPOOL,
        "2 jobs, up to 2 core-hours; without its constraint, for plain Slurm jobs alone",
    ),
    "a queue of Slurm keeps nothing from the OSPool": (
        rule(jobs=2, slurm=Ties(queues=("slurm_account", "qos"))), ALWAYS, OSPOOL,
        "2 jobs, up to 2 core-hours; without its slurm_account and qos, for plain Slurm jobs alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECISIONS)
def test_decisions(name):
    facts, given_ways, where, reason = DECISIONS[name]
    decided = route(facts, given_ways)
    assert (decided.where, decided.reason) == (where, reason)


classes = st.builds(
    JobClass,
    st.builds(Shape, st.integers(1, 80), st.integers(128, 600_000), st.just(0), st.integers(0, 5)),
    st.integers(0, 60 * HOUR_S),
)
facts = st.builds(
    RuleFacts,
    st.integers(1, 10_000),
    st.frozensets(classes, min_size=1, max_size=4),
    st.floats(1, 1e9),
    st.integers(0, 60 * HOUR_S),
    st.floats(0, 1e6),
    st.sampled_from(["", "container_image"]),
    st.sampled_from([None, *Hint]),
)
any_ways = st.builds(
    Ways,
    st.sampled_from([SITE, SMALL_SITE]),
    st.sampled_from(Offload),
    st.sampled_from([None, SLURM, LOCAL]),
    st.booleans(),
    st.integers(1, 64),
)


of_rules = shared(facts, any_ways)


@of_rules
def test_a_hint_is_followed_or_rejected_and_never_ignored(rule_facts, given_ways):
    where = route(rule_facts, given_ways).where
    if rule_facts.hint is Hint.YES:
        assert where in (OSPOOL, None)
    if rule_facts.hint is Hint.NO:
        assert where == given_ways.fallback


@of_rules
def test_jobs_go_only_where_the_user_lets_them(rule_facts, given_ways):
    where = route(rule_facts, given_ways).where
    assert where in (OSPOOL, given_ways.fallback, None)
    asked = rule_facts.hint is Hint.NO or (
        rule_facts.hint is None and given_ways.offload is Offload.NEVER
    )
    if where is not OSPOOL and where is not None and not asked:
        assert given_ways.takes_any
        assert not rule_facts.tied_to


@given(facts, any_ways, st.integers(2, 100))
def test_more_jobs_never_take_a_rule_out_of_the_ospool(rule_facts, given_ways, times):
    few = rule_facts
    many = RuleFacts(
        few.jobs * times, few.classes, few.core_s * times,
        few.runtime_s, few.input_mb, few.tied_to, few.hint,
    )  # fmt: skip
    if route(few, given_ways).where is OSPOOL:
        assert route(many, given_ways).where is OSPOOL
