"""Environments of rules are made once, by Snakemake's own objects, and failures are explained."""

import os
import shutil
import tarfile
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
from snakemake.exceptions import CreateCondaEnvironmentException

from snakemake_executor_plugin_osgpilot.common.messages import SILENT
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.runtime_image import conda
from snakemake_executor_plugin_osgpilot.staging import software as module
from snakemake_executor_plugin_osgpilot.staging.software import Software


class Env(SimpleNamespace):
    """Snakemake's object for an environment, as far as it is used."""

    def __init__(self, folder, create=None, **given):
        self.created = 0
        self._create = create
        super().__init__(
            name=None, dir=None, container_img_url=None, is_containerized=False,
            _container_img=None, asks_conda=True,
            is_externally_managed=bool(given.get("name") or given.get("dir")),
            content_hash="hash", address=str(folder / "made"), file=File("envs/x.yaml"),
            conda=SimpleNamespace(info={}, prefix_path=str(folder / "base")),
        )  # fmt: skip
        vars(self).update(given)

    def create(self):
        self.created += 1
        if self._create:
            raise self._create
        environment(Path(self.address))
        return self.address


class Rule(SimpleNamespace):
    """A rule."""

    def __str__(self):
        return "r"


class File(str):
    """A source file of Snakemake."""

    def get_path_or_uri(self, secret_free):
        return str(self)


def environment(folder):
    (folder / "conda-meta").mkdir(parents=True)
    (folder / "bin").mkdir()
    (folder / "bin/tool").touch()


def job(spec="x.yaml", methods=("conda",), container=None):
    workflow = SimpleNamespace(deployment_settings=SimpleNamespace(deployment_method=set(methods)))
    rule = Rule(workflow=workflow, conda_env=spec)
    return SimpleNamespace(rule=rule, conda_env_spec=spec, container_img_url=container)


@pytest.fixture
def of(tmp_path, monkeypatch):
    """Returns the environments that jobs have if Snakemake's object is this one."""
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")

    def look(env, *jobs, making=True):
        monkeypatch.setattr(module, "conda_environment", lambda job: env)
        software = Software(SILENT, making=making)
        return [software.of(each) for each in jobs or (job(),)]

    return look


def test_an_environment_is_made_once_for_all_its_jobs_and_runs(of, tmp_path):
    env = Env(tmp_path)
    first, second = of(env, job(), job())
    assert (first, env.created) == (second, 1)
    assert (first.prefix, first.programs, first.name) == (env.address, ("tool",), "envs/x.yaml")
    assert of(env) == [first]
    assert env.created == 1
    # another content is another one
    (other,) = of(Env(tmp_path, content_hash="other", address=str(tmp_path / "other")))
    assert other.key != first.key


def test_a_plan_makes_none(of, tmp_path):
    env = Env(tmp_path)
    (planned,) = of(env, making=False)
    assert (planned.size, planned.prefix, env.created) == (0, env.address, 0)
    made = of(env)
    assert of(env, making=False) == made


def test_without_sdm_conda_there_is_none(of, tmp_path):
    assert of(Env(tmp_path), job(methods=["apptainer"]), job(spec=None)) == [None, None]


def test_environments_of_users_are_taken_as_they_are(of, tmp_path):
    mine = tmp_path / "mine"
    environment(mine)
    (by_folder,) = of(Env(tmp_path, dir=str(mine)))
    assert (by_folder.prefix, by_folder.name) == (str(mine), str(mine))
    (mine / "bin/more").touch()
    (changed,) = of(Env(tmp_path, dir=str(mine)))
    assert (changed.key != by_folder.key, changed.programs) == (True, ("more", "tool"))

    environment(tmp_path / "base/envs/known")
    (by_name,) = of(Env(tmp_path, name="known"))
    assert by_name.prefix == str(tmp_path / "base/envs/known")
    assert by_name.active == "known"
    listed = SimpleNamespace(info={"envs": [str(mine)]}, prefix_path="/nowhere")
    assert of(Env(tmp_path, name="mine", conda=listed))[0].prefix == str(mine)
    with pytest.raises(InputError, match="conda has no environment unknown"):
        of(Env(tmp_path, name="unknown"))


def test_one_of_a_containerized_workflow_is_in_its_image_already(of, tmp_path):
    (there,) = of(Env(tmp_path, is_containerized=True, address="/conda-envs/x"))
    assert (there.key, there.prefix, there.place) == ("", "/conda-envs/x", "/conda-envs/x")


SAID = "Could not create conda environment from x:\nCommand:\nconda env\nOutput:\nno\n\n  solution"


@pytest.mark.parametrize(
    ("error", "block"),
    [
        (CreateCondaEnvironmentException(SAID), "conda said:\n    no\n      solution"),
        (CalledProcessError(1, "conda", output="broken\n"), "conda said:\n    broken"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
    ],
)
def test_what_conda_said_is_one_block_with_rule_and_file(of, tmp_path, error, block):
    with pytest.raises(InputError) as failed:
        of(Env(tmp_path, create=error))
    what = "rule r: its conda environment envs/x.yaml cannot be made"
    assert str(failed.value).startswith(what)
    assert str(failed.value).endswith(block)
    assert conda.found("hash") is None


def test_a_machine_without_conda_is_named(of, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match="there is no conda on this machine to make it"):
        of(Env(tmp_path))
    assert not os.listdir(tmp_path)  # noqa: PTH208


@pytest.fixture
def in_pilots(tmp_path, monkeypatch):
    """Returns what finds environments that pilots make, and the builds that they were asked for.

    Each pilot answers with an archive, or with the error that is its content.
    """
    monkeypatch.setenv("OSGPILOT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(module, "need_no_conda", lambda env: vars(env).update(asks_conda=False))
    asked = []

    def build(builds):
        asked.append([each.key for each in builds])
        for each in builds:
            if b"unsolvable" in each.file:
                raise InputError(f"no solution for {each.name} in {each.image}")
            archive = tmp_path / "environment.tar.gz"
            folder = tmp_path / f"made-{len(asked)}" / each.key
            environment(folder)
            with tarfile.open(archive, "w:gz") as made:
                made.add(folder, ".")
            yield each.key, archive

    def look(envs, making=True):
        monkeypatch.setattr(module, "conda_environment", lambda job: envs[job.conda_env_spec])
        return Software(SILENT, making, "conda.sif", build)

    return look, asked


def defined(tmp_path, content=b"dependencies: [x]\n", **given):
    return Env(tmp_path, content=content, content_pin=None, content_deploy=None, **given)


def test_pilots_make_all_environments_at_once_and_one_time(in_pilots, tmp_path):
    look, asked = in_pilots
    envs = {name: defined(tmp_path, content_hash=name) for name in "abc"}
    jobs = [job(name) for name in "abcabc"]
    software = look(envs)
    software.make_in_pilots(jobs)
    made = {software.of(each).key for each in jobs}
    assert (len(made), len(asked), len(asked[0])) == (3, 1, 3)
    assert not any(env.created or env.asks_conda for env in envs.values())
    # another run makes none
    again = look(envs)
    again.make_in_pilots(jobs)
    assert {again.of(each).key for each in jobs} == made
    assert len(asked) == 1


def test_a_plan_starts_no_job_and_says_that_a_pilot_makes_it(in_pilots, tmp_path):
    look, asked = in_pilots
    software = look({"a": defined(tmp_path)}, making=False)
    software.make_in_pilots([job("a")])
    planned = software.of(job("a"))
    assert (planned.by_job, planned.size, asked) == (True, 0, [])


def test_a_file_that_is_broken_is_named_without_a_pilot(in_pilots, tmp_path):
    look, asked = in_pilots
    for content, said in (
        (b"dependencies: [x\n", "line 2: "),
        (b"- x\n", "it has no `key: value` lines"),
        (b"\xff\n", "it is not YAML"),
    ):
        with pytest.raises(InputError) as failed:
            look({"a": defined(tmp_path, content)}).make_in_pilots([job("a")])
        what = "rule r: its conda environment envs/x.yaml cannot be made: "
        assert str(failed.value).startswith(what + said)
        assert "\n" not in str(failed.value)
    assert asked == []


def test_a_build_that_failed_is_not_repeated_for_each_job(in_pilots, tmp_path):
    look, asked = in_pilots
    software = look({"a": defined(tmp_path, b"dependencies: [unsolvable]")})
    for _ in range(3):
        with pytest.raises(InputError, match="no solution"):
            software.of(job("a"))
    assert len(asked) == 1


def test_an_environment_for_a_container_is_made_in_that(in_pilots, tmp_path):
    look, _ = in_pilots
    env = defined(tmp_path, b"dependencies: [unsolvable]", container_img_url="own.sif")
    with pytest.raises(InputError, match=r"no solution for envs/x.yaml in own\.sif"):
        look({"a": env}).make_in_pilots([job("a", container="own.sif")])


def test_environments_of_users_are_not_made_in_pilots(in_pilots, tmp_path):
    look, asked = in_pilots
    mine = tmp_path / "mine"
    environment(mine)
    software = look({"a": Env(tmp_path, dir=str(mine))})
    software.make_in_pilots([job("a")])
    assert software.of(job("a")).prefix == str(mine)
    assert asked == []
    with pytest.raises(InputError, match="there is no conda on this machine"):
        look({"a": Env(tmp_path, name="known")}).of(job("a"))


def test_an_environment_of_which_only_the_note_is_left_is_made_again(
    in_pilots, tmp_path, monkeypatch
):
    look, asked = in_pilots
    made = []
    monkeypatch.setattr(conda, "make", lambda environments, *_: made.append(environments))
    envs = {"a": defined(tmp_path)}
    (first,) = (look(envs).of(job("a")),)
    shutil.rmtree(first.folder.parent)
    software = look(envs)
    software.image([software.of(job("a"))], "")
    assert len(asked) == 2
    assert first.folder.is_dir()
    assert made == [[first]]
