"""Choosing how and in which image a job runs."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from doubles import InStorage, messages
from snakemake.resources import Resources
from snakemake.shell import shell

from snakemake_executor_plugin_osgpilot.errors import (
    InputError,
    MissingPrerequisiteError,
    NoApptainerError,
)
from snakemake_executor_plugin_osgpilot.model.resources import PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.staging import preparer as preparing
from snakemake_executor_plugin_osgpilot.staging.container_image import Images
from snakemake_executor_plugin_osgpilot.staging.preparer import Preparer
from snakemake_executor_plugin_osgpilot.staging.resource_request import Requests
from snakemake_executor_plugin_osgpilot.staging.s3_keys import KeyFiles
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy

POLICY = Policy((PilotType("compute/4c", Shape(4, 16000), (4200,)),))


class Rule(SimpleNamespace):
    """A rule with a shell command, as far as the choice looks at it."""

    def __init__(self, **directives):
        super().__init__(
            **{
                "shellcmd": "true",
                "script": None,
                "wrapper": None,
                "notebook": None,
                "name": "r",
                "output": [],
                "conda_env": None,
                "benchmark": None,
                "env_modules": None,
                "resources": Resources.default("bare"),
                "cache": SimpleNamespace(output=False),
                **directives,
            }
        )

    def __str__(self):
        return "r"


def job(rule=None, container=None, params=(), input=(), output=(), group=None, **resources):
    return SimpleNamespace(
        rule=rule or Rule(),
        resources={"mem_mb": 500, "disk_mb": 100, **resources},
        threads=1,
        params=params,
        input=input,
        output=output,
        log=(),
        container_img_url=container,
        benchmark=None,
        wildcards={},
        wildcards_dict={},
        group=group,
        dag=SimpleNamespace(get_job_group=lambda job: None),
        is_group=lambda: False,
    )


def group(*parts):
    return SimpleNamespace(name="g", toposorted=[parts], is_group=lambda: True)


def preparer(
    image="",
    sdm=(),
    included=(),
    cache=None,
    warned=None,
):
    said = []
    workflow = SimpleNamespace(
        deployment_settings=SimpleNamespace(deployment_method=set(sdm)),
        workflow_settings=SimpleNamespace(cache=cache),
        included=included,
        configfiles=(),
    )
    traffic = TransferPolicy(
        ("/data",), frozenset(["https", "s3"]), fetched_here=False, stored_here=False, signs=True
    )
    own = messages(said, warned)
    images, requests = Images(Path("/w"), own), Requests(POLICY, own)
    keys = KeyFiles(Path("/nowhere"))
    return Preparer(workflow, image, None, None, {}, traffic, images, requests, keys, own)


def flagged(flag):
    return SimpleNamespace(flags={flag: True})


def test_the_former_choice_of_a_payload_is_refused():
    with pytest.raises(InputError, match="there is no resource osgpilot_payload; there are"):
        preparer()._check(job(osgpilot_payload="snakemake"))


TOOLS, MINE, RUNTIME = "docker://tools", "docker://mine", "docker://rt"


def image_of(wanted, job):
    return wanted._image(job).name


def test_the_image_is_chosen_by_rule_then_runtime():
    body = Rule(shellcmd=None)
    assert image_of(preparer(image=RUNTIME), job(container_image=TOOLS)) == TOOLS
    assert image_of(preparer(), job(body, container_image=TOOLS)) == TOOLS
    assert image_of(preparer(image=RUNTIME), job(body, container_image=TOOLS)) == RUNTIME
    own = job(body, container_image=TOOLS, osgpilot_runtime_image=MINE)
    assert image_of(preparer(image=RUNTIME), own) == MINE


@pytest.mark.parametrize(
    "directives", [{"script": "x.R"}, {"script": "x.py"}, {"notebook": "x"}, {"wrapper": "x"}]
)
def test_a_script_runs_in_its_own_image_or_where_snakemake_would(directives):
    rule = Rule(shellcmd=None, **directives)
    assert image_of(preparer(image=RUNTIME), job(rule)) == RUNTIME
    assert image_of(preparer(image=RUNTIME), job(rule, osgpilot_runtime_image=MINE)) == MINE
    assert image_of(preparer(image=RUNTIME), job(rule, container_image=TOOLS)) == TOOLS
    assert image_of(preparer(), job(rule)) == ""


def test_a_container_directive_applies_if_enabled_and_not_overridden():
    contained = job(container=TOOLS)
    assert image_of(preparer(), contained) == ""
    assert image_of(preparer(sdm=["apptainer"]), contained) == TOOLS
    assert image_of(preparer(sdm=["apptainer"]), job(container=TOOLS, container_image=MINE)) == MINE


def test_a_rule_that_loses_its_container_to_the_runtime_image_is_named_once():
    warnings = []
    wanted = preparer(image=RUNTIME, sdm=["apptainer"], warned=warnings)
    body = Rule(shellcmd=None)
    for _ in range(2):
        assert image_of(wanted, job(body, container=TOOLS)) == RUNTIME
    assert len(warnings) == 1
    assert f"osgpilot_runtime_image={TOOLS}" in warnings[0]
    assert image_of(wanted, job(body, osgpilot_runtime_image=MINE)) == MINE
    assert len(warnings) == 1


def test_a_group_runs_in_the_one_image_that_its_members_name():
    assert image_of(preparer(), group(job(), job(container_image=TOOLS))) == TOOLS
    with pytest.raises(InputError, match="group job g: its members name different images"):
        image_of(preparer(), group(job(container_image=MINE), job(container_image=TOOLS)))


def test_the_packed_environment_is_for_rules_that_name_no_image(tmp_path):
    (tmp_path / "packed.sif").touch()
    made = []

    def make():
        made.append("packed")
        return str(tmp_path / "packed.sif")

    body = Rule(shellcmd=None)
    wanted = replace(preparer(), environment_image=make)
    for part in (job(), job(body, container_image=TOOLS), job(body, osgpilot_runtime_image=MINE)):
        assert image_of(wanted, part) in ("", TOOLS, MINE)
    assert image_of(replace(preparer(image=RUNTIME), environment_image=make), job(body)) == RUNTIME
    assert made == []
    for part in (job(body), job(body), group(job(), job(body))):
        assert image_of(wanted, part) == str(tmp_path / "packed.sif")
    assert made == ["packed"]


def test_an_environment_that_cannot_be_packed_is_an_error_of_the_rule():
    def make():
        raise MissingPrerequisiteError("no apptainer here")

    with pytest.raises(InputError, match=r"rule r needs the Python environment.*: no apptainer"):
        image_of(replace(preparer(), environment_image=make), job(Rule(shellcmd=None)))


def in_python(path, name="x.py", **directives):
    """Return a rule whose script exists."""
    language = {"language_info": {"name": "python"}}
    text = json.dumps({"metadata": language, "cells": [], "nbformat": 4, "nbformat_minor": 5})
    (path / name).write_text(text)
    cache = SimpleNamespace(open=lambda file: io.StringIO(text), get_path=str)
    kind = "notebook" if name.endswith("ipynb") else "script"
    given = {kind: name, "basedir": str(path), "workflow": SimpleNamespace(sourcecache=cache)}
    return Rule(shellcmd=None, **given, **directives)


@pytest.mark.parametrize("name", ["x.py", "x.py.ipynb"])
def test_a_script_in_python_without_any_image_runs_in_the_packed_environment(tmp_path, name):
    packed = tmp_path / "packed.sif"
    packed.touch()
    wanted = replace(preparer(), environment_image=lambda: str(packed))
    rule = in_python(tmp_path, name)
    assert image_of(wanted, job(rule)) == str(packed)
    assert image_of(wanted, group(job(), job(rule))) == str(packed)
    # any image that is named comes first, in a group that of any member
    assert image_of(wanted, job(rule, container_image=TOOLS)) == TOOLS
    assert image_of(wanted, group(job(container_image=TOOLS), job(rule))) == TOOLS
    assert image_of(replace(wanted, runtime_image=RUNTIME), job(rule)) == RUNTIME
    rule.workflow.sourcecache.open = lambda file: (tmp_path / "not there yet").open()
    assert image_of(wanted, job(rule)) == ""
    for other in (in_python(tmp_path, "x.R"), in_python(tmp_path, "x.sh"), Rule()):
        assert image_of(wanted, job(other)) == ""


def test_a_command_in_python_runs_where_a_script_in_python_does(tmp_path):
    packed = tmp_path / "packed.sif"
    packed.touch()
    wanted = replace(preparer(), environment_image=lambda: str(packed))
    rule = Rule(shellcmd="python scripts/x.py {input} > {output}")
    assert image_of(wanted, job(rule)) == str(packed)
    assert image_of(wanted, job(rule, container_image=TOOLS)) == TOOLS
    assert image_of(replace(wanted, runtime_image=RUNTIME), job(rule)) == RUNTIME
    modules = replace(wanted, workflow=preparer(sdm=["env-modules"]).workflow)
    with_modules = Rule(shellcmd=rule.shellcmd, env_modules="python/3.12")
    assert image_of(modules, job(with_modules)) == ""


def test_a_script_in_python_finds_modules_of_the_environment_on_the_node(tmp_path):
    wanted = replace(preparer(sdm=["env-modules"]), environment_image=lambda: "/packed.sif")
    assert image_of(wanted, job(in_python(tmp_path, env_modules="python/3.12"))) == ""


def test_a_script_in_python_runs_on_the_node_only_if_there_is_no_apptainer(tmp_path):
    calls, warned = [], []

    def make():
        calls.append("make")
        raise reason

    rule, reason = in_python(tmp_path), NoApptainerError("no apptainer here")
    wanted = replace(preparer(warned=warned), environment_image=make)
    assert [image_of(wanted, job(rule)) for _ in range(3)] == ["", "", ""]
    assert (len(calls), len(warned)) == (1, 1)
    assert "no Apptainer" in warned[0]
    reason = MissingPrerequisiteError("the disk is full")
    with pytest.raises(InputError, match="rule r: the disk is full"):
        image_of(replace(preparer(), environment_image=make), job(rule))


def test_a_rule_without_outputs_gets_a_warning():
    warned = []
    preparer(warned=warned)._warn_of_losses(job(output=["x"]))
    assert warned == []
    preparer(warned=warned)._warn_of_losses(job())
    assert warned[0].startswith("rule r has no output: it runs on another machine")


def test_a_rule_that_loses_the_cache_between_workflows_is_named():
    warned = []
    cached = Rule(cache=SimpleNamespace(output=True))
    in_group = job(cached, output=["x"], group="g")
    preparer(warned=warned)._warn_of_losses(in_group)
    preparer(warned=warned, cache=["r"])._warn_of_losses(job(cached, output=["x"]))
    preparer(warned=warned, cache=["s"])._warn_of_losses(job(output=["x"], group="g"))
    assert warned == []
    preparer(warned=warned, cache=["r"])._warn_of_losses(in_group)
    stored = job(cached, output=[InStorage("s3://bucket/x", path="store/x")])
    preparer(warned=warned, cache=["r"])._warn_of_losses(stored)
    why = "rule r runs without the cache between workflows (--cache), as "
    assert warned == [f"{why}it runs in a group", f"{why}its outputs are in storage"]


def test_files_in_s3_that_need_different_keys_are_left_to_the_plugin():
    def stored(name, **keys):
        return InStorage(f"s3://bucket/{name}", path=f"store/{name}", **keys)

    mine, too = (stored(name, access_key="A", secret_key="S") for name in "xy")
    theirs = stored("z", access_key="B", secret_key="T")
    assert image_of(preparer(image=RUNTIME), job(input=[mine, too])) == ""
    assert image_of(preparer(image=RUNTIME), job(input=[mine, theirs])) == RUNTIME


def test_a_group_of_a_body_and_of_an_image_without_snakemake_is_refused():
    body, command = Rule(shellcmd=None), Rule()
    wanted = group(job(body), job(command, container_image=TOOLS))
    with pytest.raises(InputError, match="the `run:` of rule r needs an image with Snakemake"):
        image_of(preparer(image=RUNTIME), wanted)


def test_direct_commands_get_no_secrets_of_storage_plugins():
    wanted = replace(preparer(), environment={"MINE": "1", "KEY": "2"}, of_storage=["KEY"])
    assert wanted._for_commands == {"MINE": "1"}


def test_stored_files_travel_by_url_if_possible():
    by_url, same_name = InStorage("https://h/a/x"), InStorage("https://h/b/x", path="other")
    assert image_of(preparer(image=RUNTIME), job(input=[by_url])) == ""
    for files in ([by_url, same_name], [by_url, "x"]):
        # by the storage plugin, as HTCondor puts URLs in one folder
        assert image_of(preparer(image=RUNTIME), job(input=files)) == RUNTIME


def test_what_only_a_plugin_transfers_needs_the_plugin_there_and_no_snakefile():
    elsewhere, away = InStorage("s3://bucket/x"), InStorage("s3://bucket/x", path="/scratch/x")
    by_url = InStorage("https://h/a/x")
    for files in ({"input": [elsewhere]}, {"output": [by_url]}):
        assert image_of(preparer(image=RUNTIME), job(**files)) == RUNTIME
    assert image_of(preparer(image=RUNTIME), job(input=[by_url])) == ""
    with pytest.raises(InputError, match=r"s3://bucket/x has an absolute path .*prefix, or leave"):
        preparer()._check(job(input=[away]))


def test_a_script_without_its_interpreter_is_refused_at_the_start(monkeypatch):
    asked = []

    def lacks(image, program):
        asked.append((image, program))
        return image == TOOLS

    monkeypatch.setattr(preparing, "lacks", lacks)
    monkeypatch.setattr(preparing, "interpreters", lambda job: ("python", "python3"))
    rule = Rule(shellcmd=None, script="x.py")
    refused = f"rule r: its image {TOOLS} has no python3 and no python; name an image"
    with pytest.raises(InputError, match=refused):
        preparer()._check(job(rule, container_image=TOOLS))
    assert asked == [(TOOLS, "python"), (TOOLS, "python3")]
    preparer()._check(job(rule, container_image=MINE))
    # the prefix of each command may provide it
    monkeypatch.setattr(shell, "_process_prefix", "module load python;")
    preparer()._check(job(rule, container_image=TOOLS))
