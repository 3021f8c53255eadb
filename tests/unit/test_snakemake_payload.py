"""The command that starts Snakemake on the execution point."""

import shlex
from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args, format_cli_arg

from snakemake_executor_plugin_osgpilot.errors import BadInput
from snakemake_executor_plugin_osgpilot.payload.snakemake import in_order, requoted


def spec(**wildcards):
    return SimpleNamespace(rulename="r", wildcards_dict=wildcards)


@pytest.mark.parametrize("value", ["a b", "it's", 'x"y', "$(id) `id` $HOME", "a\\b", "a\nb", "ü;&"])
def test_wildcards_and_configuration_arrive_as_they_are(value):
    specs, config = [spec(w=value), spec()], [f"key={value}"]
    theirs = " ".join(
        (
            "python -m snakemake",
            format_cli_arg("--target-jobs", encode_target_jobs_cli_args(specs)),
            format_cli_arg("--config", config),
            "--cores 1",
        )
    )
    assert shlex.split(requoted(theirs, specs, config)) == [
        *("python", "-m", "snakemake", "--target-jobs", "r:", f"r:w={value}"),
        *("--config", f"key={value}", "--cores", "1"),
    ]


@pytest.mark.parametrize("value", ["a,b", "'a", 'a"'])
def test_wildcards_that_snakemake_loses_are_refused(value):
    with pytest.raises(BadInput, match="wildcard w is"):
        requoted("", [spec(w=value)], [])


def test_the_command_is_the_same_at_every_start():
    """Snakemake writes some options from sets, whose order differs from process to process."""
    first = (
        "s --x b a --rerun-triggers mtime code --default-resources base64//bQ== base64//YQ== --y"
    )
    other = (
        "s --x b a --rerun-triggers code mtime --default-resources base64//YQ== base64//bQ== --y"
    )
    assert in_order(first) == in_order(other) == other
    assert in_order("s --cores 'all' b a --mode 'x'") == "s --cores 'all' b a --mode 'x'"
