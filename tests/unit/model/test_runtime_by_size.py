"""Runtimes and input sizes: an effect is found where there is one, and seldom elsewhere."""

import random

import pytest

from snakemake_executor_plugin_osgpilot.model.runtime_by_size import (
    JOBS_MIN,
    NO_EFFECT,
    SAMPLES_MAX,
    RuntimesBySize,
    Sample,
    size_effect,
)


def samples(jobs, power=1.0, noise=0.3, seed=0):
    rng = random.Random(seed)
    sizes = [round(1e6 * rng.lognormvariate(0, 1)) for _ in range(jobs)]
    return [
        Sample(size, 100 * (size / 1e6) ** power * rng.lognormvariate(0, noise)) for size in sizes
    ]


@pytest.mark.parametrize("power", [1.0, 0.5, -0.7])
def test_the_sign_and_the_power_are_found(power):
    effect = size_effect(samples(60, power))
    assert effect.holds
    assert effect.correlation * power > 0
    assert effect.exponent == pytest.approx(power, abs=0.2)
    assert effect.ratio(4_000_000) / effect.ratio(1_000_000) == pytest.approx(4**power, rel=0.4)


def test_outliers_do_not_matter():
    wild = [Sample(10, 1e6), Sample(10**9, 0.1), Sample(10, 1e7)]
    effect = size_effect(samples(60) + wild)
    assert effect.holds
    assert effect.exponent == pytest.approx(1.0, abs=0.25)


def test_few_jobs_and_equal_sizes_or_runtimes_are_no_evidence():
    assert not size_effect(samples(JOBS_MIN - 1, noise=0.0)).holds
    assert not size_effect([Sample(5, float(n)) for n in range(50)]).holds
    assert not size_effect([Sample(n, 5.0) for n in range(50)]).holds
    assert not size_effect([]).holds
    assert NO_EFFECT.ratio(10**12) == 1.0


@pytest.mark.parametrize("jobs", [JOBS_MIN, 30, 100])
def test_chance_is_seldom_taken_for_an_effect(jobs):
    claims = sum(size_effect(samples(jobs, power=0.0, seed=seed)).holds for seed in range(400))
    assert claims <= 400 * 0.03


def test_without_an_effect_all_jobs_are_alike():
    effect = size_effect(samples(40, power=0.0))
    assert {effect.ratio(size) for size in (0, 1, 10**12)} == {1.0}


def test_runtimes_of_earlier_runs_count_from_the_start():
    known = RuntimesBySize({"map": samples(40)})
    assert known.effect("map").ratio(10**7) > 2
    assert known.effect("other") == NO_EFFECT


def test_a_claim_lasts_though_the_newest_jobs_are_all_alike():
    """Where long jobs come first, those that end at one time differ little."""
    known, changes = RuntimesBySize(), 0
    for sample in sorted(samples(2000), reverse=True):
        changes += known.note("map", sample)
    assert known.effect("map").correlation > 0.8
    assert 2 <= changes <= 30
    assert len(known.samples()["map"]) <= SAMPLES_MAX


def test_what_a_job_took_in_earlier_runs_counts_only_where_it_says_something():
    alike = [Sample(5, 0.5)] * 10
    known = RuntimesBySize({"map": alike, "few": alike[1:], "by_size": samples(40)})
    known.note("map", Sample(5, 900.0))
    assert known.earlier_s("map") == 0.5
    assert [known.earlier_s(rule) for rule in ("few", "by_size", "other")] == [None] * 3
