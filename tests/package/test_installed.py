"""What users get from the wheel alone, in an environment of its own."""

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
def beside_others(new_environment, wheel):
    """Return an environment with the newest plugins for Slurm and HTCondor as well."""
    environment = new_environment()
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
