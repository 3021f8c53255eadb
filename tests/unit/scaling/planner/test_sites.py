"""Plans over the pilot types of several sites."""

from collections import Counter
from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.model.plan import Launch
from snakemake_executor_plugin_osgpilot.model.resources import (
    JobClass,
    Pilot,
    PilotState,
    PilotType,
    Policy,
    Shape,
    SiteLimits,
)
from snakemake_executor_plugin_osgpilot.model.snapshot import Gate, Snapshot
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import Estimates
from snakemake_executor_plugin_osgpilot.scaling.planner.planner import plan

SHAPE = Shape(4, 8000, 10**6)
A = PilotType("A:cpu/4c", SHAPE, (3600, 7200), site="A")
B = PilotType("B:cpu/4c", SHAPE, (3600, 7200), site="B")
MANY = {JobClass(Shape(1, 500)): 400}
FAST = Policy((A, B), pilots_max=12, cost_weight=0, launches_max=12, pending_max=100)


def launches(snapshot, policy=FAST, known=None):
    decided = plan(snapshot, known or Estimates(), policy)
    return Counter(a.offer[0] for a in decided.actions if isinstance(a, Launch))


def pilot(number, offer, state=PilotState.PENDING, **more):
    return Pilot(f"p{number}", SHAPE, state, offer.name, 3600, site=offer.site, **more)


def test_pilots_go_to_the_site_with_the_shortest_wait():
    known = Estimates(wait_hints_s={A.name: 3600.0, B.name: 0.0})
    assert launches(Snapshot(0.0, MANY), known=known) == {"B": 12}


def test_pilots_go_to_the_site_where_they_boot_soonest():
    known = Estimates(waits_s={A.name: (0.0,) * 50, B.name: (0.0,) * 50})
    assert launches(Snapshot(0.0, MANY), replace(FAST, launches_max=3), known) == {"A": 3}
    for _ in range(9):
        known = known.with_boot(900.0, "A").with_boot(60.0, "B")
    assert launches(Snapshot(0.0, MANY), replace(FAST, launches_max=3), known) == {"B": 3}


@pytest.mark.parametrize(("cost_weight", "site"), [(0, "A"), (0.5, "B"), (1, "B")])
def test_price_counts_as_much_as_the_cost_weight_says(cost_weight, site):
    policy = replace(FAST, offers=(replace(A, price=3.0), B), cost_weight=cost_weight)
    known = Estimates(wait_hints_s={A.name: 0.0, B.name: 600.0})
    (first, *_) = plan(Snapshot(0.0, {JobClass(Shape(1, 500)): 1}), known, policy).actions
    assert first.offer[0] == site


def test_cores_that_slurm_gives_beyond_the_request_count_as_price():
    policy = replace(FAST, offers=(replace(A, allocated_cores=128), B), cost_weight=0.5)
    assert not launches(Snapshot(0.0, MANY), policy)["A"]


def test_a_site_at_its_own_limit_leaves_the_rest_to_the_other():
    policy = replace(FAST, site_limits=(SiteLimits("A", pilots_max=2),))
    known = Estimates(wait_hints_s={A.name: 0.0, B.name: 3600.0})
    assert launches(Snapshot(0.0, MANY), policy, known) == {"A": 2, "B": 10}


def test_a_refusal_by_a_limit_of_a_site_names_the_site():
    own = tuple(SiteLimits(site, pilots_max=1) for site in "AB")
    decided = plan(Snapshot(0.0, MANY), Estimates(), replace(FAST, site_limits=own))
    assert {refusal.reason for refusal in decided.refusals} <= {
        "at most 1 pilot at a time at A", "at most 1 pilot at a time at B",
    }  # fmt: skip
    assert decided.refusals


def test_budget_of_a_site_counts_what_its_ended_pilots_took():
    spent = pilot(1, A, PilotState.DONE, started_s=-3600.0, ended_s=0.0)
    policy = replace(FAST, site_limits=(SiteLimits("A", core_s_max=5 * 3600.0),))
    known = Estimates(wait_hints_s={A.name: 0.0, B.name: 3600.0})
    assert launches(Snapshot(0.0, MANY, (spent,)), policy, known) == {"B": 12}


def test_each_site_has_a_queue_of_its_own_for_pending_pilots():
    policy = replace(FAST, pending_max=3)
    assert launches(Snapshot(0.0, MANY), policy) == {"A": 3, "B": 3}


def test_a_pilot_that_waits_longer_than_expected_sends_the_next_ones_elsewhere():
    known = Estimates(waits_s={A.name: (60.0,) * 9, B.name: (600.0,) * 9})
    policy = replace(FAST, launches_max=3)
    assert launches(Snapshot(5000.0, MANY), policy, known) == {"A": 3}
    stuck = pilot(1, A, asked_s=0.0)
    assert launches(Snapshot(5000.0, MANY, (stuck,)), policy, known) == {"B": 3}


def test_pilots_pending_at_a_silent_site_are_replaced_elsewhere_and_left_alone():
    pending = tuple(pilot(number, A) for number in range(4))
    closed = {A.name: Gate(0, "Slurm of A does not answer")}
    jobs = {JobClass(Shape(4, 500)): 4}
    seen = Snapshot(0.0, jobs, pending, gates=closed)
    assert not launches(seen), "they are expected to start"
    names = frozenset(each.name for each in pending)
    away = replace(seen, silent=frozenset("A"), unconfirmed=names)
    assert launches(away) == {"B": 4}
    assert len(plan(away, Estimates(), FAST).actions) == 4, "none is cancelled"


def test_pilots_of_a_silent_site_count_against_the_limits():
    pending = tuple(pilot(number, A) for number in range(10))
    names = frozenset(each.name for each in pending)
    away = Snapshot(0.0, MANY, pending, silent=frozenset("A"), unconfirmed=names)
    closed = replace(away, gates={A.name: Gate(0, "Slurm of A does not answer")})
    assert launches(closed) == {"B": 2}


def test_idle_pilots_of_a_silent_site_are_not_drained():
    idle = pilot(1, A, PilotState.READY, started_s=-900.0, ends_s=2700.0, unneeded_since_s=-800.0)
    seen = Snapshot(0.0, {}, (idle,))
    assert plan(seen, Estimates(), FAST).actions
    assert not plan(replace(seen, silent=frozenset("A")), Estimates(), FAST).actions
