"""The knowledge of a run about the whole workflow."""

import sys
from types import SimpleNamespace

from snakemake_executor_plugin_osgpilot.executor.snakemake_steps import SnakemakeSteps, about
from snakemake_executor_plugin_osgpilot.monitoring.progress import Steps


def workflow(rules=(), files=()):
    dag = SimpleNamespace(untilrules=rules, untilfiles=files)
    return SimpleNamespace(main_snakefile="/w/Snakefile", dag=dag)


def test_the_command_of_a_run_is_kept_without_the_target_of_messages(monkeypatch):
    given = ["/x/snakemake/__main__.py", "--osgpilot-notify", "https://hook/1", "-j", "9", "a b"]
    monkeypatch.setattr(sys, "argv", given)
    told = about(workflow())
    assert told["command"] == "snakemake --osgpilot-notify '…' -j 9 'a b'"
    monkeypatch.setattr(sys, "argv", ["/usr/bin/snakemake", "--osgpilot-notify=https://hook/1"])
    assert told["workflow"] == "/w/Snakefile"
    assert "hook" not in about(workflow())["command"]
    assert all(told.values())
    assert "until" not in told


def test_where_a_run_was_to_end_is_kept():
    assert about(workflow(rules={"map"}, files={"a.txt"}))["until"] == "a.txt, map"


def test_steps_are_counted_by_snakemake_itself():
    workflow = SimpleNamespace(scheduler=None, dag=[1, 2, 3])
    steps = SnakemakeSteps(workflow)
    assert steps() is None
    workflow.scheduler = SimpleNamespace(finished_jobs=1, failed={(1, 2)})
    assert steps() == Steps(1, 3, 2)
