"""Telling a bad node from a bad rule."""

from snakemake_executor_plugin_osgpilot.core.blackholes import black_holes
from snakemake_executor_plugin_osgpilot.core.ledger import Outcomes


def test_a_pilot_on_which_jobs_fail_that_do_well_elsewhere_is_named_with_the_numbers():
    outcomes = {"bad": Outcomes(5, 4), "good": Outcomes(20, 1)}
    assert black_holes(outcomes) == {"bad": "4 of 5 jobs failed there at once, elsewhere 1 of 20"}


def test_a_rule_that_fails_everywhere_is_no_fault_of_the_pilots():
    assert black_holes({"one": Outcomes(5, 5), "two": Outcomes(5, 4)}) == {}


def test_without_jobs_elsewhere_nothing_can_be_said():
    assert black_holes({"one": Outcomes(9, 9)}) == {}
    assert black_holes({"one": Outcomes(9, 9), "two": Outcomes(2, 0)}) == {}


def test_a_few_failures_are_chance():
    assert black_holes({"one": Outcomes(3, 2), "two": Outcomes(30, 0)}) == {}
    assert black_holes({"one": Outcomes(10, 4), "two": Outcomes(30, 0)}) == {}
