"""A run does what `osgpilot plan` printed, and the plan leaves nothing behind."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import yaml
from conftest import PATIENCE_S, SITE, jobs_in_queue, pilots_in_slurm, tool, until

STAGES = """
rule all:
    input: expand("out/{n}", n=range(6)), "beside"
rule map:
    output: "out/{n}"
    resources: runtime=5
    shell: "touch {output}"
rule beside:
    output: "beside"
    resources: ospool=False, runtime=1
    shell: "touch {output}"
"""


def everything(folder: Path) -> dict[str, float]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*")}


def world(folder: Path) -> tuple:
    temporary = sorted(path.name for path in Path("/tmp").glob("osgpilot-*"))
    return everything(folder), pilots_in_slurm(), jobs_in_queue(), temporary


def planned(workflow, *given: str) -> subprocess.CompletedProcess[str]:
    argv = [shutil.which("osgpilot"), "plan", *given, "--", *workflow.argv()[3:]]
    return subprocess.run(
        argv, cwd=workflow.folder, capture_output=True, text=True, timeout=PATIENCE_S
    )


def profiled(workflow, **settings: object) -> None:
    """Say in the workflow's own profile what a run is to keep to."""
    folder = workflow.folder / "profiles" / "default"
    folder.mkdir(parents=True)
    (folder / "profile.v9+.yaml").write_text(yaml.safe_dump(settings))


def test_the_run_does_what_the_plan_said_and_the_plan_leaves_nothing(workflow):
    workflow.snakefile(STAGES)
    # more pilots are worth their cost, so the limit is what counts
    profiled(
        workflow,
        **{"osgpilot-max-pilots": 1, "osgpilot-fallback": "local", "osgpilot-cost-weight": 0.2},
    )
    before = world(workflow.folder)
    said = planned(workflow)
    as_data = planned(workflow, "--json")
    assert (said.returncode, as_data.returncode) == (0, 0), said.stderr + as_data.stderr
    assert world(workflow.folder) == before
    assert "assumed, as no earlier run in this folder had such a pilot ready" in said.stdout

    reported = json.loads(as_data.stdout)
    lines = [route["line"] for route in reported["routes"]]
    assert said.stdout.splitlines()[: len(lines)] == lines
    (project,) = reported["projects"]
    assert (project["project"], project["waiting"]) == ("TestProject", 6)
    (start,), (refusal,) = project["starts"], project["refusals"]
    assert (start["count"], start["offer"]) == (1, "compute/4c")
    assert "at most 1 pilot at a time" in refusal["reason"]
    low_s, high_s = project["expected"]["makespan_s"]
    assert 0 < low_s <= high_s
    (verdict,) = project["verdicts"]
    assert verdict["accepted"]
    assert "to start at" in verdict["said"]

    assert workflow.run() == 0, workflow.said
    ran = [line.removeprefix("osgpilot: ") for line in workflow.said.splitlines()]
    assert [line for line in ran if line.startswith("rule ") and " -> " in line] == lines
    assert f"launch 1 pilot: {start['reason']}" in workflow.said
    same_scripts(workflow.folder, project, reported["pilot_script"])


def same_scripts(workdir: Path, project: dict, script: str) -> None:
    """The pilot and the jobs of the run were asked for as the plan had shown."""
    (verdict,), (sample,) = project["verdicts"], project["samples"]
    (folder,) = (workdir / ".snakemake" / "osgpilot").glob("*/")
    (pilot,) = (folder / "pilots").iterdir()
    assert (folder / "pilot.sh").read_text() == script
    shown = verdict["files"]["parameters"].replace("RUN", folder.name)
    assert (pilot / "parameters").read_text() == shown
    call = [word.replace("RUN", folder.name) for word in verdict["sbatch"]]
    assert call[-2:] == [str(folder / "pilot.sh"), str(pilot)]
    argv = ("condor_history", "-json", "-constraint", f'OSGPilotWorkflow == "{folder.name}"')
    ad, *others = json.loads(tool(*argv))
    assert len(others) == 5
    described = sample["description"]
    assert sample["rules"] == ["map"]
    assert ad["RequestCpus"] == int(described["request_cpus"])
    assert ad["RequestMemory"] == int(described["request_memory"])
    assert ad["ProjectName"] == described["My.ProjectName"].strip('"')
    assert ad["JobLeaseDuration"] == int(described["job_lease_duration"])
    assert "TARGET.GLIDEIN_ToDie - time() > 300" in described["requirements"]
    assert "TARGET.GLIDEIN_ToDie - time() > 300" in ad["Requirements"]


def test_what_no_run_would_begin_with_is_refused_in_the_same_words_and_kinds_are_distinguished(
    workflow,
):
    workflow.snakefile("""
rule all:
    input: "gathered"
rule map:
    output: "out/{n}"
    shell: "touch {output}"
rule gather:
    input: expand("out/{n}", n=range(6))
    output: "gathered"
    threads: 2
    resources: osg_project="OtherProject"
    shell: "touch {output}"
""")
    before = world(workflow.folder)
    reported = json.loads(planned(workflow, "--json").stdout)
    ours, theirs = sorted(reported["projects"], key=lambda each: -each["waiting"])
    assert (ours["project"], ours["waiting"]) == ("TestProject", 6)
    assert (theirs["project"], theirs["waiting"], theirs["to_come"]) == ("OtherProject", 0, 1)
    assert [sample["rules"] for sample in theirs["samples"]] == [["gather"]]
    workflow.write_site(SITE | {"slurm": {"partition": "nowhere"}})
    reported = json.loads(planned(workflow, "--json").stdout)
    (verdict,) = [each for project in reported["projects"] for each in project["verdicts"]]
    assert not verdict["accepted"]
    assert "invalid partition specified: nowhere" in verdict["said"]
    workflow.write_site(SITE | {"token": "none"})
    refused = planned(workflow)
    assert refused.returncode == 1
    assert "token file" in refused.stderr.splitlines()[-1]
    workflow.write_site(SITE)
    assert world(workflow.folder)[1:] == before[1:]
    assert not (workflow.folder / ".snakemake").exists()


def test_a_plan_beside_a_live_run_says_that_a_start_would_be_refused(workflow):
    workflow.snakefile("""
rule all:
    input: "out"
rule wait:
    output: "out"
    resources: runtime=5
    shell: "sleep 600; touch {output}"
""")
    process = workflow.start()
    until(lambda: jobs_in_queue() or process.poll() is not None, "a job in the queue")
    said = planned(workflow)
    assert said.returncode == 1, said.stderr
    assert "a start would be refused now: another Snakemake is running in this f" in said.stdout
    assert "cannot be locked" not in said.stderr + said.stdout
    assert "project TestProject: 1 job ready" in said.stdout
    assert process.poll() is None, workflow.said
    os.kill(process.pid, signal.SIGINT)
    process.wait(PATIENCE_S)
    again = planned(workflow)
    assert (again.returncode, "refused" in again.stdout) == (0, False), again.stderr
    assert "lock" not in again.stdout
    # as a killed Snakemake leaves it
    (workflow.folder / ".snakemake" / "locks" / "0.output.lock").write_text("out\n")
    locked = planned(workflow)
    assert "run `snakemake --unlock`" in " ".join(locked.stdout.split()), locked.stdout
    assert "cannot be locked" not in locked.stderr + locked.stdout


def test_a_plan_in_a_folder_that_cannot_be_written_is_refused_in_one_line(workflow):
    workflow.snakefile(STAGES)
    workflow.folder.chmod(0o555)
    try:
        said = planned(workflow)
    finally:
        workflow.folder.chmod(0o755)
    assert said.returncode == 1
    line, *more = said.stderr.splitlines()
    assert f"{workflow.folder} cannot be written, where Snakemake keeps its state" in line
    assert more == []
