"""Raw submit commands and attributes: accepted, or rejected with an alternative."""

import pytest

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.raw_submit_commands import (
    attribute,
    merge,
    submit_command,
)


def test_value_becomes_a_literal_of_its_type():
    assert attribute("A", 'a "b" \\') == ("My.A", '"a \\"b\\" \\"')
    assert attribute("A", "") == ("My.A", '""')
    assert attribute("A", True) == ("My.A", "true")
    assert attribute("A", -3) == ("My.A", "-3")
    assert attribute("A", 0.5) == ("My.A", "0.5")
    assert submit_command("Nice_User", True) == ("nice_user", "true")
    assert submit_command("rank", " Memory + 1 ") == ("rank", "Memory + 1")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("request_memory", "mem_mb"),
        ("RequestMemory", "mem_mb"),
        ("request_cpus", "threads"),
        ("request_disk", "disk_mb"),
        ("Request_GPUs", "gpu"),
        ("require_gpus", "gpu_model"),
        ("request_fpgas", "cores, memory, disk and GPUs only"),
        ("container_image", "container_image"),
        ("container_is_common", "container_image"),
        ("universe", "container_image"),
        ("environment", "envvars:"),
        ("getenv", "envvars:"),
        ("max_retries", "retries:"),
        ("on_exit_remove", "retries:"),
        ("transfer_input_files", "input:"),
        ("should_transfer_files", "input:"),
        ("input", "input:"),
        ("executable", "the rule itself"),
        ("arguments", "the rule itself"),
        ("noop_job", "the rule itself"),
        ("log", "osgpilot follows"),
        ("log_xml", "osgpilot follows"),
        ("output", "input:"),
        ("error", "osgpilot follows"),
        ("initialdir", "osgpilot follows"),
        ("ulog_execute_attrs", "osgpilot follows"),
        ("leave_in_queue", "osgpilot keeps"),
        ("max_materialize", "osgpilot keeps"),
        ("batch_name", "osgpilot keeps"),
        ("OSGPilotKey", "osgpilot keeps"),
        ("queue", "statement"),
        ("If", "statement"),
    ],
)
def test_reserved_command_is_rejected_with_an_alternative(name, use):
    with pytest.raises(InputError, match=use):
        submit_command(name, "1")


@pytest.mark.parametrize(
    "name", ["accounting_group", "concurrency_limits", "priority", "rank", "allowed_job_duration"]
)
def test_other_commands_are_accepted(name):
    assert submit_command(name, "x") == (name, "x")


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("ProjectName", "--osgpilot-project"),
        ("requestmemory", "mem_mb"),
        ("RequestGPUs", "gpu"),
        ("JobDurationCategory", "runtime"),
        ("Requirements", "htcondor_requirements"),
        ("SingularityImage", "container_image"),
        ("OSGPilotWorkflow", "osgpilot or HTCondor"),
        ("Owner", "osgpilot or HTCondor"),
        ("Cmd", "osgpilot or HTCondor"),
        ("TransferInput", "osgpilot or HTCondor"),
        ("JobUniverse", "osgpilot or HTCondor"),
        ("true", "ClassAd language"),
    ],
)
def test_reserved_attribute_is_rejected_with_an_alternative(name, use):
    with pytest.raises(InputError, match=use):
        attribute(name, 1)


@pytest.mark.parametrize("name", ["", "a b", "a=1\nb", "My.A", "1a", "ä", "a" * 129])
@pytest.mark.parametrize("make", [attribute, submit_command])
def test_invalid_name_is_rejected(make, name):
    with pytest.raises(InputError, match="is no name"):
        make(name, 1)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("a\n+Evil = 1", "line breaks"),
        ("a\r", "line breaks"),
        ("a\0", "line breaks"),
        ("$(HOME)", r"`\$`"),
        ("$$(Memory)", r"`\$`"),
        ("a\\", "swallow"),
        ("a\\ ", "swallow"),
        (" ", "empty"),
        (2**63, "64 bits"),
        (float("nan"), "finite"),
        (float("inf"), "finite"),
    ],
)
def test_unsafe_value_is_rejected(value, why):
    with pytest.raises(InputError, match=why):
        submit_command("rank", value)


def test_requirements_are_combined_with_the_defaults():
    _, text = submit_command("requirements", "A || B")
    assert merge({"requirements": "C || D"}, [("requirements", text)]) == {
        "requirements": "(C || D) && (A || B)"
    }


@pytest.mark.parametrize("bad", ["true) || (true", "true ]", "a +", "a // b", "a = 1"])
def test_requirements_are_one_expression(bad):
    with pytest.raises(InputError, match="not an expression"):
        submit_command("requirements", bad)


def test_raw_commands_never_replace_reserved_lines():
    assert merge({"log": "ours"}, [("log", "theirs"), ("rank", "1")]) == {
        "log": "ours",
        "rank": "1",
    }
