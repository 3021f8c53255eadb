"""The users who may run jobs on a workflow's pilots."""

from contextlib import closing

import htcondor2
import pytest
from conftest import (
    PATIENCE_S,
    SITE,
    Workflow,
    cycles,
    nothing_left,
    pilots_in_slurm,
    tool,
    until,
)

from snakemake_executor_plugin_osgpilot.htcondor.local_schedd import LocalAccessPoint
from snakemake_executor_plugin_osgpilot.model.identity import PilotSharing, RunIdentity
from snakemake_executor_plugin_osgpilot.model.resources import Shape

LONG = """
rule all:
    output: "out"
    shell: "sleep 600; touch {output}"
"""

STRANGER = {
    "executable": "/bin/sh",
    "transfer_executable": "false",
    "request_cpus": "1",
    "request_memory": "100",
    "request_disk": "10MB",
}


def submit(command: str = "true", **attributes: str) -> int:
    named = {f"My.{name}": f'"{value}"' for name, value in attributes.items()}
    argv = {"arguments": f"\"-c '{command}'\""}
    return htcondor2.Schedd().submit(htcondor2.Submit({**STRANGER, **argv, **named})).cluster()


def starts(cluster: int) -> int:
    """Return the number of starts of a job, in the queue or not."""
    for source in ("condor_q", "condor_history"):
        said = tool(source, str(cluster), "-af", "NumJobStarts").split()
        if said:
            return 0 if said[0] == "undefined" else int(said[0])
    raise AssertionError(f"job {cluster} is nowhere")


@pytest.fixture
def run_id(workflow):
    """A workflow whose pilot runs and has room for three more jobs."""
    workflow.snakefile(LONG)
    workflow.start("--osgpilot-max-pilots", "1")
    ours = ["condor_q", "-allusers", "-af", "JobStatus", "OSGPilotWorkflow"]
    until(lambda: tool(*ours).split()[:1] == ["2"], "the workflow's job to run")
    assert len(pilots_in_slurm()) == 1
    return tool(*ours).split()[1]


def test_only_jobs_of_project_and_workflow_run_on_the_pilots(run_id):
    other_project = submit(ProjectName="OtherProject", OSGPilotWorkflow=run_id)
    no_project = submit(OSGPilotWorkflow=run_id)
    wrong_case = submit(ProjectName="testproject", OSGPilotWorkflow=run_id)
    other_workflow = submit(ProjectName="TestProject", OSGPilotWorkflow="another")
    ours = submit(ProjectName="TestProject", OSGPilotWorkflow=run_id)
    until(lambda: starts(ours) == 1, "the job that may run")
    cycles(4)
    strangers = (other_project, no_project, wrong_case, other_workflow)
    assert [starts(cluster) for cluster in strangers] == [0, 0, 0, 0]


@pytest.fixture
def another(tmp_path):
    folder = tmp_path / "another"
    folder.mkdir()
    made = Workflow(folder)
    yield made
    made.stop()


def waiting_for(file) -> str:
    wait = f"until [ -e {file} ]; do sleep 0.2; done"
    return f"""
rule all:
    output: "out"
    shell: "{wait}; grep OSGPILOT_PILOT_ID $_CONDOR_MACHINE_AD > {{output}}"
"""


@pytest.mark.parametrize("sharing", ["owner", "project"])
def test_two_workflows_share_pilots_which_outlive_the_first_for_the_jobs_of_the_second(
    workflow, another, shared, sharing
):
    options = ["--osgpilot-pilot-sharing", sharing, "--osgpilot-shared-prefixes", str(shared)]
    workflow.snakefile(waiting_for(shared / "go"))
    process = workflow.start("--osgpilot-max-pilots", "1", *options)
    jobs = ["condor_q", "-allusers", "-af:j", "JobStatus", "RemoteHost"]
    until(lambda: tool(*jobs).split()[1:2] == ["2"], "the first workflow's job to run")
    (first, _, host), (pilot,) = tool(*jobs).split(), pilots_in_slurm()
    another.snakefile(waiting_for(shared / "done"))
    second = another.start("--osgpilot-max-pilots", "1", *options)
    until(lambda: tool(*jobs).count(host.partition("@")[2]) == 2, "the second one's job beside it")
    (theirs,) = {line.split()[0] for line in tool(*jobs).splitlines()} - {first}
    (folder,) = (workflow.folder / ".snakemake" / "osgpilot").glob("2*")
    seat = RunIdentity("alice", "TestProject", folder.name, PilotSharing(sharing))
    with closing(LocalAccessPoint(seat, folder, SITE["central_manager"])) as there:
        until(lambda: theirs in next(iter(there.pilots().values())), "the pool to tell of it")
        ((name, inside),) = there.pilots().items()
    assert inside[theirs] == Shape(1, 512, inside[theirs].disk_mb)
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    assert "will end when the jobs of others there have finished (in Slurm: " in workflow.said
    assert any(row.split()[0] == pilot.split()[0] for row in pilots_in_slurm())
    (shared / "done").touch()
    assert second.wait(PATIENCE_S) == 0, another.said
    for one in (workflow, another):
        assert name in (one.folder / "out").read_text()
    until(nothing_left, "the pilots to end by themselves")
