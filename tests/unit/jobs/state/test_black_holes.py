"""Telling a bad node from a bad rule."""

from queued import job

from snakemake_executor_plugin_osgpilot.jobs.state.black_holes import black_holes
from snakemake_executor_plugin_osgpilot.jobs.state.events import EventKind
from snakemake_executor_plugin_osgpilot.jobs.state.job import NODE_AT_FAULT
from snakemake_executor_plugin_osgpilot.jobs.state.table import PilotOutcomes


def ended(*jobs, rule="map"):
    """Return how jobs ended on a pilot: `.` well, `x` with a failure at once."""
    outcomes = PilotOutcomes()
    for each in "".join(jobs):
        outcomes.add(rule, failed=each == "x")
    return outcomes


def test_a_pilot_on_which_jobs_fail_that_do_well_elsewhere_is_named_with_the_numbers():
    outcomes = {"bad": ended("xxxx"), "good": ended("." * 19, "x")}
    assert black_holes(outcomes) == {"bad": "4 of 4 jobs failed there at once, elsewhere 1 of 20"}


def test_a_handful_of_failures_is_enough_beside_many_good_ends():
    assert set(black_holes({"bad": ended("xxx"), "good": ended("." * 20)})) == {"bad"}
    assert black_holes({"bad": ended("xx"), "good": ended("." * 20)}) == {}


def test_few_good_ends_elsewhere_prove_little():
    assert black_holes({"one": ended("xxxx"), "two": ended("...")}) == {}
    assert set(black_holes({"one": ended("xxxxxx"), "two": ended("...")})) == {"one"}


def test_a_rule_that_fails_everywhere_is_no_fault_of_the_pilots():
    assert black_holes({"one": ended("xxxxx"), "two": ended("xxxx.")}) == {}
    assert black_holes({f"p{n}": ended("x" * 30) for n in range(9)}) == {}


def test_successes_of_other_rules_do_not_offset_failures():
    mixed = {"one": ended("xxxxx", rule="broken"), "two": ended("." * 90, rule="map")}
    assert black_holes(mixed) == {}


def test_without_jobs_elsewhere_nothing_can_be_said():
    assert black_holes({"one": ended("x" * 30)}) == {}


def test_a_few_failures_are_chance():
    assert black_holes({"one": ended("x.x......"), "two": ended("." * 30)}) == {}


def test_node_that_turns_faulty_is_found_as_soon_as_a_new_one():
    assert set(black_holes({"one": ended("." * 500, "xxxx"), "two": ended("." * 500)})) == {"one"}


def test_several_bad_nodes_do_not_hide_one_another():
    good = {f"good{n}": ended("." * 10) for n in range(2)}
    bad = {f"bad{n}": ended("x" * 20) for n in range(4)}
    assert black_holes(good | bad).keys() == bad.keys()


def test_a_pilot_is_named_once():
    outcomes = {"bad": ended("xxxx"), "good": ended("." * 20)}
    assert black_holes(outcomes, suspects={"bad": "found before"}) == {}


def test_disk_failure_does_not_count_against_the_pilot(queue, ap):
    keys = [f"{number}" for number in range(20)]
    queue.add([job(key) for key in keys])
    queue.send()
    for number, key in enumerate(keys):
        on = {"pilot": f"p{number % 2}", "node": f"n{number % 2}"}
        ap.tell(key, EventKind.EXECUTE, 2000.0, **on)
        status = NODE_AT_FAULT if number % 2 else 0
        ap.tell(key, EventKind.TERMINATED, 2001.0, exit_status=status)
    queue.follow()
    assert queue.view().suspects == {}
    queue.repair(2002.0)
    assert ap.avoided == []


def test_jobs_avoid_a_suspect_before_slurm_is_queried(queue, ap):
    keys = [f"{number}" for number in range(20)]
    queue.add([job(key) for key in keys])
    queue.send()
    for number, key in enumerate(keys):
        ap.tell(key, EventKind.EXECUTE, 2000.0, pilot=f"p{number % 2}")
        ap.tell(key, EventKind.TERMINATED, 2001.0, exit_status=number % 2)
    queue.follow()
    queue.repair(2002.0)
    assert ap.avoided == [("p1",)]
    queue.repair(2003.0)
    assert ap.avoided == [("p1",)]
    assert set(queue.view().suspects) == {"p1"}
