"""Estimates before and after observations."""

from dataclasses import replace

import pytest

from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Pilot, PilotState, Shape
from snakemake_executor_plugin_osgpilot.scaling.planner.estimates import (
    BOOT_PRIOR_S,
    LIMIT_PRIOR_S,
    RUNTIME_PRIOR_S,
    SAMPLES_MAX,
    WAIT_PRIOR_S,
    Estimates,
    learned,
)

SMALL = JobClass(Shape(1, 500))
PILOT = Pilot("p", Shape(4, 1), PilotState.PENDING, "compute/4c", asked_s=100.0)


def test_without_experience_the_priors_hold():
    nothing = Estimates()
    assert nothing.runtime_s(SMALL) == RUNTIME_PRIOR_S
    assert nothing.runtime_s(SMALL._replace(runtime_s=3600)) == 1800
    assert nothing.lead_s("compute/4c") == WAIT_PRIOR_S + BOOT_PRIOR_S


def test_what_slurm_expects_comes_before_our_prior():
    hinted = Estimates(wait_hints_s={"compute/4c": 5.0})
    assert hinted.wait_s("compute/4c") == 5
    assert hinted.wait_s("other") == WAIT_PRIOR_S


def test_experience_moves_the_expectation_and_outliers_do_not():
    known = Estimates()
    for seconds in (10, 11, 9, 10, 5000):
        known = known.with_runtime(SMALL, seconds)
    assert known.runtime_s(SMALL) == pytest.approx((5 * RUNTIME_PRIOR_S + 5 * 10) / 10)


def test_only_the_newest_count():
    known = Estimates()
    for seconds in [10_000] * SAMPLES_MAX + [10] * SAMPLES_MAX:
        known = known.with_wait("compute/4c", seconds)
    assert known.waits_s["compute/4c"] == (10,) * SAMPLES_MAX


def test_a_start_teaches_the_wait_and_a_registration_the_boot():
    booting = replace(PILOT, state=PilotState.BOOTING, started_s=160.0)
    ready = replace(booting, state=PilotState.READY, since_s=200.0)
    known = learned(learned(Estimates(), PILOT, booting), booting, ready)
    assert known.waits_s == {"compute/4c": (60.0,)}
    assert known.boots_s == (40.0,)
    assert learned(Estimates(), booting, replace(ready, site="A")).site_boots_s == {"A": (40.0,)}


def test_each_site_has_boots_of_its_own_once_there_are_several():
    known = Estimates()
    for _ in range(9):
        known = known.with_boot(600.0, "slow")
    assert known.boot_at_s("slow") == known.boot_at_s("other") == known.boot_s
    for _ in range(9):
        known = known.with_boot(60.0, "quick")
    assert known.boot_at_s("slow") == pytest.approx(600, rel=0.1)
    assert known.boot_at_s("quick") == pytest.approx(60, rel=0.5)
    assert known.boot_at_s("other") == known.boot_s
    assert known.lead_s("x", "quick") == WAIT_PRIOR_S + known.boot_at_s("quick")


def test_other_moves_teach_nothing():
    gone = replace(PILOT, state=PilotState.CANCELLED)
    assert learned(Estimates(), PILOT, gone) == Estimates()


def test_observed_waits_correct_hints_of_other_types():
    hinted = Estimates(wait_hints_s={"small": 300.0, "large": 600.0})
    for _ in range(50):
        hinted = hinted.with_wait("small", 660.0)
    assert hinted.wait_s("large") == pytest.approx(1260, rel=0.1)
    assert Estimates(wait_hints_s={"small": 0.0}).with_wait("small", 0.0).wait_s("small") == 0


def test_runtime_limit_follows_the_longest_job_seen():
    unsaid, said = Estimates(), SMALL._replace(runtime_s=600)
    assert unsaid.limit_s(SMALL) == LIMIT_PRIOR_S
    seen = unsaid.with_ages({SMALL: 20_000.0, said: 20_000.0}).with_ages({SMALL: 5.0})
    assert seen.limit_s(SMALL) == 30_000
    assert seen.limit_s(said) == 600
