"""Reasons of Slurm, HTCondor and the planner in plain words."""

import pytest

from snakemake_executor_plugin_osgpilot.explain.reason_codes import REFUSALS, of_hold, of_slurm
from snakemake_executor_plugin_osgpilot.scaling.planner.limits import RULES


def test_every_rule_of_the_planner_has_its_step():
    assert {rule.__name__ for rule in RULES} | {"stale", "breaker", "doubt", "brake"} <= set(
        REFUSALS
    )


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("Priority", "jobs of higher priority come first"),
        ("QOSMaxJobsPerUserLimit", "as much running as it may"),
        ("QOSMaxCpuPerJobLimit", "more than one job may have"),
        ("QOSGrpCPUMinutesLimit", "used up"),
        ("AssocGrpSubmitJobsLimit", "no more jobs"),
        ("QOSMinGRES", "asks for less than the QOS demands"),
        ("MaxMemPerLimit", "more than one job may have"),
        ("MaxJobsPerAccount", "as much running as it may"),
        ("PartitionTimeLimit", "longer than the partition allows"),
        ("ReqNodeNotAvail, UnavailableNodes:n[1-2]", "reserved, down or drained"),
        ("(JobHeldAdmin)", "an administrator holds it"),
        ("launch failed requeued held", "could not start it on its node"),
        ("None", "has not looked at it yet"),
    ],
)
def test_reasons_of_slurm_in_plain_words(reason, words):
    meaning = of_slurm(reason)
    assert meaning is not None
    assert words in meaning.words


def test_an_unknown_hold_is_named_as_unknown():
    assert of_hold(99).words == "HTCondor put it on hold"
    assert "runs again by itself" in of_hold(12, 2).words
