"""Mistakes get one clear line, before anything is submitted."""

import sys
from pathlib import Path

import pytest
import yaml
from conftest import SITE, nothing_left

SNAKEFILE = """
rule all:
    output: "out"
    shell: "touch {output}"
"""


@pytest.fixture
def refused(workflow):
    """Run and return the line that says why it did not go on."""
    workflow.snakefile(SNAKEFILE)

    def run(*options, env=None, **named):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in (env or {}).items():
                patch.setenv(name, value)
            assert workflow.run(*options, **named) == 1, workflow.said
        assert nothing_left()
        assert "Traceback" not in workflow.said
        assert not (workflow.folder / "out").exists()
        return workflow.said

    return run


def test_no_project(refused):
    said = refused(project=None)
    assert "set --osgpilot-project, the environment variable OSG_PROJECT_NAME" in said


def test_a_project_that_cannot_be_one(refused):
    assert "--osgpilot-project 'x\" || true'" in refused(project='x" || true')


def test_no_site_file(refused, workflow):
    workflow.site_file.unlink()
    assert "site.yaml: No such file" in refused()


def test_a_mistake_in_the_site_file(refused, workflow):
    text = yaml.safe_dump(SITE).replace("cores: 4", "cores: many")
    workflow.site_file.write_text(text)
    line = text.splitlines().index("  cores: many") + 1
    assert f"line {line}: `pilot.cores` 'many' is not of type" in refused()


def test_no_token(refused, workflow):
    workflow.write_site({**SITE, "token": "nowhere"})
    assert "nowhere: No such file" in refused()


def test_a_token_that_others_can_read(refused, workflow):
    token = workflow.folder / "token"
    token.write_text("secret")
    token.chmod(0o644)
    workflow.write_site({**SITE, "token": str(token)})
    said = refused()
    assert f"chmod 600 {token}" in said
    assert "secret" not in said


def test_a_token_that_is_for_something_else(refused, workflow):
    workflow.write_site({**SITE, "token": "~/.condor/tokens.d/ap"})
    said = refused()
    assert "tokens.d/ap does not allow ADVERTISE_STARTD and ADVERTISE_MASTER; ask" in said
    assert "eyJ" not in said


def test_no_pilot_image(refused, workflow):
    workflow.write_site({**SITE, "image": "/nowhere.sif"})
    assert "pilot image /nowhere.sif does not exist" in refused()


def test_no_slurm(refused, tmp_path_factory):
    tools = tmp_path_factory.mktemp("tools")
    for tool in Path("/usr/bin").iterdir():
        if tool.name != "sbatch":
            (tools / tool.name).symlink_to(tool)
    said = refused(env={"PATH": f"{Path(sys.executable).parent}:{tools}"})
    assert "`sbatch` was not found; run this where Slurm's commands work" in said


def test_no_access_point(refused):
    nowhere = {
        "_CONDOR_SCHEDD_ADDRESS_FILE": "/nowhere",
        "_CONDOR_SCHEDD_DAEMON_AD_FILE": "/nowhere",
        "_CONDOR_COLLECTOR_HOST": "127.0.0.1:1",
    }
    assert "is this an access point?" in refused(env=nowhere)


def test_a_rule_that_needs_snakemakes_python_where_apptainer_is_missing(
    refused, workflow, tmp_path_factory
):
    tools = tmp_path_factory.mktemp("tools")
    for tool in Path("/usr/bin").iterdir():
        if tool.name not in ("apptainer", "singularity"):
            (tools / tool.name).symlink_to(tool)
    workflow.snakefile('rule all:\n    output: "out"\n    run: open(output[0], "w")\n')
    nothing = tmp_path_factory.mktemp("cache")
    said = refused(
        env={"PATH": f"{Path(sys.executable).parent}:{tools}", "OSGPILOT_CACHE": str(nothing)}
    )
    assert "rule all needs the Python environment of Snakemake where it runs: " in said
    assert "--osgpilot-runtime-image" in said


def test_a_conda_environment_where_this_machine_has_no_conda(refused, workflow):
    (workflow.folder / "env.yaml").write_text("dependencies: [tools]")
    workflow.snakefile(SNAKEFILE.replace("    shell", '    conda: "env.yaml"\n    shell'))
    said = refused("--sdm", "conda", "--osgpilot-runtime-image", "/opt/sif/runtime.sif")
    assert "rule all has a `conda:` environment, and there is no conda on this machine" in said


def test_an_input_with_the_working_folder_in_it(refused, workflow):
    workflow.snakefile('rule all:\n    input: ".."\n    output: "out"\n    shell: "touch out"\n')
    assert "rule all: .. is the working folder or a folder around it" in refused()


def test_storage_in_a_folder_of_this_machine(refused, workflow):
    workflow.snakefile(
        'rule all:\n    output: storage.fs("/home/alice/kept.txt")\n    shell: "touch {output}"\n'
    )
    said = refused("--osgpilot-runtime-image", "/opt/sif/runtime.sif")
    assert "rule all: /home/alice/kept.txt is in a folder of this machine" in said
    assert "--osgpilot-shared-prefixes" in said


def test_shared_prefixes_that_cannot_be_any(refused):
    assert "--osgpilot-shared-prefixes 'data'" in refused("--osgpilot-shared-prefixes", "data")


@pytest.mark.parametrize(
    ("resources", "line"),
    [
        ('ospool="maybe"', "rule all: the resource ospool is 'maybe'; it has to be True, False"),
        ("ospool=True, mem_mb=99000", "lacks 95272 MB of memory"),
        ("osgpilot_pilot_cores=3", "osgpilot_pilot_cores is 3; pilots that it could run on have"),
        ('osgpilot_partition="no"', "osgpilot_partition is 'no'; the partitions of the site file"),
        (
            'osgpilot_pilot_sharing="all"',
            "osgpilot_pilot_sharing is 'all'; it can be workflow, owner, project",
        ),
        ('osg_project="a b"', "rule all: the resource osg_project 'a b' cannot be used: letters"),
    ],
)
def test_resources_that_no_pilot_has_are_refused(refused, workflow, resources, line):
    workflow.snakefile(SNAKEFILE.replace("    shell", f"    resources: {resources}\n    shell"))
    assert line in refused()


def test_no_other_place_for_a_rule_that_wants_one(refused, workflow):
    workflow.snakefile(SNAKEFILE.replace("    shell", "    resources: ospool=False\n    shell"))
    line = "rule all: it sets ospool=False, but --osgpilot-fallback none allows only the OSPool"
    assert line in refused("--osgpilot-fallback", "none")


@pytest.mark.parametrize("setting", ["offload", "fallback"])
def test_a_choice_that_is_none(workflow, setting):
    workflow.snakefile(SNAKEFILE)
    assert workflow.run(f"--osgpilot-{setting}", "maybe") == 2
    assert f"argument --osgpilot-{setting}: invalid choice: 'maybe'" in workflow.said
