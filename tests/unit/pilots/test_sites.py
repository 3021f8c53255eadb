"""The pilots of a run at several sites, one of which may be down."""

from dataclasses import replace
from itertools import pairwise

import pytest
from doubles import SEAT, FakeSlurm, HandClock, site

from snakemake_executor_plugin_osgpilot.errors import AbandonedError, NotRecordedError, NotSentError
from snakemake_executor_plugin_osgpilot.journal.run_folder import RunFolder
from snakemake_executor_plugin_osgpilot.model.plan import Cancel, Launch, Plan
from snakemake_executor_plugin_osgpilot.model.resources import PilotState
from snakemake_executor_plugin_osgpilot.pilots.fleet import Fleet
from snakemake_executor_plugin_osgpilot.pilots.manager import PilotManager, PilotNumbers
from snakemake_executor_plugin_osgpilot.pilots.requests import SiteRequests
from snakemake_executor_plugin_osgpilot.pilots.state.circuit_breaker import FAILURES_MAX
from snakemake_executor_plugin_osgpilot.pilots.state.lifecycle import PilotObservations, Seen

TYPES = {name: f"{name}:default/4c" for name in "AB"}
BOTH = Plan(tuple(Launch(offer, 3600, "because") for offer in TYPES.values()))
SEEN = PilotObservations(jobs_wait=True)


class DownSlurm(FakeSlurm):
    """A batch queue that does not answer while it is `down`."""

    down = False

    def _maybe_fail(self):
        if self.down:
            raise NotSentError("no answer")
        super()._maybe_fail()


class World:
    def __init__(self, folder, names="AB"):
        self.clock, numbers, managers = HandClock(), PilotNumbers(), {}
        self.slurm = {name: DownSlurm() for name in names}
        run = RunFolder.create(folder, "r1")
        for name, slurm in self.slurm.items():
            there = replace(site(folder), resource=name, offer_prefix=f"{name}:")
            requests = SiteRequests(there, SEAT, run)
            managers[name] = PilotManager(
                slurm, self.clock, requests, chance=lambda: 1.0, numbers=numbers
            )
        self.managers = managers
        self.fleet = Fleet(managers, self.clock, lambda: 1.0)

    def look(self, after_s=20.0):
        self.clock.at_s += after_s
        return self.fleet.look(SEEN)

    def looks(self):
        return {name: slurm.looks for name, slurm in self.slurm.items()}


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_each_site_gets_its_part_of_a_plan_and_numbers_are_not_given_twice(world):
    world.fleet.apply(BOTH)
    world.fleet.apply(BOTH)
    for name, slurm in world.slurm.items():
        assert len(slurm.submitted) == 2
        assert {pilot.site for pilot in world.managers[name].live} == {name}
    assert len({pilot.name for pilot in world.fleet.live}) == 4


def test_pilots_are_restored_at_their_site_and_unknown_ones_at_the_first(world, tmp_path):
    world.fleet.apply(BOTH)
    first, second = world.fleet.pilots
    again = World(tmp_path / "again")
    again.fleet.restore([first, second, replace(first, name="osgpilot-r1-7", site="gone")])
    assert [p.name for p in again.managers["A"].pilots] == [first.name, "osgpilot-r1-7"]
    assert [p.name for p in again.managers["B"].pilots] == [second.name]
    again.fleet.apply(BOTH)
    assert {p.name for p in again.fleet.live} >= {"osgpilot-r1-8", "osgpilot-r1-9"}


def test_a_site_that_is_down_is_left_alone_and_the_other_one_serves(world, logged):
    world.fleet.apply(BOTH)
    world.slurm["A"].down = True
    world.slurm["B"].show(Seen.RUNNING)
    (change,) = world.look()
    assert change.after.site == "B"
    assert [text for text in logged.warnings if "site A is left alone" in text]
    before = world.looks()
    for _ in range(30):
        world.look()
    assert world.slurm["B"].looks == before["B"] + 30
    world.fleet.apply(BOTH)
    assert len(world.slurm["B"].submitted) == 2
    assert len(world.slurm["A"].submitted) == 1
    assert len([text for text in logged.warnings if "site A" in text]) == 1, "logged once"
    (pilot,) = world.managers["A"].live
    assert pilot.state is PilotState.PENDING, "a failed query proves nothing"


def test_a_site_that_is_down_is_polled_more_and_more_rarely(world, monkeypatch):
    world.fleet.apply(BOTH)
    world.slurm["A"].down = True
    tried_s = []
    look = world.slurm["A"].look
    monkeypatch.setattr(
        world.slurm["A"], "look", lambda: (tried_s.append(world.clock.at_s), look())[1]
    )
    for _ in range(100):
        world.look()
    gaps_s = [b - a for a, b in pairwise(tried_s)]
    assert gaps_s == sorted(gaps_s)
    assert gaps_s[0] == 40
    assert gaps_s[-1] >= 480


def test_no_pilot_is_launched_at_a_silent_site_until_it_answers_again(world, logged):
    world.fleet.apply(BOTH)
    world.slurm["A"].down = True
    world.look()
    assert world.fleet.gates()[TYPES["A"]].launches_max == 0
    assert TYPES["B"] not in world.fleet.gates()
    assert not world.fleet.silent(60), "its last answer is recent enough"
    world.clock.at_s += 100
    assert world.fleet.silent(60) == {"A"}
    world.slurm["A"].down = False
    world.look()
    assert not world.fleet.silent(60)
    assert TYPES["A"] not in world.fleet.gates()
    assert any("site A answers again" in text for text in logged.info)


def test_a_site_without_pilots_is_proved_up_by_a_launch_only(world):
    world.slurm["A"].down = True
    world.fleet.apply(BOTH)
    assert not world.managers["A"].live
    world.look(after_s=31)
    assert world.fleet.gates()[TYPES["A"]].launches_max == 1, "one is started as a test"
    world.slurm["A"].down = False
    world.fleet.apply(BOTH)
    assert TYPES["A"] not in world.fleet.gates()
    assert len(world.slurm["A"].submitted) == 1


def test_if_no_site_answers_the_error_is_raised_and_all_are_polled_again(world):
    world.fleet.apply(BOTH)
    for slurm in world.slurm.values():
        slurm.down = True
    for _ in range(3):
        before = world.looks()
        with pytest.raises(NotSentError):
            world.look(after_s=1)
        assert all(world.looks()[name] == looks + 1 for name, looks in before.items())
    assert not world.fleet.silent(0)


def test_a_single_site_is_never_left_alone(tmp_path):
    world = World(tmp_path, "A")
    world.fleet.apply(Plan(BOTH.actions[:1]))
    world.slurm["A"].down = True
    for number in range(5):
        with pytest.raises(NotSentError):
            world.look(after_s=1)
        assert world.slurm["A"].looks == number + 1
        assert not world.fleet.gates()
        assert not world.fleet.silent(0)


def test_start_failures_at_one_site_close_no_other(world):
    for _ in range(FAILURES_MAX):
        world.fleet.apply(Plan(BOTH.actions[:1]))
        world.slurm["A"].show(Seen.FAILED, started_s=world.clock.at_s)
        world.look(after_s=1)
    gates = world.fleet.gates()
    assert gates[TYPES["A"]].launches_max == 0
    assert TYPES["B"] not in gates


def test_files_for_pilots_reach_the_other_sites_when_one_is_down(world, tmp_path, monkeypatch):
    def fail(files):
        raise NotSentError("no answer")

    monkeypatch.setattr(world.slurm["A"], "write", fail)
    world.fleet.write({"lease": "1\n"})
    assert (tmp_path / "osgpilot" / "r1" / "lease").read_text() == "1\n"


def test_every_site_is_asked_to_end_and_what_may_be_left_is_named(world):
    world.fleet.apply(BOTH)
    world.slurm["A"].down = True
    world.look()
    with pytest.raises(Exception, match="A: Slurm may still have pilots 1: "):
        world.fleet.end()
    assert not world.managers["B"].live
    assert world.managers["A"].live


def test_a_site_that_answers_again_at_the_end_is_given_the_time_to_end_its_pilots(world):
    world.fleet.apply(BOTH)
    slurm = world.slurm["A"]
    slurm.show(Seen.RUNNING)
    world.look()
    slurm.down = True
    world.look()
    assert world.fleet.left_alone
    slurm.down, looks = False, slurm.looks

    def takes_a_while():
        if slurm.looks > looks + 4:
            slurm.show(Seen.COMPLETED)
        return FakeSlurm.look(slurm)

    slurm._drop, slurm.look = lambda ids, when: None, takes_a_while
    world.fleet.end()
    assert not world.fleet.live


def test_a_site_that_does_not_answer_at_the_end_is_asked_once(world):
    world.fleet.apply(BOTH)
    world.slurm["A"].down = True
    world.look()
    looks, began_s = world.looks()["A"], world.clock.at_s
    with pytest.raises(Exception, match="A: "):
        world.fleet.end()
    assert world.looks()["A"] == looks + 1
    assert world.clock.at_s - began_s < 10


@pytest.mark.parametrize("error", [AbandonedError("interrupted"), NotRecordedError("disk full")])
def test_an_interrupted_command_or_a_full_disk_is_no_sign_that_a_site_is_down(world, error):
    world.fleet.apply(BOTH)
    world.slurm["A"].fails = error
    with pytest.raises(type(error)):
        world.look()
    assert not world.fleet.left_alone


def test_cancels_reach_the_site_of_the_pilot(world):
    world.fleet.apply(BOTH)
    _, second = world.fleet.pilots
    world.fleet.apply(Plan((Cancel(second.name, "because"),)))
    assert world.slurm["B"].cancelled == ["1"]
    assert world.slurm["A"].cancelled == []
