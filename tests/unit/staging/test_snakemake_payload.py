"""The command that starts Snakemake on the execution point."""

import json
import os
import shlex
import shutil
import threading
import time
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError
from snakemake.io import glob_wildcards
from snakemake_interface_executor_plugins.utils import encode_target_jobs_cli_args, format_cli_arg

from snakemake_executor_plugin_osgpilot.common.snakemake_compat import recording
from snakemake_executor_plugin_osgpilot.config import snakefile_globs as globbed
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings
from snakemake_executor_plugin_osgpilot.staging.snakemake_entry import (
    as_found,
    compared,
    key_of,
    one_at_a_time,
)
from snakemake_executor_plugin_osgpilot.staging.via_snakemake import (
    in_order,
    via_entry,
    without_cache,
)

AWKWARD = ["a b", "it's", 'x"y', "$(id) `id` $HOME", "a\\b", "a\nb", "ü;&", "a,b", "'a'", '"a']


def started(wildcards=(), unneeded=(), config=(), inputs=()):
    """The content of FILE, and the arguments of snakemake_entry.py."""
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
    rule = SimpleNamespace(name="r")
    parts = [
        SimpleNamespace(rule=rule, wildcards_dict=dict(each), input=inputs) for each in wildcards
    ]
    job = SimpleNamespace(get_target_spec=lambda: specs, is_group=lambda: True, toposorted=[parts])
    write, start = via_entry(theirs, job, workflow).split(" > osgpilot-jobs.json || exit\n")
    python, option, _, file, *arguments = shlex.split(start)
    assert (python, option, file) == ("python", "-c", "osgpilot-jobs.json")
    return json.loads(shlex.split(write)[2]), arguments


@pytest.mark.parametrize("value", AWKWARD)
def test_wildcards_and_configuration_arrive_unchanged(value):
    content, arguments = started([{"w": value}, {}], [value], [f"key={value}"])
    assert content["jobs"] == [["r", {"w": value}], ["r", {}]]
    assert content["unneeded_temp_files"] == [value]
    assert arguments == ["--config", f"key={value}", "--cores", "1"]


def test_jobs_of_a_group_are_listed_in_a_stable_order():
    jobs = [{"w": "2"}, {"w": "1"}]
    assert started(jobs) == started(jobs[::-1])


def test_the_snakemake_there_uses_no_cache_of_this_machine():
    def left(*rules):
        option = format_cli_arg("--cache", list(rules))
        workflow = SimpleNamespace(
            workflow_settings=SimpleNamespace(cache=rules),
            spawned_job_args_factory=SimpleNamespace(workflow_property_to_arg=lambda name: option),
        )
        return without_cache(f"snakemake --x  {option} --cores 1", workflow).split()

    assert left("a", "b") == left() == ["snakemake", "--x", "--cores", "1"]
    none = SimpleNamespace(workflow_settings=SimpleNamespace(cache=None))
    assert without_cache("snakemake --cores 1", none) == "snakemake --cores 1"


def test_the_command_is_the_same_in_every_session():
    """Snakemake writes some options from sets, whose order differs from process to process."""
    first = (
        "s --x b a --rerun-triggers mtime code --default-resources base64//bQ== base64//YQ== --y"
    )
    other = (
        "s --x b a --rerun-triggers code mtime --default-resources base64//YQ== base64//bQ== --y"
    )
    assert in_order(first) == in_order(other) == other
    assert in_order("s --cores 'all' b a --mode 'x'") == "s --cores 'all' b a --mode 'x'"


def test_a_shared_environment_is_created_by_one_job_at_a_time(tmp_path):
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


class File(str):
    def __new__(cls, path, *flags):
        made = super().__new__(cls, path)
        made.flags = dict.fromkeys(flags, True)
        return made


def test_inputs_with_the_same_name_there_are_compared():
    inputs = [File("b"), File("a"), File("s", "storage_object"), File("c", "sourcecache_entry")]
    assert started([{"w": "1"}], inputs=inputs)[0]["inputs"] == [["r", {"w": "1"}, ["a", "b"]]]


def expanding(*files, incomplete=False):
    rule = SimpleNamespace(name="r")
    expand = compared(
        lambda rule, wildcards, groupid=None: (files, {}, {}, incomplete),
        {key_of("r", {"w": "1"}): ["a", "b"]},
    )
    return lambda **wildcards: expand(rule, wildcards)


def test_a_job_with_different_inputs_there_fails():
    a, b = File("a"), File("b")
    assert expanding(b, a, File("s", "storage_object"))(w="1")[0]
    expanding(a)(w="2")
    expanding(a, incomplete=True)(w="1")
    with pytest.raises(WorkflowError, match=r"rule r has 1 inputs here and 2 .* \(b, \.\.\.\)"):
        expanding(a)(w="1")


def test_glob_results_of_the_main_snakemake_are_used_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(globbed, "_found", {})
    for name in ("data/A_1.fq", "data/B_2.fq"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    here = recording(glob_wildcards, globbed.note)
    pattern = "data/{sample}_{n}.fq"
    found = here(pattern)
    assert sorted(found.sample) == ["A", "B"]
    here("x/{y}", files=["x/1"])
    assert globbed.write(tmp_path / "found.json")
    shutil.rmtree("data")
    there = as_found(glob_wildcards, json.loads((tmp_path / "found.json").read_text()))
    assert (there(pattern), there(pattern)._fields) == (found, ("sample", "n"))
    assert there(pattern, files=["data/C_3.fq"]).sample == ["C"]
    assert there("x/{y}").y == []


def test_glob_results_are_written_once_and_only_if_any(tmp_path, monkeypatch):
    monkeypatch.setattr(globbed, "_found", {})
    assert not globbed.write(tmp_path / "found.json")
    assert not (tmp_path / "found.json").exists()
    globbed._found["x/{y}"] = (["y"], [["1"]])
    assert globbed.write(tmp_path / "found.json")
    os.utime(tmp_path / "found.json", (1, 1))
    assert globbed.write(tmp_path / "found.json")
    assert (tmp_path / "found.json").stat().st_mtime == 1


def test_creating_settings_starts_recording_globs(monkeypatch):
    import snakemake.io
    import snakemake.workflow

    for module in (snakemake.io, snakemake.workflow):
        monkeypatch.setattr(module, "glob_wildcards", lambda *_: None)
    for _ in range(2):
        ExecutorSettings()
    assert snakemake.io.glob_wildcards.records
    assert snakemake.workflow.glob_wildcards is snakemake.io.glob_wildcards
