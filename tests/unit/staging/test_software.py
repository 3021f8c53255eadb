"""Environments of rules are made once, by Snakemake's own objects, and failures are explained."""

import os
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

import pytest
from snakemake.exceptions import CreateCondaEnvironmentException

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
            _container_img=None,
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
        software = Software(lambda text: None, making=making)
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
