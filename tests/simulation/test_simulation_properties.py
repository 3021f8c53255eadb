"""Laws of whole simulated runs: all jobs end, limits hold, no core-millisecond is lost."""

import random
from array import array
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st
from workloads import FOUR_CORES, LARGE, ONE_CORE, SMALL, workload

from snakemake_executor_plugin_osgpilot.model.resources import Policy, Shape
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan
from snakemake_executor_plugin_osgpilot.scaling_study.lower_bounds import limits
from snakemake_executor_plugin_osgpilot.scaling_study.policies.base import Ask, Look, Rule, Verdict
from snakemake_executor_plugin_osgpilot.simulator.model import (
    Charged,
    Faults,
    OtherJob,
    Outage,
    Site,
    Spread,
    Step,
    Waits,
)
from snakemake_executor_plugin_osgpilot.simulator.world import World, run

STEPS = (ONE_CORE, FOUR_CORES, Step("claims nothing", Shape(2, 3000)))


@st.composite
def workloads(draw):
    """Up to 60 jobs; each waits for up to three of those before it."""
    jobs = []
    for job in range(draw(st.integers(1, 60))):
        parents = draw(st.sets(st.integers(0, job - 1), max_size=3)) if job else set()
        jobs.append((draw(st.integers(0, 2)), draw(st.floats(0, 590, width=32)), sorted(parents)))
    late_s = st.lists(st.floats(0, 4000, width=32), min_size=len(jobs), max_size=len(jobs))
    return workload(STEPS, jobs, draw(st.one_of(st.none(), late_s)))


others = st.builds(
    OtherJob,
    st.floats(0, 3000),
    st.integers(1, 64),
    st.floats(10, 3000),
    st.sampled_from((3000, 6000)),
    st.integers(1, 3),
)
faults = st.builds(
    Faults,
    failed_starts=st.sampled_from((0.0, 0.1)),
    outages=st.sampled_from(((), (Outage(0, 600),), (Outage(900, 1500),))),
    preemptions_per_h=st.sampled_from((0.0, 1.0)),
    node_failures_per_h=st.sampled_from((0.0, 0.5)),
    stragglers=st.sampled_from((0.0, 0.2)),
    straggler_factor=st.just(2.0),
)
sites = st.builds(
    Site,
    st.just("any"),
    st.just((SMALL, LARGE)),
    nodes=st.integers(2, 6),
    node_shape=st.just(Shape(16, 64_000)),
    background=st.lists(others, max_size=8).map(tuple),
    waits=st.one_of(st.none(), st.floats(0, 2000).map(Waits)),
    fair_share=st.booleans(),
    backfill=st.booleans(),
    boot=st.builds(Spread, st.floats(0, 300), st.floats(0, 0.5)),
    negotiation_s=st.floats(1, 60),
    start_s=st.floats(0, 5),
    faults=faults,
)
policies = st.builds(
    Policy,
    st.just((SMALL, LARGE)),
    pilots_max=st.integers(1, 12),
    pending_max=st.integers(1, 12),
    cores_max=st.sampled_from((None, 32)),
    cost_weight=st.floats(0, 1),
)
seeds = st.integers(0, 100)


@settings(max_examples=20, deadline=None)
@given(workloads(), sites, policies, seeds)
def test_every_job_ends_within_the_limits_and_no_core_millisecond_is_lost(jobs, site, policy, seed):
    told = run(jobs, site, plan, policy, seed)

    assert (told.jobs_left, told.stopped) == (0, "")
    _limits_hold(told, policy)
    _adds_up(told)
    if not site.faults.stragglers:
        needed = zip(jobs.step_of, jobs.runtime_s, strict=True)
        useful = sum(
            STEPS[step].shape.cores * max(1, round(1000 * runtime_s)) for step, runtime_s in needed
        )
        assert told.charged.useful == useful


def _adds_up(told):
    """The charge is the cores and time of all pilots, and each part of it has a use."""
    for pilot in told.pilots:
        lasted_ms = 0
        if pilot.started_s is not None:
            lasted_ms = round(1000 * pilot.ended_s) - round(1000 * pilot.started_s)
            assert lasted_ms <= 1000 * pilot.walltime_s
        assert pilot.charged.core_ms == pilot.cores * lasted_ms
        assert all(part >= 0 for part in pilot.charged.parts())
    assert told.charged == sum((pilot.charged for pilot in told.pilots), Charged())


def _limits_hold(told, policy):
    changes = []
    for pilot in told.pilots:
        changes += [(pilot.asked_s, 1, pilot.cores), (pilot.ended_s, -1, -pilot.cores)]
    pilots = cores = 0
    for _, more_pilots, more_cores in sorted(changes):
        pilots, cores = pilots + more_pilots, cores + more_cores
        assert pilots <= policy.pilots_max
        assert policy.cores_max is None or cores <= policy.cores_max
    assert (pilots, cores) == (0, 0)


@settings(max_examples=8, deadline=None)
@given(workloads(), sites, policies, seeds, st.floats(10_000, 500_000))
def test_the_budget_is_never_exceeded(jobs, site, policy, seed, core_s_max):
    bounded = Policy(
        policy.offers, policy.pilots_max, policy.pending_max, policy.cores_max, core_s_max,
        policy.cost_weight,
    )  # fmt: skip
    told = run(jobs, site, plan, bounded, seed)

    assert told.charged_core_s <= core_s_max
    _adds_up(told)
    assert not told.jobs_left or "budget" in told.stopped


@settings(max_examples=5, deadline=None)
@given(workloads(), sites, policies, seeds)
def test_a_seed_gives_the_same_run_again(jobs, site, policy, seed):
    assert run(jobs, site, plan, policy, seed) == run(jobs, site, plan, policy, seed)


@dataclass
class Whim(Rule):
    """Asks for pilots of any kind and lets them go again as it likes."""

    rng: random.Random = field(default_factory=random.Random)

    def decide(self, look: Look) -> Verdict:
        offers = look.policy.offers
        offer = self.rng.choice(offers)
        pilots = self.rng.choice((0, 1, 3, 12))
        surplus = [pilot for pilot in look.live if self.rng.random() < 0.03]
        if not look.live:
            offer, pilots = offers[1], max(1, pilots)
        return Verdict((Ask(offer, self.rng.choice(offer.walltimes_s), pilots),), tuple(surplus))


@settings(max_examples=25, deadline=None)
@given(workloads(), sites, policies, seeds, seeds)
def test_no_whim_beats_the_bounds(jobs, site, policy, seed, whim):
    bound = limits(jobs, site, policy, seed)
    told = run(jobs, site, Whim(SMALL, 3600, random.Random(whim)), policy, seed)

    _adds_up(told)
    assert bound.any_order_s <= bound.makespan_s
    # a time of arrival is rounded to milliseconds
    assert told.jobs_left or told.makespan_s >= bound.makespan_s - 0.001
    assert told.jobs_left or told.charged_core_s >= bound.charged_core_s * (1 - 1e-6)


class Watched(World):
    """A world that remembers what the planner was shown, and when each job first ended or was cut
    short.
    """

    def __init__(self, jobs, site, policy, seed):
        self.shown, self.over_s = [], {}
        super().__init__(jobs, site, self._plan, policy, seed)

    def _plan(self, snapshot, estimates, policy):
        self.shown.append((snapshot, estimates, policy))
        return plan(snapshot, estimates, policy)

    def job_ended(self, job, number, runtime_ms):
        self.over_s.setdefault(job, self.clock.now / 1000)
        super().job_ended(job, number, runtime_ms)

    def pilot_ended(self, pilot, lost, seen, state):
        for job in lost:
            self.over_s.setdefault(job, self.clock.now / 1000)
        super().pilot_ended(pilot, lost, seen, state)


@settings(max_examples=25, deadline=None)
@given(workloads(), sites, policies, seeds, st.data())
def test_a_planner_is_shown_nothing_of_runtimes_before_jobs_have_ended(
    jobs, site, policy, seed, data
):
    """No oracle: until one of them ends, jobs of ours and of others may take any other time."""
    changed = data.draw(st.sets(st.integers(0, len(jobs) - 1), min_size=1, max_size=3))
    factor = data.draw(st.sampled_from((0.3, 3.0)))
    other_s = [r * factor + 1 if n in changed else r for n, r in enumerate(jobs.runtime_s)]
    # Slurm knows only the walltime of others' jobs
    others = tuple(job._replace(runtime_s=job.runtime_s + 200) for job in site.background)
    worlds = (
        Watched(jobs, site, policy, seed),
        Watched(
            replace(jobs, runtime_s=array("d", other_s)),
            replace(site, background=others),
            policy,
            seed,
        ),
    )
    for world in worlds:
        world.run()
    ends_s = [world.over_s.get(job, float("inf")) for world in worlds for job in changed]
    # none of the others can have ended before
    ends_s += [job.submit_s + min(job.runtime_s, job.walltime_s) for job in site.background]
    before = [[told for told in world.shown if told[0].now_s < min(ends_s)] for world in worlds]
    assert before[0] == before[1]
    assert before[0]
