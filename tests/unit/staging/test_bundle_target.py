"""The jobs that may be in a bundle, and the time that a bundle should take."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.config.run_options import bundle_target_s
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.jobs.state.bundling import TARGET_S
from snakemake_executor_plugin_osgpilot.jobs.state.job import SharedFile
from snakemake_executor_plugin_osgpilot.model.resources import OWN_ROOT, JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.staging.bundle_target import (
    INPUTS_MAX_BYTES,
    may_be_bundled,
    target_s,
)
from snakemake_executor_plugin_osgpilot.staging.payload import Payload

PLAIN = Request(JobClass(Shape(1, 500)))


def job(**resources):
    return SimpleNamespace(
        is_group=lambda: False, rule="one", resources=resources, name="one", threads=1
    )


def draft(request=PLAIN, **payload):
    return replace(Payload((), "bash", (), (), ()), **payload), request


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("auto", TARGET_S), ("off", 0), (None, TARGET_S), (False, 0), (True, TARGET_S), (90, 90),
     ("2.5", 2.5), ("0", 0)],
)  # fmt: skip
def test_what_users_write(text, seconds):
    assert bundle_target_s(text) == seconds


def test_a_rule_has_its_own_target_or_that_of_the_workflow():
    assert target_s(job(), 60.0) == 60.0
    assert target_s(job(osgpilot_bundle="off"), 60.0) == 0.0
    assert target_s(job(osgpilot_bundle=300), 60.0) == 300.0


def test_a_wrong_target_of_a_rule_is_refused_by_name():
    with pytest.raises(InputError, match=r"rule one: the resource osgpilot_bundle: it is 'soon'"):
        target_s(job(osgpilot_bundle="soon"), 60.0)


def test_plain_jobs_may_be_bundled_also_with_a_root_of_their_own(tmp_path):
    assert may_be_bundled(*draft(), (), tmp_path)
    own = Request(JobClass(Shape(1, 500)), "image.sif", extras=((f"My.{OWN_ROOT}", "true"),))
    assert may_be_bundled(*draft(own), (), tmp_path)


@pytest.mark.parametrize(
    "alone",
    [
        draft(urls=(("https://h/a", "a"),)),
        draft(Request(JobClass(Shape(1, 500, gpus=1)))),
        draft(Request(JobClass(Shape(1, 500)), extras=(("rank", "Memory"),))),
    ],
)
def test_jobs_that_need_a_slot_of_their_own_are_not(alone, tmp_path):
    assert not may_be_bundled(*alone, (), tmp_path)


def test_large_inputs_are_not_sent_many_at_a_time(tmp_path):
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 100_000)
    large.mkdir()
    with (large / "part").open("wb") as file:
        file.truncate(INPUTS_MAX_BYTES + 1)
    assert may_be_bundled(*draft(inputs=("small",)), (), tmp_path)
    assert not may_be_bundled(*draft(inputs=("small", "large")), (), tmp_path)


def test_jobs_with_shared_inputs_are_not_as_these_belong_to_one_job(tmp_path):
    assert not may_be_bundled(*draft(), (SharedFile("genome", 1),), tmp_path)
