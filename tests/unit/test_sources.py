"""Which files of a workflow travel with its jobs."""

from types import SimpleNamespace

from snakemake.deployment.conda import CondaEnvFileSpec, CondaEnvNameSpec
from snakemake.sourcecache import LocalSourceFile

from snakemake_executor_plugin_osgpilot.payload.sources import list_sources


def workflow(folder, specs, methods=("conda",)):
    """A workflow whose sources Snakemake cannot list, as there is no git."""

    def no_git():
        raise FileNotFoundError("git")

    jobs = [
        SimpleNamespace(rule=SimpleNamespace(conda_env=spec), conda_env_spec=spec) for spec in specs
    ]
    return SimpleNamespace(
        dag=SimpleNamespace(get_sources=no_git, jobs=jobs),
        deployment_settings=SimpleNamespace(deployment_method=set(methods)),
        workflow_settings=SimpleNamespace(wrapper_prefix=None),
        included=[str(folder / "Snakefile")],
        configfiles=[],
        rules=[],
    )


def test_conda_environments_travel_with_what_lies_beside_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ("a.yaml", "a.post-deploy.sh", "a.linux-64.pin.txt", "ab.yaml", "other.txt")
    (tmp_path / "envs").mkdir()
    for name in names:
        (tmp_path / "envs" / name).touch()
    spec = CondaEnvFileSpec(LocalSourceFile(str(tmp_path / "envs/a.yaml")))
    specs = [spec, spec, CondaEnvNameSpec("mine")]
    sources, _ = list_sources(workflow(tmp_path, specs))
    assert sources == {"Snakefile", *(f"envs/{name}" for name in names[:3])}
    assert list_sources(workflow(tmp_path, specs, methods=()))[0] == {"Snakefile"}
