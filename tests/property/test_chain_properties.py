"""The longest chain of jobs, computed from scratch or incrementally."""

from hypothesis import given
from hypothesis import strategies as st

from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Shape
from snakemake_executor_plugin_osgpilot.scaling.planner.critical_path import (
    chain_s,
    longest_after,
    longest_chain,
    prior_s,
)
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.simulator.critical_path import Chains
from snakemake_executor_plugin_osgpilot.simulator.model import CSR

CLASSES = [
    JobClass(Shape(cores, 500), runtime_s) for cores, runtime_s in ((1, 60), (1, 900), (2, 0))
]


@st.composite
def dags(draw):
    """Return the class of each job, and the numbers of the earlier jobs that it needs."""
    jobs = draw(st.integers(0, 12))
    kinds = draw(st.lists(st.integers(0, len(CLASSES) - 1), min_size=jobs, max_size=jobs))
    needs = [draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set() for n in range(jobs)]
    return kinds, needs


def length_s(kinds, needs, left):
    """The longest way through the jobs that are left, by trying all."""

    def ending_at(job):
        before = (ending_at(other) for other in needs[job] if other in left)
        return Estimates().runtime_s(CLASSES[kinds[job]]) + max(before, default=0.0)

    return max(map(ending_at, left), default=0.0)


@given(dags(), st.data())
def test_the_longest_chain_is_no_shorter_than_any_other(dag, data):
    kinds, needs = dag
    left = data.draw(st.sets(st.sampled_from(range(len(kinds)))) if kinds else st.just(set()))
    chain = longest_chain(left, needs.__getitem__, lambda job: CLASSES[kinds[job]])
    assert chain_s(chain, Estimates()) == length_s(kinds, needs, left)


@given(dags())
def test_in_a_simulation_it_is_the_same_all_along(dag):
    kinds, needs = dag
    chains = Chains(CLASSES, kinds.__getitem__, CSR.of(map(sorted, needs)).transposed())
    left = set(range(len(kinds)))
    for job in range(len(kinds)):
        assert chain_s(chains.longest(), Estimates()) == length_s(kinds, needs, left)
        chains.ended(job)
        left.discard(job)
    assert chains.longest() == {}


@given(dags())
def test_the_chain_after_a_job_is_that_of_the_simulation_without_the_job_itself(dag):
    kinds, needs = dag

    def own_s(job):
        return prior_s(CLASSES[kinds[job]])

    chains = Chains(CLASSES, kinds.__getitem__, CSR.of(map(sorted, needs)).transposed())
    after_s = longest_after(range(len(kinds)), needs.__getitem__, own_s)
    assert after_s == {job: chains.length_s(job) - own_s(job) for job in range(len(kinds))}
