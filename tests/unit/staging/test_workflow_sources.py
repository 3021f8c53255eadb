"""The files of a workflow that travel with its jobs."""

import sys
import tarfile
from types import SimpleNamespace

from snakemake.deployment.conda import CondaEnvFileSpec, CondaEnvNameSpec
from snakemake.sourcecache import GenericSourceFile, LocalSourceFile

from snakemake_executor_plugin_osgpilot.staging import workflow_sources
from snakemake_executor_plugin_osgpilot.staging.workflow_sources import (
    LARGE_MB,
    SMALL_BYTES,
    bundle_sources,
    has_outside,
    large,
    list_sources,
)


def workflow(folder, specs, methods=("conda",)):
    """A workflow whose sources Snakemake cannot list, as there is no git."""

    def no_git():
        raise FileNotFoundError("git")

    jobs = [
        SimpleNamespace(rule=SimpleNamespace(conda_env=spec), conda_env_spec=spec, output=())
        for spec in specs
    ]
    return SimpleNamespace(
        dag=SimpleNamespace(get_sources=no_git, jobs=jobs),
        deployment_settings=SimpleNamespace(deployment_method=set(methods)),
        workflow_settings=SimpleNamespace(wrapper_prefix=None),
        included=[str(folder / "Snakefile")],
        configfiles=[],
        rules=[],
        globals={"config": {}},
    )


def test_conda_environments_travel_with_files_beside_them(tmp_path, monkeypatch):
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


def test_files_read_by_a_snakefile_travel_only_with_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    beside = [
        *("workflow/Snakefile", "workflow/schemas/config.yaml", "workflow/lib/own.py"),
        *("config/config.yaml", "config/samples.tsv"),
    ]
    left = ["workflow/.cache/x", "data/reads.fq", "notes.txt", "config/made.tsv"]
    for name in (*beside, *left, "units.tsv", "workflow/big"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with (tmp_path / "workflow/big").open("wb") as big:
        big.truncate(SMALL_BYTES + 1)
    of_standard_layout = workflow(tmp_path / "workflow", ())
    of_standard_layout.configfiles = [tmp_path / "config/config.yaml"]
    tables = {"tables": [{"units": "units.tsv", "k": 31}, "data", "none", ".."]}
    of_standard_layout.globals = {"config": tables}
    of_standard_layout.dag.jobs = [SimpleNamespace(rule=None, output=["config/made.tsv"])]
    of_standard_layout.deployment_settings.deployment_method = set()
    sources, for_snakemake = list_sources(of_standard_layout)
    assert sources == {*beside, "units.tsv"}
    assert sources - for_snakemake == {"config/config.yaml", "units.tsv"}


def test_public_files_that_the_configuration_names_travel_with_scripts(tmp_path, monkeypatch):
    workdir = tmp_path / ".hidden/project"
    for name in ("a.tsv", "deep/b.tsv", "key", "made", ".c", "big", "../outside"):
        (workdir / name).parent.mkdir(parents=True, exist_ok=True)
        (workdir / name).touch()
    monkeypatch.chdir(workdir)
    (workdir / "key").chmod(0o600)
    (workdir / "to_a").symlink_to("a.tsv")
    (workdir / "to_c").symlink_to(".c")
    (workdir / "to_outside").symlink_to("../outside")
    with (workdir / "big").open("wb") as big:
        big.truncate(SMALL_BYTES + 1)
    flat = workflow(workdir, ())
    names = ["deep/b.tsv", "key", "made", ".c", "big", "../outside", "to_a", "to_c", "to_outside"]
    flat.globals = {"config": {"one": f"{workdir}/a.tsv", "more": names}}
    flat.dag.jobs = [SimpleNamespace(rule=None, output=["made"])]
    flat.deployment_settings.deployment_method = set()
    sources, of_snakefiles = list_sources(flat)
    assert sources - of_snakefiles == {"a.tsv", "deep/b.tsv", "to_a"}


def test_code_on_the_search_path_travels_with_scripts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    travel = ["lib/a.py", "lib/deep/b.R", "own.py", "package/__init__.py", "package/c.py"]
    stay = ["data/d.py", "lib/table.tsv", ".hidden/e.py", "venv/f.py", "venv/pyvenv.cfg"]
    for name in (*travel, *stay):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for path in (str(tmp_path), "lib", str(tmp_path / ".hidden"), sys.prefix):
        monkeypatch.syspath_prepend(path)
    flat = workflow(tmp_path, ())
    assert list_sources(flat)[0] == {"Snakefile"}
    flat.rules = [rule(LocalSourceFile(str(tmp_path)), wrapper="x/y")]
    monkeypatch.setattr(workflow_sources, "_wrappers", lambda workflow: ())
    assert list_sources(flat)[0] == {"Snakefile", *travel}


def rule(basedir, script=None, wrapper=None):
    return SimpleNamespace(basedir=basedir, script=script, notebook=None, wrapper=wrapper)


def test_scripts_of_a_module_elsewhere_do_not_hide_other_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    class Dag:
        jobs = ()

        def get_sources(self):
            return {
                each.basedir.join(each.script).get_path_or_uri(True) for each in self.workflow.rules
            }

    local = rule(LocalSourceFile(str(tmp_path)), "scripts/a.py")
    far = rule(GenericSourceFile("https://elsewhere/workflow"), "scripts/b.py")
    mixed = workflow(tmp_path, ())
    mixed.dag, mixed.rules = Dag(), [local, far]
    assert list_sources(mixed)[0] == {"Snakefile", str(tmp_path / "scripts/a.py")}


def test_sources_outside_the_working_folder_travel_at_their_own_places(tmp_path, monkeypatch):
    for name in ("run/here.yaml", "there.yaml", "workflow/Snakefile", "workflow/lib/x.py", "data"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    workdir, archive = tmp_path / "run", tmp_path / "sources.tar"
    monkeypatch.chdir(workdir)
    outside = workflow(tmp_path / "workflow", ())
    outside.configfiles = ["here.yaml", tmp_path / "there.yaml"]
    sources, _ = list_sources(outside)
    bundle_sources(archive, sources, workdir)
    with tarfile.open(archive) as packed:
        there = f"osgpilot-root{tmp_path}"
        assert sorted(packed.getnames()) == [
            "here.yaml",
            f"{there}/there.yaml",
            f"{there}/workflow/Snakefile",
            f"{there}/workflow/lib/x.py",
        ]
    assert has_outside(archive)
    bundle_sources(tmp_path / "inside.tar", ["here.yaml"], workdir)
    assert not has_outside(tmp_path / "inside.tar")


def test_large_sources_get_a_warning(tmp_path):
    archive = tmp_path / "sources.tar"
    assert large(archive) == ""
    (tmp_path / "Snakefile").touch()
    bundle_sources(archive, ["Snakefile"], tmp_path)
    assert large(archive) == ""
    with (tmp_path / "genome.fa").open("wb") as genome:
        genome.truncate(LARGE_MB * 1_000_000)
    bundle_sources(archive, ["Snakefile", "genome.fa"], tmp_path)
    assert "files, 50 MB (genome.fa alone 50 MB), travel with every job" in large(archive)
