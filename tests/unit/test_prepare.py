"""How a job runs on the execution point: what the rule has, what the user wishes."""

from types import SimpleNamespace

import pytest
from doubles import InStorage
from snakemake.resources import Resource, Resources
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.payload.prepare import Preparer
from snakemake_executor_plugin_osgpilot.payload.traffic import Traffic


class Rule(SimpleNamespace):
    """A rule with a shell command, as far as the choice looks at it."""

    def __init__(self, **directives):
        super().__init__(
            **{
                "shellcmd": "true",
                "script": None,
                "wrapper": None,
                "output": [],
                "conda_env": None,
                "benchmark": None,
                "resources": Resources.default("bare"),
                **directives,
            }
        )

    def __str__(self):
        return "r"


def job(rule=None, params=(), input=(), output=(), **resources):
    return SimpleNamespace(
        rule=rule or Rule(),
        resources=resources,
        params=params,
        input=input,
        output=output,
        log=(),
    )


def preparer(kind="auto", image="", shared=(), sdm=()):
    workflow = SimpleNamespace(
        deployment_settings=SimpleNamespace(deployment_method=set(sdm)),
        storage_settings=SimpleNamespace(shared_fs_usage=set(shared)),
    )
    schemes = frozenset(["https"])
    return Preparer(
        workflow,
        kind,
        image,
        None,
        None,
        None,
        {},
        Traffic((), schemes, fetched_here=False, stored_here=False),
    )


def flagged(flag):
    return SimpleNamespace(flags={flag: True})


@pytest.mark.parametrize(
    "rule",
    [
        Rule(shellcmd=None),
        Rule(shellcmd=None, script="x.py"),
        Rule(notebook="x.ipynb"),
        Rule(wrapper="bio/bwa"),
        Rule(benchmark="b.tsv"),
        Rule(shadow_depth="minimal"),
        Rule(output=[flagged("ensure")]),
    ],
)
def test_rules_that_need_snakemake_there(rule):
    assert preparer()._needs_snakemake(job(rule))
    with pytest.raises(BadInput, match="cannot run as its command alone"):
        preparer("direct")._needs_snakemake(job(rule))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(),
        Rule(output=[flagged("touch")]),
        Rule(output=[flagged("protected")]),
        Rule(shellcmd=None, script="x.sh"),
    ],
)
def test_a_shell_rule_runs_as_its_command_unless_told_otherwise(rule):
    assert not preparer()._needs_snakemake(job(rule))
    assert preparer("snakemake")._needs_snakemake(job(rule))
    assert preparer()._needs_snakemake(job(rule, osgpilot_payload="snakemake"))
    assert not preparer("snakemake")._needs_snakemake(job(rule, osgpilot_payload="direct"))


def test_conda_counts_only_when_snakemake_is_told_to_use_it():
    rule = Rule(conda_env="env.yaml")
    assert not preparer()._needs_snakemake(job(rule))
    assert preparer(sdm=["conda"])._needs_snakemake(job(rule))


def test_a_wish_that_is_none_is_refused():
    with pytest.raises(BadInput, match="osgpilot_payload 'fast'"):
        preparer()._needs_snakemake(job(osgpilot_payload="fast"))


def test_the_image_is_the_rules_own_the_runtime_or_the_general_one():
    general = {"container_image": "tools.sif"}
    assert preparer()._image(job(**general), with_snakemake=False) == "tools.sif"
    assert preparer()._image(job(**general), with_snakemake=True) == "tools.sif"
    assert preparer(image="rt.sif")._image(job(**general), with_snakemake=True) == "rt.sif"
    own = {**general, "osgpilot_runtime_image": "mine.sif"}
    assert preparer(image="rt.sif")._image(job(**own), with_snakemake=True) == "mine.sif"


def test_without_an_image_or_with_a_shared_file_system_it_is_refused_at_once():
    python_job = job(Rule(shellcmd=None))
    with pytest.raises(BadInput, match="--osgpilot-runtime-image"):
        preparer()._check(python_job)
    with pytest.raises(BadInput, match="--shared-fs-usage none"):
        preparer(image="rt.sif", shared=[SharedFSUsage.SOURCES])._check(python_job)
    preparer(image="rt.sif")._check(python_job)


def test_a_wrapper_that_only_this_machine_has_is_refused_at_once():
    own = job(Rule(shellcmd=None, wrapper="file:///home/me/wrappers/x"))
    with pytest.raises(BadInput, match="--wrapper-prefix"):
        preparer(image="rt.sif")._check(own)
    preparer(image="rt.sif")._check(job(Rule(shellcmd=None, wrapper="file:wrappers/x")))


def test_files_in_storage_come_by_url_unless_only_snakemake_can_bring_them():
    by_url, same_name = InStorage("https://h/a/x"), InStorage("https://h/b/x", path="other")
    elsewhere = InStorage("s3://bucket/x")
    assert not preparer()._needs_snakemake(job(input=[by_url]))
    assert preparer()._needs_snakemake(job(input=[elsewhere]))
    assert preparer()._needs_snakemake(job(output=[by_url]))
    assert preparer()._needs_snakemake(job(input=[by_url, same_name]))
    assert preparer()._needs_snakemake(job(input=[by_url, "x"]))


def test_a_tmpdir_that_is_worked_out_there_needs_snakemake():
    def computed(wildcards):
        return "/x"

    given = Resources({"tmpdir": Resource("tmpdir", "/x")})
    assert not preparer()._needs_snakemake(job(Rule(resources=given)))
    function = Resources({"tmpdir": Resource("tmpdir", computed)})
    assert preparer()._needs_snakemake(job(Rule(resources=function)))
    assert preparer()._needs_snakemake(job(params=["in <TBD>/x"]))
