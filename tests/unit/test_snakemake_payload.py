"""The command that starts Snakemake on the execution point."""

import json
import shlex
import threading
import time
from types import SimpleNamespace

import pytest
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args, format_cli_arg

from snakemake_executor_plugin_osgpilot.payload.entry import one_at_a_time
from snakemake_executor_plugin_osgpilot.payload.snakemake import by_entry, in_order, without_cache

AWKWARD = ["a b", "it's", 'x"y', "$(id) `id` $HOME", "a\\b", "a\nb", "ü;&", "a,b", "'a'", '"a']


def started(wildcards=(), unneeded=(), config=()):
    """What FILE tells, and the arguments of entry.py."""
    specs = [SimpleNamespace(rulename="r", wildcards_dict=each) for each in wildcards]
    theirs = " ".join(
        (
            "python -m snakemake",
            format_cli_arg("--target-jobs", encode_target_jobs_cli_args(specs)),
            format_cli_arg("--unneeded-temp-files", list(unneeded)),
            format_cli_arg("--config", list(config)),
            "--cores 1",
        )
    )
    workflow = SimpleNamespace(
        dag=SimpleNamespace(get_unneeded_temp_files=lambda job: unneeded),
        config_settings=SimpleNamespace(config_args=config),
    )
    job = SimpleNamespace(get_target_spec=lambda: specs)
    write, start = by_entry(theirs, job, workflow).split(" > osgpilot-told || exit\n")
    python, option, _, file, *arguments = shlex.split(start)
    assert (python, option, file) == ("python", "-c", "osgpilot-told")
    return json.loads(shlex.split(write)[2]), arguments


@pytest.mark.parametrize("value", AWKWARD)
def test_wildcards_temporary_files_and_configuration_arrive_as_they_are(value):
    told, arguments = started([{"w": value}, {}], [value], [f"key={value}"])
    assert told == {"jobs": [["r", {"w": value}], ["r", {}]], "unneeded_temp_files": [value]}
    assert arguments == ["--config", f"key={value}", "--cores", "1"]


def test_jobs_of_a_group_are_told_in_the_same_order_at_every_start():
    jobs = [{"w": "2"}, {"w": "1"}]
    assert started(jobs) == started(jobs[::-1])


def test_the_snakemake_there_is_not_told_of_a_cache_that_is_here():
    def left(*rules):
        told = format_cli_arg("--cache", list(rules))
        workflow = SimpleNamespace(
            workflow_settings=SimpleNamespace(cache=rules),
            spawned_job_args_factory=SimpleNamespace(workflow_property_to_arg=lambda name: told),
        )
        return without_cache(f"snakemake --x  {told} --cores 1", workflow).split()

    assert left("a", "b") == left() == ["snakemake", "--x", "--cores", "1"]
    none = SimpleNamespace(workflow_settings=SimpleNamespace(cache=None))
    assert without_cache("snakemake --cores 1", none) == "snakemake --cores 1"


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


def test_an_environment_that_several_jobs_share_is_made_by_one_at_a_time(tmp_path):
    made, at_work = [], []

    def create(env):
        at_work.append(env)
        assert len(at_work) == 1
        time.sleep(0.01)
        at_work.remove(env)
        made.append(env)

    env = SimpleNamespace(address=str(tmp_path / "0123abcd_"))
    locked = one_at_a_time(create)
    threads = [threading.Thread(target=locked, args=[env]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
