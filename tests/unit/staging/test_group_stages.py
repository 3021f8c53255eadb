"""Groups of a real DAG that end before a member whose value their own files decide."""

import logging
from contextlib import contextmanager

import pytest
from dags import workflow_of

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging import group_stages
from snakemake_executor_plugin_osgpilot.staging.direct import check_values
from snakemake_executor_plugin_osgpilot.staging.group_stages import split_groups, stages
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy

TRAFFIC = TransferPolicy((), frozenset(), fetched_here=False, stored_here=False)

RULES = """
rule all:
    input: expand("{n}.last", n=NAMES), expand("{n}.side", n=NAMES)

rule make:
    output: "{n}.made"
    group: "g"
    shell: "echo 1 > {output}"

rule use:
    input: "{n}.made"
    output: "{n}.used"
    group: "g"
    resources: mem_mb=lambda wildcards, input: max(2 * input.size_mb, 500)
    shell: "echo {resources.mem_mb} > {output}"

rule side:
    input: "{n}.made"
    output: "{n}.side"
    group: "g"
    shell: "cp {input} {output}"

rule last:
    input: "{n}.used", "{n}.made"
    output: "{n}.last"
    group: "g"
    shell: "cat {input} > {output}"
"""


@contextmanager
def dag_of(text, monkeypatch, folder, **groups):
    """Yield the DAG of a workflow in `folder`."""
    monkeypatch.chdir(folder)
    with workflow_of(text, **groups) as workflow:
        yield workflow.dag


def grouped(dag):
    """Return the rules and names of each group, as the scheduler gets them."""
    found = {frozenset(g.jobs) for g in map(dag.get_job_group, dag.needrun_jobs()) if g}
    return sorted(
        sorted(f"{job.rule}{job.wildcards_dict['n']}" for job in group) for group in found
    )


def ready(dag):
    return {job for group in dag.ready_jobs for job in (group if group.is_group() else [group])}


def test_a_group_ends_before_a_member_with_a_late_value(monkeypatch, tmp_path, caplog):
    caplog.set_level(logging.INFO, group_stages.logger.name)
    with dag_of(f"NAMES = ['1']{RULES}", monkeypatch, tmp_path) as dag:
        assert grouped(dag) == [["last1", "make1", "side1", "use1"]]
        split_groups(dag, lambda job: True)
        assert grouped(dag) == [["last1", "use1"], ["make1", "side1"]]
        assert {str(job.rule) for job in ready(dag)} == {"make", "side"}
    (record,) = (each for each in caplog.records if each.name == group_stages.logger.name)
    assert record.getMessage() == (
        "rule use: its mem_mb depends on 1.made, which its group makes; so group g ends before it"
    )


def test_what_runs_elsewhere_or_has_no_late_value_stays_as_it_is(monkeypatch, tmp_path):
    with dag_of(f"NAMES = ['1']{RULES}", monkeypatch, tmp_path) as dag:
        split_groups(dag, lambda job: False)
        assert len(grouped(dag)) == 1
    text = RULES.replace("{resources.mem_mb}", "1")
    with dag_of(f"NAMES = ['1']{text}", monkeypatch, tmp_path) as dag:
        before = dag.ready_jobs
        split_groups(dag, lambda job: True)
        assert len(grouped(dag)) == 1
        assert dag.ready_jobs == before


def test_parts_of_a_group_keep_the_number_of_components(monkeypatch, tmp_path):
    text = f"NAMES = [*'123']{RULES}"
    with dag_of(text, monkeypatch, tmp_path, group_components={"g": 3}) as dag:
        split_groups(dag, lambda job: True)
        late = [f"{rule}{n}" for rule in ("last", "use") for n in "123"]
        early = [f"{rule}{n}" for rule in ("make", "side") for n in "123"]
        assert grouped(dag) == [late, early]


@pytest.mark.parametrize("made", ['service("{n}.made")', 'temp("{n}.made", group_jobs=True)'])
def test_a_group_that_has_to_stay_together_does(made, monkeypatch, tmp_path):
    text = RULES.replace('output: "{n}.made"', f"output: {made}")
    with dag_of(f"NAMES = ['1']{text}", monkeypatch, tmp_path) as dag:
        split_groups(dag, lambda job: True)
        assert len(grouped(dag)) == 1
        late = next(job for job in dag.jobs if str(job.rule) == "use")
        refused = "rule use: its mem_mb depends on 1.made, .* makes: take the rule out of group"
        with pytest.raises(InputError, match=refused):
            check_values(late, TRAFFIC)


def test_no_member_depends_on_a_later_stage():
    dependencies = {
        "a": {},
        "b": {"a": 1},
        "c": {"b": 1},
        "d": {"a": 1, "x": 1},
        "e": {"c": 1, "d": 1},
    }
    assert stages("abcde", dependencies, {"b", "e"}) == {"a": 0, "b": 1, "c": 1, "d": 0, "e": 2}
