"""Values of jobs of a real DAG, before and while their inputs exist."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings

from snakemake_executor_plugin_osgpilot.staging.early_values import (
    late_value,
    made_in_group,
    resources_of,
    threads_of,
)
from snakemake_executor_plugin_osgpilot.staging.payload import unknown


@contextmanager
def jobs_of(text, monkeypatch, folder):
    """Yield the jobs of a workflow by rule, as Snakemake has them when it makes its executor."""
    monkeypatch.chdir(folder)
    Path("Snakefile").write_text(text)
    output = OutputSettings(quiet={Quietness.ALL}, enable_file_logging=False)
    with SnakemakeApi(output) as api:
        made = api.workflow(ResourceSettings(nodes=1), snakefile=Path("Snakefile"))
        made.dag(DAGSettings(targets={"all"})).printrulegraph()
        dag = made._workflow.dag
        jobs = {str(job.rule): job for job in dag.jobs}
        # as for an executor of remote jobs
        group = SimpleNamespace(jobs=[jobs["make"], jobs["use"]])
        monkeypatch.setattr(dag, "get_job_group", lambda _: group)
        yield jobs


ALL = """
rule all:
    input: "used"
"""

MAKE = """
rule make:
    output: "made"
    shell: "echo 1 > {output}"
"""


def use(lines, command="cp {input} {output}"):
    return (
        f'{ALL}{MAKE}\nrule use:\n    input: "made"\n    output: "used"\n'
        f'    {lines}\n    shell: "{command}"\n'
    )


@pytest.mark.parametrize(
    "lines",
    [
        "threads: lambda wildcards, input: max(1, int(input.size_mb) // 2)",
        "threads: lambda wildcards: len(open('made.idx').read())",
        "resources: mem_mb=lambda wildcards: len(open('made.idx').read()), gpu=1",
    ],
)
def test_a_function_that_fails_early_is_unknown(lines, monkeypatch, tmp_path):
    with jobs_of(use(lines), monkeypatch, tmp_path) as jobs:
        assert threads_of(jobs["use"]) == 1
        assert dict(resources_of(jobs["use"]).items()).get("gpu", 1) == 1


def test_what_is_known_early_is_there(monkeypatch, tmp_path):
    lines = "resources: mem_mb=lambda wildcards, input: 2 * input.size_mb, gpu=2"
    with jobs_of(use(lines), monkeypatch, tmp_path) as jobs:
        resources = resources_of(jobs["use"])
        assert unknown(resources.get("mem_mb"))
        assert resources.get("gpu") == 2


BIG = "resources: mem_mb=lambda wildcards, input: max(2 * input.size_mb, 500)"
THREADS = "threads: lambda wildcards, input: max(1, int(input.size_mb))"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize(
    ("lines", "command", "why"),
    [
        (BIG, "cp {input} {output}", None),
        (BIG, "echo {resources.mem_mb} > {output}", "its mem_mb depends on made, which its group"),
        (BIG, "echo {resources.mem} > {output}", "its mem depends on made, which its group makes"),
        ("params: x=lambda w, input: open(input[0]).read()", "x {params.x}", "a parameter depends"),
        ("params: x=lambda w: 1", "x {params.x}", None),
        ("threads: 2", "x {threads} {input}", None),
    ],
)
def test_a_value_is_late_if_the_group_makes_what_it_depends_on(
    lines, command, why, old, monkeypatch, tmp_path
):
    if old:
        (tmp_path / "made").write_text("from before")
    with jobs_of(use(lines, command), monkeypatch, tmp_path) as jobs:
        inner = made_in_group(jobs["use"])
        assert inner == ["made"]
        assert (late_value(jobs["use"], inner) or "none").startswith(why or "none")
        assert made_in_group(jobs["make"]) == []


def test_threads_of_an_old_file_are_late(monkeypatch, tmp_path):
    (tmp_path / "made").write_text("from before")
    with jobs_of(use(THREADS), monkeypatch, tmp_path) as jobs:
        assert "its threads depend" in late_value(jobs["use"], ["made"])
