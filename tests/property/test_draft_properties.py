"""Common parts of a rule's jobs are prepared once; each draft is as if prepared alone."""

import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from dags import workflow_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from snakemake.settings.types import (
    DeploymentMethod,
)
from snakemake.shell import shell

from snakemake_executor_plugin_osgpilot.common.messages import SILENT
from snakemake_executor_plugin_osgpilot.model.resources import PilotType, Policy, Shape
from snakemake_executor_plugin_osgpilot.staging.container_image import Images
from snakemake_executor_plugin_osgpilot.staging.plain_jobs import plain
from snakemake_executor_plugin_osgpilot.staging.preparer import Preparer
from snakemake_executor_plugin_osgpilot.staging.resource_request import Requests
from snakemake_executor_plugin_osgpilot.staging.s3_keys import KeyFiles
from snakemake_executor_plugin_osgpilot.staging.transfer_policy import TransferPolicy

POLICY = Policy((PilotType("compute/4c", Shape(4, 16000), (4200,)),))

INPUTS = (
    *('"given"', '"given", index="data/table"', "os.path.abspath('given')", '"data/../given"'),
    *("[]", "lambda wildcards: f'data/{wildcards.n}'", 'ancient("given")', '"given", "given"'),
)
OUTPUTS = (
    *('"out/{n}.{NAME}"', 'temp("out/{n}.{NAME}")', 'touch("out/{n}.{NAME}")'),
    *('protected("out/{n}.{NAME}")', 'directory("out/{n}.{NAME}")'),
    *('ensure("out/{n}.{NAME}", non_empty=True)', '"out/{n}.{NAME}", more="out/{n}.{NAME}.more"'),
)
TMPDIR_OF_WILDCARDS = "resources: tmpdir=lambda w: f'/scratch/{w.n}'"
TMPDIR_IN_PARAMS = "params: d=lambda wildcards, resources: resources.tmpdir"
LINES = (
    *('log: "log/{n}.{NAME}"', 'benchmark: "bench/{n}.{NAME}"', 'group: "g"', "threads: 3"),
    *("params: a=1, b=[1, 2]", TMPDIR_IN_PARAMS),
    *("resources: mem_mb=700, disk_mb=50", "resources: mem_mb=lambda w: 100 * int(w.n)"),
    *("resources: mem_mb=lambda w, input: max(input.size_mb, 600)", "resources: many=-1"),
    *('resources: shell_exec="/bin/dash"', 'resources: container_image="docker://a"'),
    *('resources: tmpdir="/scratch/x"', TMPDIR_OF_WILDCARDS),
    *('container: "docker://{n}"', 'container: "docker://b"'),
    *("resources: runtime=lambda w, attempt: 10 * attempt", "resources: gpu=1"),
    *('resources: classad_X="a", htcondor_y=1', 'shadow: "minimal"', "priority: 5"),
)
COMMANDS = (
    *("true", "cat {input} > {output}", "echo {threads} {resources.mem_mb} {wildcards.n}"),
    *("cat given {output[0]}", "cat {HERE}/given {HERE}/data/table", "cat ../x data/../given"),
    *("echo {params}", "echo {resources.tmpdir} '/etc/passwd' {log}", "bash tool.sh {output}"),
    *("cat 'given' /opt /nowhere/{wildcards.n}", "python x {output}", "echo {missing}"),
)
rules = st.fixed_dictionaries(
    {
        "input": st.sampled_from(INPUTS),
        "output": st.sampled_from(OUTPUTS),
        "lines": st.lists(
            st.sampled_from(LINES), max_size=3, unique_by=lambda line: line.partition(":")[0]
        ),
        "command": st.sampled_from(COMMANDS),
    }
)


def text_of(rules):
    text = "import os\nHERE = os.getcwd()\n\nrule all:\n    input: TARGETS\n"
    for number, rule in enumerate(rules):
        lines = (f"input: {rule['input']}", f"output: {rule['output']}", *rule["lines"])
        text += f"\nrule r{number}:\n"
        text += "".join(f"    {line}\n".replace("{NAME}", str(number)) for line in lines)
        text += f'    shell: "{rule["command"]}"\n'
    targets = [f"out/{n}.{number}" for n in (1, 2, 3) for number in range(len(rules))]
    return f"TARGETS = {targets}\n{text}"


@contextmanager
def evaluated(text):
    """Yield the workflow of a Snakefile in the current folder, with jobs that are ready."""
    with workflow_of(text) as workflow:
        for job in workflow.dag.jobs:
            # as they were evaluated for a local executor
            job.reset_params_and_resources()
        yield workflow


def preparer_of(workflow, folder, environment):
    requests = Requests(POLICY, SILENT)
    images = Images(folder, SILENT)
    methods = {DeploymentMethod.APPTAINER}
    own = SimpleNamespace(
        deployment_settings=SimpleNamespace(deployment_method=methods, apptainer_args=""),
        globals=workflow.globals,
        rules=workflow.rules,
        dag=workflow.dag,
        sourcecache=workflow.sourcecache,
        included=workflow.included,
    )
    made = Preparer(
        *(own, "", folder / "run", folder, environment),
        *(TransferPolicy(("/data",)), images, requests, KeyFiles(folder / "keys")),
    )
    made._outside.learn(own)
    return made


def outcome(draft, job):
    try:
        return draft(job)
    except Exception as error:
        return type(error), str(error)


def usual(**changes):
    """Return a plain rule, but for these changes."""
    given = {"input": '"given"', "output": OUTPUTS[0], "lines": [], "command": COMMANDS[1]}
    return given | changes


@settings(max_examples=40)
@example([usual(lines=[TMPDIR_IN_PARAMS], command="echo {params}")], {}, None)
@example([usual(lines=[TMPDIR_OF_WILDCARDS], command=COMMANDS[7])], {}, None)
@example([usual(lines=['container: "docker://b"'], command="cat {HERE}/given")], {}, None)
@given(
    rules=st.lists(rules, min_size=1, max_size=3),
    environment=st.sampled_from([{}, {"A": "it's"}]),
    prefix=st.sampled_from([None, "umask 007;"]),
)
def test_a_draft_is_that_of_the_job_alone(rules, environment, prefix):
    before, prefix_before = Path.cwd(), shell._process_prefix
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        os.chdir(folder)
        for name in ("given", "data/table", "data/1", "data/2", "data/3", "tool.sh"):
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_text(name)
        try:
            with evaluated(text_of(rules)) as workflow:
                shell._process_prefix = prefix
                shared = preparer_of(workflow, folder, environment)
                for job in sorted(workflow.dag.jobs, key=lambda job: sorted(job.output)):
                    alone = preparer_of(workflow, folder, environment)
                    assert outcome(shared.draft, job) == outcome(alone._draft, job)
        finally:
            shell._process_prefix = prefix_before
            os.chdir(before)


def test_jobs_of_most_rules_are_plain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("given", "data/1"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("")
    unusual = [usual(output=output) for output in OUTPUTS[2:6]]
    unusual += [usual(lines=[line]) for line in LINES[1:3]]
    unusual += [usual(input=text) for text in INPUTS[2:4]]
    marked = usual(
        input='ancient("given")', output=OUTPUTS[1], lines=[LINES[0], LINES[3], LINES[4], LINES[7]]
    )
    with evaluated(text_of([usual(), marked, *unusual])) as workflow:
        found = {str(job.rule) for job in workflow.dag.jobs if plain(job)}
        assert found == {"r0", "r1"}
