"""The wheel alone, as users install it, in a separate environment."""

import re

import pytest
from checkout import ROOT


def test_every_command_says_how_it_is_used(installed, tmp_path):
    def commands(*above):
        text = installed.run("osgpilot", *above, "--help", cwd=tmp_path).stdout
        assert text.startswith("Usage: osgpilot")
        listed = text.partition("\nCommands:\n")[2]
        for name in re.findall(r"^  ([a-z][\w-]*)", listed, re.MULTILINE):
            commands(*above, name)
            found.append((*above, name))

    found = []
    commands()
    assert {("plan",), ("status",), ("pool", "up"), ("site", "init")} <= set(found)


def test_snakemake_knows_the_executor(installed, tmp_path):
    assert "--osgpilot-site" in installed.run("snakemake", "--help", cwd=tmp_path).stdout


def test_a_dry_run_needs_neither_site_nor_access_point(installed, tmp_path):
    (tmp_path / "Snakefile").write_text("rule a:\n    output: 'a'\n    shell: 'touch {output}'\n")
    argv = ("--executor", "osgpilot", "--osgpilot-site", "site.yaml", "--jobs", 1, "--dry-run")
    done = installed.run("snakemake", *argv, "--printshellcmds", cwd=tmp_path)
    assert "touch a" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def beside_others(installed, wheel, tmp_path_factory):
    """Return an environment with the newest plugins for Slurm and HTCondor as well."""
    environment = installed.copy_to(tmp_path_factory.mktemp("beside") / "environment")
    plugins = ("snakemake-executor-plugin-slurm", "snakemake-executor-plugin-htcondor")
    environment.install(wheel, *plugins, "pytest", "hypothesis")
    return environment


def test_it_works_beside_the_plugins_for_slurm_and_htcondor(beside_others, tmp_path):
    help_text = beside_others.run("snakemake", "--help", cwd=tmp_path).stdout
    assert all(option in help_text for option in ("--osgpilot-site", "--slurm-", "--htcondor-"))
    beside_others.run("python", "-m", "pip", "check", cwd=tmp_path)


def test_it_works_with_the_bindings_that_these_ask_for(beside_others):
    argv = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/htcondor")
    beside_others.run("python", *argv, cwd=ROOT)


@pytest.fixture
def pool(installed, tmp_path):
    """Return a function that runs a program in a pool that the wheel alone has made."""
    name = "from-wheel"
    installed.run("osgpilot", "pool", "build", cwd=tmp_path)
    installed.run("osgpilot", "pool", "up", "--name", name, "--work", tmp_path)
    yield lambda *argv: installed.run(
        "osgpilot", "pool", "exec", "--name", name, "--", *argv, cwd=tmp_path
    )
    installed.run("osgpilot", "pool", "down", "--name", name)


SITE_OPTIONS = (
    *("--site", "LocalPool", "--resource", "LocalPool-Slurm", "--project", "TestProject"),
    *("--central-manager", "ap.localpool:9618", "--image", "/opt/sif/pilot.sif"),
    *("--token", "/home/alice/osg-token/flock.opensciencegrid.org", "--out", "site.yaml"),
)


def test_a_pool_made_by_the_wheel_runs_a_workflow_with_the_wheel(pool, tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "Snakefile").write_text(
        "rule a:\n    output: 'slot'\n    resources: runtime=5\n"
        "    shell: 'echo $_CONDOR_SLOT > {output}'\n"
    )
    pool("osgpilot", "site", "init", *SITE_OPTIONS)
    argv = ("--osgpilot-site", "site.yaml", "--osgpilot-offload", "always", "--jobs", 1)
    done = pool("snakemake", "--executor", "osgpilot", *argv, "--shared-fs-usage", "none")
    assert "1 of 1 steps (100%) done" in done.stdout + done.stderr
    assert (tmp_path / "slot").read_text().startswith("slot1")
    where = "import snakemake_executor_plugin_osgpilot as p; print(p.__file__)"
    assert not pool("python", "-c", where).stdout.startswith(str(ROOT))
