"""Offers that share a breaker until their pilots were of use, and nodes that are left out."""

from itertools import count

import pytest

from snakemake_executor_plugin_osgpilot.model.resources import Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import (
    BAD_NODES_MAX,
    FAILURES_MAX,
    GIVE_UP_AFTER_S,
    NODE_STRIKES_MAX,
    OUTLIVES_BY,
    OUTLIVES_MIN_S,
    PROBE_AFTER_MAX_S,
    PROBE_AFTER_S,
)
from snakemake_executor_plugin_osgpilot.pilots.state.inventory import PilotInventory
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import PilotObservations, Row, Seen

OFFERS = ("a", "b", "c")
DUE_S = 2 * PROBE_AFTER_S
"""After the first failures, by then it is everybody's turn."""


class Site:
    """A roster and what Slurm tells it."""

    def __init__(self, *, shared=False):
        self.roster = PilotInventory(OFFERS, lambda: 1.0, shared=shared)
        self.rows = {}
        self._number = count(1)

    def ask(self, offer, pilots=1):
        """Have Slurm take pilots; return their names."""
        names = [f"p{next(self._number)}" for _ in range(pilots)]
        for name in names:
            shape = Shape(4, 4000)
            self.roster.put(Pilot(name, shape, PilotState.PENDING, offer, allocation_id=name))
            self.rows[name] = Row(name, name, Seen.QUEUED)
        return names

    def tell(self, names, seen, now_s, **more):
        """Have a look at pilots that changed."""
        self.rows |= {name: Row(name, name, seen, **more) for name in names}
        self.roster.look(
            self.rows, PilotObservations(jobs_wait=True), lambda name: "no luck", now_s
        )

    def fail(self, offer, now_s, nodes=("n1", "n2", "n3", "n4")):
        for node in nodes:
            self.tell(self.ask(offer), Seen.FAILED, now_s, node=node)

    def serve(self, offer):
        self.roster.note_served(self.ask(offer))

    def room(self, offer, now_s):
        """Return how many pilots of `offer` may be asked for, None if any number."""
        gate = self.roster.gates(now_s).get(offer)
        return None if gate is None else max(0, gate.launches_max)


@pytest.fixture
def here():
    return Site()


def test_failures_of_unproven_types_count_together(here):
    here.fail("a", 0.0, ["n1", "n2"])
    here.fail("b", 0.0, ["n3", "n4"])
    assert [here.room(offer, 1.0) for offer in OFFERS] == [0, 0, 0]
    assert "4 consecutive pilots" in here.roster.gates(1.0)["c"].reason


def test_unproven_type_gets_one_probe_while_others_fail(here):
    here.fail("a", 0.0)
    assert here.room("b", DUE_S) == 1
    started = here.ask("b")
    assert here.room("b", DUE_S) == 0
    here.tell(started, Seen.RUNNING, DUE_S, started_s=DUE_S)
    assert here.room("c", DUE_S) == 0, "one at a time, of any offer"


def test_one_pilot_of_use_clears_the_site(here):
    here.fail("a", 0.0)
    here.serve("b")
    assert [here.room(offer, 1.0) for offer in OFFERS] == [None, None, None]


def test_working_type_is_unaffected_by_failing_types(here):
    here.serve("b")
    here.fail("a", 0.0)
    assert [here.room(offer, 1.0) for offer in OFFERS] == [0, None, 0]
    assert here.roster.held_back(1.0) == ("a", "c")


def test_type_that_stops_working_opens_the_shared_breaker(here):
    here.serve("b")
    here.fail("b", 0.0)
    assert [here.room(offer, 1.0) for offer in OFFERS] == [0, 0, 0]


def test_all_offers_have_their_turn_at_being_tried(here):
    """The smallest is not tried indefinitely while another would work."""
    here.fail("a", 0.0)
    now_s, tried = 0.0, []
    while len(tried) < 6:
        now_s += 1.0
        willing = [offer for offer in OFFERS if here.room(offer, now_s)]
        if willing:
            tried.append(willing[0])
            here.fail(willing[0], now_s, ["n1"])
    assert tried == ["b", "c", "a", "b", "c", "a"]


def test_only_suitable_type_is_probed_out_of_turn(here):
    here.fail("a", 0.0)
    assert here.room("a", PROBE_AFTER_S + 1) == 0
    assert here.room("a", DUE_S) == 1


def test_nobody_is_held_back_before_a_pilot_has_failed(here):
    here.tell(here.ask("a", 20), Seen.RUNNING, 0.0, started_s=0.0)
    assert here.roster.held_back(1.0) == ()


def test_after_a_failure_no_more_start_than_it_takes_to_know(here):
    here.ask("a", 20)
    here.fail("b", 0.0, ["n1"])
    assert here.roster.held_back(1.0) == (), "waiting jobs cost nothing"
    here.tell(["p1", "p2"], Seen.RUNNING, 1.0, started_s=1.0)
    assert here.roster.held_back(1.0) == ()
    here.tell(["p3"], Seen.RUNNING, 2.0, started_s=2.0)
    assert here.roster.held_back(2.0) == OFFERS
    here.roster.note_served(["p1"])
    assert here.roster.held_back(3.0) == ()


def test_a_try_is_one_pilot_although_many_wait(here):
    waiting = here.ask("a", 20)
    here.fail("a", 0.0)
    assert here.roster.held_back(1.0) == OFFERS
    assert here.roster.held_back(DUE_S) == ()
    here.tell(waiting[:1], Seen.RUNNING, DUE_S, started_s=DUE_S)
    assert here.roster.held_back(DUE_S) == OFFERS


def probe_beside_failures(here, lasted_s):
    """Have pilots fail after `lasted_s`; return a probe that has started since, and when."""
    names = here.ask("a", FAILURES_MAX)
    for name in names:
        here.tell([name], Seen.RUNNING, 0.0, started_s=0.0)
        here.tell([name], Seen.FAILED, lasted_s, started_s=0.0, ends_s=lasted_s, node=name)
    probe, start_s = here.ask("a"), lasted_s + DUE_S
    here.tell(probe, Seen.RUNNING, start_s, started_s=start_s)
    return probe, start_s


def test_probe_that_outlives_the_failed_ones_lets_others_be_requested_and_start(here):
    _, start_s = probe_beside_failures(here, 100.0)
    soon_s, later_s = start_s + OUTLIVES_BY * 100.0, start_s + OUTLIVES_BY * 100.0 + 1.0
    assert [here.room(offer, soon_s) for offer in OFFERS] == [0, 0, 0]
    assert here.roster.held_back(soon_s) == OFFERS
    assert [here.room(offer, later_s) for offer in OFFERS] == [None, None, None]
    assert here.roster.held_back(later_s) == ()


def test_probe_outlives_pilots_that_failed_at_once_no_sooner_than_an_early_end_shows(here):
    _, start_s = probe_beside_failures(here, 1.0)
    assert here.room("a", start_s + OUTLIVES_MIN_S) == 0
    assert here.room("a", start_s + OUTLIVES_MIN_S + 1.0) is None


def test_probe_that_fails_late_closes_the_gate_again(here):
    """The next one has to last longer than it did."""
    probe, start_s = probe_beside_failures(here, 100.0)
    failed_s = start_s + 300.0
    here.tell(probe, Seen.FAILED, failed_s, started_s=start_s, ends_s=failed_s, node="n9")
    assert [here.room(offer, failed_s + 1.0) for offer in OFFERS] == [0, 0, 0]
    start_s = failed_s + 10 * PROBE_AFTER_S
    here.tell(here.ask("b"), Seen.RUNNING, start_s, started_s=start_s)
    assert here.room("a", start_s + OUTLIVES_BY * 100.0 + 1.0) == 0
    assert here.room("a", start_s + OUTLIVES_BY * 300.0 + 1.0) is None


def test_pilot_that_started_before_the_last_failure_is_no_evidence(here):
    here.tell(here.ask("b"), Seen.RUNNING, 0.0, started_s=0.0)
    names = here.ask("a", FAILURES_MAX)
    here.tell(names, Seen.FAILED, 100.0, started_s=0.0, ends_s=100.0, node="n1")
    assert here.room("c", 100.0 + OUTLIVES_BY * 100.0) == 0


def test_draining_pilot_is_no_evidence(here):
    probe, start_s = probe_beside_failures(here, 100.0)
    here.roster.mark_draining([here.roster[probe[0]]], start_s)
    assert here.room("a", start_s + OUTLIVES_BY * 100.0 + 1.0) == 0


def test_ending_on_notice_is_not_a_failure(here):
    here.fail("a", 0.0)
    leaves, stays = here.ask("a"), here.ask("a")
    assert here.roster.held_back(1.0) == OFFERS
    here.serve("b")
    here.tell(leaves, Seen.COMPLETED, 20.0, started_s=5.0, ends_s=6.0, node="n9")
    assert here.room("a", 20.0) is None
    here.tell(stays, Seen.COMPLETED, 700.0, started_s=5.0, ends_s=690.0, node="n9")
    assert here.roster.gates(700.0)["a"].reason.startswith("1 consecutive pilot")


def test_ending_early_without_notice_is_a_failure(here):
    """The first one's leaving holds back others, not those that have started."""
    names = here.ask("a", FAILURES_MAX)
    here.tell(names, Seen.RUNNING, 0.0, started_s=0.0)
    for number, name in enumerate(names):
        now_s = 15.0 + 20.0 * number
        here.tell([name], Seen.COMPLETED, now_s, started_s=0.0, ends_s=15.0, node="n1")
        here.roster.held_back(now_s)
    assert "4 consecutive pilots" in here.roster.gates(now_s)["a"].reason


def test_pilots_that_run_jobs_are_not_at_risk(here):
    served = here.ask("a", 2 * FAILURES_MAX)
    here.roster.note_served(served)
    here.fail("a", 0.0, ["n1"])
    assert here.room("a", 1.0) == FAILURES_MAX - 1


def test_registered_shared_pilots_are_not_at_risk():
    here = Site(shared=True)
    names = here.ask("a", FAILURES_MAX)
    here.fail("b", 0.0, ["n1"])
    assert here.room("a", 1.0) == 0
    signs = PilotObservations(known=frozenset(names), asked_s=1.0)
    here.roster.look(here.rows, signs, lambda name: "", 1.0)
    assert here.room("a", 1.0) == FAILURES_MAX - 1


def test_a_refusal_for_good_stays_and_is_no_matter_of_other_offers(here):
    pilot = here.ask("a")
    here.roster.health.refused("a", 0.0, "Invalid account")
    here.tell(pilot, Seen.FAILED, 1.0, node="n1")
    assert here.roster.health.unavailable == {"a": "Invalid account"}
    assert here.room("b", 1.0) is None


def test_a_site_that_fails_for_long_is_given_up_not_before(here):
    here.fail("a", 0.0)
    now_s = 0.0
    while not here.roster.health.unavailable:
        assert now_s <= GIVE_UP_AFTER_S + 2 * PROBE_AFTER_MAX_S
        now_s += 60.0
        if here.room("a", now_s):
            here.fail("a", now_s, ["n1"])
    assert now_s >= GIVE_UP_AFTER_S
    assert here.roster.health.unavailable.keys() == set(OFFERS)


def test_a_long_wait_in_the_queue_is_not_a_reason_to_give_up(here):
    here.fail("a", 0.0)
    here.fail("a", GIVE_UP_AFTER_S + 1, ["n1"])
    assert here.roster.health.unavailable == {}


def test_faulty_nodes_stay_excluded_when_the_breaker_opens(here):
    bad = [f"n{number}" for number in range(BAD_NODES_MAX)]
    here.fail("a", 0.0, bad * NODE_STRIKES_MAX)
    assert here.room("a", 1.0) == 0
    assert here.roster.health.excluded(1.0) == tuple(bad)


def test_where_pilots_fail_on_many_nodes_none_is_to_blame(here):
    here.fail("a", 0.0, ["n1", "n1", "n2", "n3"])
    assert here.roster.health.excluded(1.0) == ()
