"""Defects seen in snakemake-executor-plugin-htcondor 0.3.0, which this executor must not have.

One workflow in the layout that Snakemake recommends shows most of them at once. Elsewhere:

* a failing rule has no outputs and puts its job on hold for hours: see
  `test_endings.test_a_failing_rule_is_reported_at_once_with_its_error_output`;
* a held job is reported as failed and stays in the queue, where it can run beside its retry: see
  `test_trouble` and `unit/jobs/test_manager.py`, jobs that are given up;
* the status thread starts before the executor is ready: see
  `unit/executor/test_ospool.py`, `test_the_status_thread_starts_before_the_executor_is_ready`;
* one event log for all runs, read from its beginning each time: see
  `unit/test_access_point.py`, `test_every_run_has_its_own_log`;
* what runs is lost when Snakemake ends: see `test_resume`;
* its inputs of storage plugins pass through the access point, whatever their URL: see
  `test_inputs.test_a_url_goes_to_the_execution_point_and_not_through_the_access_point`.
"""

import importlib.metadata
from collections.abc import Iterator

import pytest
from conftest import Workflow, sweep

RUNTIME = "/opt/sif/runtime.sif"

FILES = {
    "workflow/Snakefile": """
configfile: "config/config.yaml"
include: "rules/common.smk"
include: "rules/work.smk"
envvars: "FOO", "BAR"

rule all:
    input: "results/B c/it's \\"so\\" ok.txt", "results/vars.txt"
    default_target: True
""",
    "workflow/rules/common.smk": "def greeting():\n    return config['greeting']\n",
    "workflow/rules/work.smk": """
rule work:
    output: "results/{s}/{q}.txt"
    log: "logs/{s} {q}.log"
    benchmark: "benchmarks/{s} {q}.tsv"
    params: greeting=greeting()
    script: "../scripts/work.py"

rule vars:
    output: "results/vars.txt"
    log: "logs/vars.log"
    shell: 'printf "%s|" "$FOO" "$BAR" > {output}; echo logged > {log}'
""",
    "workflow/scripts/work.py": """
from lib.helper import shout
with open(snakemake.log[0], "w") as log:
    print("logged", file=log)
with open(snakemake.output[0], "w") as out:
    print(shout(snakemake.params.greeting), *snakemake.wildcards, file=out)
""",
    "workflow/scripts/lib/helper.py": "def shout(text):\n    return text.upper()\n",
    "config/config.yaml": "greeting: hello\n",
}

GREETING = "greeting=it's $HOME \\n"

VALUES = {"FOO": "a b", "BAR": 'it\'s "c"; x=${y}'}


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Iterator[Workflow]:
    """The finished workflow."""
    workflow = Workflow(tmp_path_factory.mktemp("recommended"))
    for name, text in FILES.items():
        (workflow.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (workflow.folder / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in VALUES.items():
            patch.setenv(name, value)
        status = workflow.run("--osgpilot-runtime-image", RUNTIME, "--config", GREETING)
    assert status == 0, workflow.said
    yield workflow
    workflow.stop()
    sweep()


def test_includes_and_scripts_travel_by_themselves(done: Workflow):
    """There, included Snakefiles, modules and siblings of scripts do not travel, and
    the path of a script is taken relative to the wrong folder.
    """
    made = (done.folder / 'results/B c/it\'s "so" ok.txt').read_text()
    assert made.startswith("IT'S ")


def test_logs_and_benchmarks_come_back(done: Workflow):
    """There, neither is brought back, and a missing benchmark ends the whole workflow."""
    assert (done.folder / "logs/vars.log").read_text() == "logged\n"
    assert (done.folder / 'logs/B c it\'s "so" ok.log').read_text() == "logged\n"
    header = (done.folder / 'benchmarks/B c it\'s "so" ok.tsv').read_text().split("\t")
    assert header[:2] == ["s", "h:m:s"]


def test_quotes_and_blanks_in_wildcards_and_configuration_arrive(done: Workflow):
    """There, `'` is deleted from arguments, blanks split them and `"` is rejected."""
    made = (done.folder / 'results/B c/it\'s "so" ok.txt').read_text()
    assert made == "IT'S $HOME \\N B c it's \"so\" ok\n"


def test_every_variable_arrives_as_it_is(done: Workflow):
    """There, several `envvars:` become one variable with garbage in it, by wrong quoting."""
    assert (done.folder / "results/vars.txt").read_text() == "".join(
        f"{value}|" for value in VALUES.values()
    )


def test_installed_storage_plugins_do_no_harm(done: Workflow):
    """There, every job begins with an installation by pip as soon as one is installed."""
    assert importlib.metadata.version("snakemake-storage-plugin-fs")
    assert "pip install" not in done.said
    assert {name: rule["done"] for name, rule in done.record()["rules"].items()} == {
        "work": 1,
        "vars": 1,
    }
