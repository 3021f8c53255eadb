"""Jobs that make environments are submitted together, and explained if they fail."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from snakemake_executor_plugin_osgpilot.common.redact import Redactor
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.executor import conda_builds as module
from snakemake_executor_plugin_osgpilot.executor.conda_builds import CondaBuilds
from snakemake_executor_plugin_osgpilot.jobs.state.job import JobState
from snakemake_executor_plugin_osgpilot.model.upcoming import UpcomingWork
from snakemake_executor_plugin_osgpilot.staging.conda_build import ARCHIVE, CondaBuild
from snakemake_executor_plugin_osgpilot.staging.container_image import Image

BUILDS = [CondaBuild(name, f"envs/{name}.yaml", "r", "conda.sif", b"x") for name in "ab"]


class Run:
    """A run whose jobs end as `ends` says: by key, one step for each look at a job."""

    def __init__(self, folder, ends):
        self.ends, self.handed_over, self.settled, self.steps = ends, {}, [], 0
        self.given_up = []
        self.folder = SimpleNamespace(path=folder, job=lambda key: folder / "jobs" / key)
        self.workdir = folder
        self.queue = SimpleNamespace(
            upcoming=UpcomingWork(), expect=lambda upcoming: None, ended=self.ended,
            jobs=lambda keys: [self.handed_over[key] for key in keys],
            run_again=lambda key, why: bool(self.ends[key]), mark_incomplete=lambda key: None,
        )  # fmt: skip
        self.intake = SimpleNamespace(
            key_for=self.key_for, reserve=lambda: None, hand_over=self.hand_over,
            done=self.settled.append, settle=lambda failed=(): self.settled.extend(failed),
            give_up=self.given_up.extend,
        )  # fmt: skip
        self.unwritten = SimpleNamespace(add=self.write)
        self.recorder = SimpleNamespace(handed_over=list, failed=lambda key, why: None)
        self.controller = SimpleNamespace(wake=lambda: None)
        self.tenure = SimpleNamespace(is_certain=lambda: True)

    def key_for(self, identity, content):
        return f"key-{identity.rpartition(' ')[2]}", False

    def write(self, job, pack):
        pack().archive.write(self.folder.job(job.key))

    def hand_over(self, jobs):
        self.handed_over |= {job.key: job for job in jobs}

    def ended(self, key):
        if not self.ends[key]:
            return False
        step = self.ends[key].pop(0)
        return step(self, key)


def waits(run, key):
    return False


def succeeds(run, key, size=4):
    back = run.folder.job(key) / "osgpilot-out"
    back.mkdir()
    (back / ARCHIVE).write_text("made")
    (back / ".osgpilot-manifest").write_text(f"{size}\0{ARCHIVE}\0end\0")
    run.handed_over[key] = replace(run.handed_over[key], state=JobState.ENDED, exit_status=0)
    return True


def returns_a_part(run, key):
    return succeeds(run, key, size=5)


def fails(run, key):
    back = run.folder.job(key) / "osgpilot-out"
    back.mkdir()
    (back / ".osgpilot-manifest").write_text("failed\0")
    (run.folder.job(key) / "output").write_text("no solution\n\x1b[31mfor x, of s3cret\n")
    given = {"exit_status": 1, "allocation_id": "7", "node": "n1"}
    run.handed_over[key] = replace(run.handed_over[key], state=JobState.ENDED, **given)
    return True


def is_removed(run, key):
    gone = replace(run.handed_over[key], state=JobState.REMOVED, text="no pilot can run it")
    run.handed_over[key] = gone
    return True


def is_terminated(run, key):
    os.kill(os.getpid(), signal.SIGTERM)
    return False


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Returns what makes environments in a run where their jobs end so."""
    monkeypatch.setattr(module, "POLL_S", 0.0)

    def make(**ends):
        run = Run(tmp_path, {f"key-{name}": steps for name, steps in ends.items()})
        builds = [build for build in BUILDS if build.key in ends]
        made = CondaBuilds(run, Redactor(["s3cret"]), lambda name: Image(f"/{name}"))
        return run, made, made.make(builds)

    return make


def test_archives_come_as_the_jobs_end(make):
    run, made, archives = make(a=[waits, waits, succeeds], b=[waits, succeeds])
    found = {}
    for key, archive in archives:
        assert archive.read_text() == "made"
        found[key] = Path(archive)
    assert list(found) == ["b", "a"]
    assert made.keys == {"key-a", "key-b"}, "these are not reported to Snakemake"
    assert run.settled == ["key-b", "key-a"]
    asked = run.handed_over["key-a"].request
    assert (asked.container_image, asked.job_class.shape.cores) == ("/conda.sif", 1)


def test_a_job_that_came_back_in_part_runs_again(make):
    _, _, archives = make(a=[returns_a_part, waits, succeeds])
    assert [key for key, _ in archives] == ["a"]


def test_the_number_of_tries_is_limited(make):
    _, _, archives = make(a=[returns_a_part])
    with pytest.raises(InputError, match="did not come back complete"):
        list(archives)


def test_a_failure_is_one_block_with_what_was_said(make):
    run, _, archives = make(a=[waits, fails], b=[waits] * 9)
    with pytest.raises(InputError) as failed:
        list(archives)
    first, *block = str(failed.value).splitlines()
    assert first == (
        "rule r: its conda environment envs/a.yaml cannot be made: the command failed with exit "
        "status 1 (in Slurm job 7 on n1); it said:"
    )
    assert block[0] == "    no solution"
    assert "s3cret" not in block[1]
    assert "\x1b" not in block[1]
    assert run.settled == run.given_up == ["key-a"]


def test_a_job_that_no_pilot_can_run_is_explained_in_one_line(make):
    _, _, archives = make(a=[is_removed])
    with pytest.raises(InputError) as failed:
        list(archives)
    what = "rule r: its conda environment envs/a.yaml cannot be made"
    assert str(failed.value) == f"{what}: no pilot can run it (before it started)"


def test_sigterm_ends_the_wait_and_is_handled_as_before_afterwards(make):
    before = signal.getsignal(signal.SIGTERM)
    _, _, archives = make(a=[waits, is_terminated, *[waits] * 9])
    with pytest.raises(KeyboardInterrupt):
        list(archives)
    assert signal.getsignal(signal.SIGTERM) is before


def test_an_image_that_is_not_there_is_named_with_the_rule(tmp_path):
    def find(name):
        raise InputError(f"the container image /{name} does not exist")

    with pytest.raises(InputError) as failed:
        list(CondaBuilds(Run(tmp_path, {}), Redactor([]), find).make(BUILDS))
    what = "rule r: its conda environment envs/a.yaml cannot be made"
    assert str(failed.value) == f"{what}: the container image /conda.sif does not exist"
