"""Who may run on a workflow's pilots."""

import time

import htcondor2
import pytest
from conftest import nothing_left, pilots_in_slurm, tool, until

LONG = """
rule all:
    output: "out"
    shell: "sleep 60; touch {output}"
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
    """How often a job was started, whether it is still in the queue or not."""
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
    # several negotiation cycles later (one takes 2 s here) the others still have not started
    time.sleep(10)
    strangers = (other_project, no_project, wrong_case, other_workflow)
    assert [starts(cluster) for cluster in strangers] == [0, 0, 0, 0]


def test_pilots_for_all_runs_of_their_owner_outlive_this_run_for_the_jobs_of_another(
    workflow, shared
):
    workflow.snakefile(f"""
rule all:
    output: "out"
    shell: "until [ -e {shared}/go ]; do sleep 0.2; done; touch {{output}}"
""")
    options = ["--osgpilot-scope", "owner", "--osgpilot-shared-prefixes", str(shared)]
    process = workflow.start("--osgpilot-max-pilots", "1", *options)
    ours = ["condor_q", "-allusers", "-af", "JobStatus"]
    until(lambda: tool(*ours).split() == ["2"], "the workflow's job to run")
    waits = f"until [ -e {shared}/done ]; do sleep 0.2; done"
    other = submit(waits, ProjectName="TestProject", OSGPilotWorkflow="another")
    status = ["condor_q", str(other), "-af", "JobStatus"]
    until(lambda: tool(*status).split() == ["2"], "the job of another run")
    (shared / "go").touch()
    assert process.wait(90) == 0, workflow.said
    assert "end when the jobs of others in them have finished" in workflow.said
    assert len(pilots_in_slurm()) == 1
    (shared / "done").touch()
    until(nothing_left, "the job and the pilot to end by themselves")
    said = tool("condor_history", str(other), "-limit", "1", "-af", "NumJobStarts", "ExitCode")
    assert said.split() == ["1", "0"]
