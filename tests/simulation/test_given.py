"""Inputs of a simulation by a user: a workflow, a run that has ended, load by others."""

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from documentation import ROOT
from histories import BEGUN_S, LIFE, queued, ran, served

from snakemake_executor_plugin_osgpilot.cli.main import main
from snakemake_executor_plugin_osgpilot.executor.dag_dependencies import JobDependencies
from snakemake_executor_plugin_osgpilot.monitoring.records import needed
from snakemake_executor_plugin_osgpilot.scaling_study import scenarios
from snakemake_executor_plugin_osgpilot.scaling_study.workload_input import of_run

SNAKEFILE = """
rule all:
    input: "sum"
rule make:
    output: "part/{n}"
    resources: runtime=20, mem_mb=1500
    shell: "touch {output}"
localrules: tell
rule tell:
    input: expand("part/{n}", n=range(6))
    output: "told"
    shell: "touch {output}"
rule sum:
    input: "told"
    output: "sum"
    threads: THREADS
    resources: runtime=20
    shell: "touch {output}"
"""


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch):
    monkeypatch.setattr(scenarios, "_given", {})


def invoke(*arguments):
    return CliRunner().invoke(main, ["simulate", *map(str, arguments)])


def rows(*arguments):
    told = invoke(*arguments, "--json", "--workers", 1)
    assert told.exit_code == 0, told.output
    return json.loads(told.stdout)


def only_line(*arguments):
    told = invoke(*arguments)
    assert told.exit_code == 1
    assert told.output.count("\n") == 1
    return told.output


# a run that is over


OFFER = {
    "name": "compute/4c", "walltimes_s": [7200],
    "shape": {"cores": 4, "memory_mb": 16_000, "disk_mb": 10_000, "gpus": 0},
}  # fmt: skip
LIVES = {**LIFE, "policy": {**LIFE["policy"], "offers": [OFFER]}}
LINES = [
    LIVES,
    queued("map", "1", "2", "3"),
    *ran("1", 1, 60, 160), *ran("2", 1, 60, 180), *ran("3", 1, 60, 170),
    queued("merge", "4", cores=4, at_s=BEGUN_S + 182),
    *needed({("1", "2", "3"): ["4"]}),
    *ran("4", 1, 190, 250),
    queued("map", "5"), *ran("5", 1, 60, 70, exit_status=1),
    *served(1, BEGUN_S + 260),
]  # fmt: skip


def written(folder, lines):
    own = folder / ".snakemake" / "osgpilot" / "20260921-141320-abcdef"
    own.mkdir(parents=True)
    (own / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return own


def test_a_run_that_is_over_is_simulated_with_its_jobs_pilots_and_limits(tmp_path):
    scenario = of_run(written(tmp_path, LINES).parents[2])
    jobs = scenario.workload(7)
    assert [jobs.steps[step].rule for step in jobs.step_of] == ["map", "map", "map", "merge"]
    assert list(jobs.runtime_s) == [100, 110, 120, 60]
    assert list(jobs.parents[3]) == [0, 1, 2]
    assert jobs.arrivals_s is None
    assert scenario.limits.pilots_max == 4
    assert scenario.site.boot.median_s == 60


def test_where_a_history_does_not_tell_what_jobs_needed_they_come_as_they_came(tmp_path):
    lines = [line for line in LINES if line["kind"] != "needed"]
    jobs = of_run(written(tmp_path, lines)).workload(0)
    assert list(jobs.arrivals_s) == [0, 0, 0, 182]
    assert not jobs.parents.ids


def test_a_run_that_is_over_has_the_sizes_of_its_inputs(tmp_path):
    sizes = {"kind": "inputs", "jobs": [["2", 2.5]]}
    workload = of_run(written(tmp_path, [*LINES, sizes]).parents[2]).workload(0)
    assert sorted(workload.input_bytes)[-2:] == [0, 2_500_000]


def test_the_command_simulates_a_run_again(tmp_path):
    written(tmp_path, LINES)
    (row,) = rows("--run", tmp_path, "--seeds", 2)
    assert (row["scenario"], row["jobs_done"]) == ("run", 1.0)


def test_a_folder_without_a_run_and_a_run_without_a_job_are_one_line(tmp_path):
    assert "there is no run of osgpilot in" in only_line("--run", tmp_path)
    written(tmp_path, [LIVES, queued("map", "1")])
    assert "no job of the run" in only_line("--run", tmp_path)


class Dag:
    def __init__(self, needs):
        self._needs = needs

    def job_dependencies(self, job):
        return self._needs.get(job, ())


class One(SimpleNamespace):
    __hash__ = object.__hash__

    def is_group(self):
        return False


def test_a_run_remembers_what_jobs_needed_across_those_that_ran_elsewhere():
    first, second, local, last = (One(name=name) for name in "abcd")
    kin = JobDependencies(Dag({local: [first, second], last: [local]}))
    needed = kin.of([(first, "1"), (second, "2"), (last, "3")])
    assert needed == [{"kind": "needed", "needs": ["1", "2"], "jobs": ["3"]}]
    assert kin.of([]) == []


# a workflow


def snakemake(folder, threads):
    """Run in a process of its own, as Snakemake is meant to be."""
    (folder / "Snakefile").write_text(SNAKEFILE.replace("THREADS", str(threads)))
    words = ["simulate", "--snakefile", "Snakefile", "--seeds", "2", "--json", "--workers", "2"]
    code = "from snakemake_executor_plugin_osgpilot.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_a_workflow_is_simulated_as_snakemake_draws_it_and_nothing_is_left(tmp_path):
    told = snakemake(tmp_path, 4)
    assert told.returncode == 0, told.stderr
    (row,) = json.loads(told.stdout)
    assert (row["scenario"], row["jobs_done"]) == ("snakefile", 1.0)
    assert [path.name for path in tmp_path.iterdir()] == ["Snakefile"]


def test_a_workflow_with_a_job_that_is_too_large_is_refused_in_one_line(tmp_path):
    told = snakemake(tmp_path, 99)
    assert told.returncode == 1
    assert "no simulated pilot can run rule sum: it needs 99 cores" in told.stderr.splitlines()[-1]


# load by others


def trace(folder, cores=64):
    lines = ["; MaxProcs: 128"]
    for number in range(40):
        asked = (number, 20 * number, -1, 1500, cores, -1, -1, cores, 3600, -1, 1, 1 + number % 3)
        lines.append(" ".join(map(str, (*asked, 1, 1, 1, 1, -1, -1))))
    path = folder / "trace.swf"
    path.write_text("\n".join(lines))
    return path


def test_load_by_others_makes_a_run_longer(tmp_path):
    words = ("--workload", "bag", "--jobs", 200, "--seeds", 1, "--nodes", 4)
    light, heavy = (
        rows(*words, "--background", trace(tmp_path, cores)) for cores in (1, 128)
    )  # fmt: skip
    assert heavy[0]["first_job_s"] > light[0]["first_job_s"]


def test_what_is_no_trace_is_one_line(tmp_path):
    bad = tmp_path / "bad.swf"
    bad.write_text("; Version: 2.2\n1 2 3\n")
    assert f"{bad}, line 2: a job has 18 fields, here are 3" in only_line("--background", bad)
    late = only_line("--background", trace(tmp_path), "--background-from", 99)
    assert "has no job 99 hours after its beginning" in late
