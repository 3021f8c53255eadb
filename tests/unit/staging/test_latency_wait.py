"""Outputs on a shared file system that are not seen here at once."""

from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.jobs.state.job import Job
from snakemake_executor_plugin_osgpilot.model.resources import JobClass, Request, Shape
from snakemake_executor_plugin_osgpilot.staging.latency_wait import (
    LOOK_EVERY_S,
    LatencyWait,
    missing,
)

REQUEST = Request(JobClass(Shape(1, 1000, 1000), 3600))


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    return [str(tmp_path / "a"), str(tmp_path / "b")]


def appear(paths: list[str]) -> None:
    for path in paths:
        Path(path).touch()


def test_a_job_with_visible_outputs_does_not_wait(paths):
    appear(paths)
    late = LatencyWait(5)
    assert not late.keeps(Job("1", "r", REQUEST), paths, now_s=0)
    assert not late.is_due(100)


def test_jobs_wait_independently(paths):
    late = LatencyWait(5)
    jobs = {key: Job(key, "r", REQUEST) for key in "12"}
    assert all(late.keeps(job, [path], 0) for job, path in zip(jobs.values(), paths, strict=True))
    assert late.due(0) == jobs
    appear(paths[1:])
    assert late.keeps(jobs["1"], paths[:1], 0)
    assert not late.keeps(jobs["2"], paths[1:], 0)
    assert late.due(LOOK_EVERY_S / 2) == {}
    assert late.due(LOOK_EVERY_S) == {"1": jobs["1"]}


def test_a_job_waits_until_its_own_deadline(paths):
    late, job = LatencyWait(5), Job("1", "r", REQUEST)
    assert late.keeps(job, paths, now_s=10)
    assert late.keeps(job, paths, now_s=14.9)
    assert not late.keeps(job, paths, now_s=15)


def test_a_job_that_runs_again_gets_a_new_deadline(paths):
    late, job = LatencyWait(5), Job("1", "r", REQUEST)
    assert late.keeps(job, paths, now_s=0)
    assert not late.keeps(job, paths, now_s=5)
    assert late.keeps(job, paths, now_s=6)


def test_an_inaccessible_path_counts_as_missing(paths):
    appear(paths)
    Path(paths[1]).unlink()
    Path(paths[1]).symlink_to("b")
    odd = ["/" + "x" * 300, f"{paths[0]}/below", "/\0"]
    assert missing([*paths, *odd]) == [paths[1], *odd]
