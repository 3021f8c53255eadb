"""Some rules in the OSPool, some in plain Slurm, some here: each where it belongs."""

import json
import os
import signal
from pathlib import Path

import pytest
import yaml
from conftest import PARTITIONS, PATIENCE_S, nothing_left, pilots_in_slurm, until

SAY_WHERE = (
    'echo "{rule} ${{SLURM_JOB_ID:-none}} '
    "$(sed -n -e 's/^OSG_PROJECT_NAME = //p' -e 's/^OSGPILOT_OFFER = //p' "
    '${{_CONDOR_MACHINE_AD:-/dev/null}} | sort -r | xargs)"'
)

THREE_PLACES = f"""
rule all:
    input: "report"
def found_later(wildcards):
    checkpoints.fetch.get()
    return ["late", "later"]
checkpoint fetch:
    output: "reads"
    resources: slurm_partition="short", runtime=5
    shell: '''{SAY_WHERE} > {{output}}'''
rule map:
    input: "reads"
    output: "map{{n}}"
    resources: osg_project="OtherProject"
    shell: '''cat {{input}} > {{output}}; {SAY_WHERE} >> {{output}}'''
rule count:
    input: "reads"
    output: "count"
    shell: '''cat {{input}} > {{output}}; {SAY_WHERE} >> {{output}}'''
rule sort:
    input: "map1", "map2"
    output: temp("sorted")
    group: "merge"
    shell: '''cat {{input}} > {{output}}; {SAY_WHERE} >> {{output}}'''
rule merge:
    input: "sorted", "count"
    output: "merged"
    group: "merge"
    shell: '''cat {{input}} > {{output}}; {SAY_WHERE} >> {{output}}'''
rule late:
    input: "reads"
    output: "late"
    resources: ospool=True, osgpilot_pilot_sharing="owner"
    shell: '''{SAY_WHERE} > {{output}}'''
rule later:
    input: "reads"
    output: "later"
    resources: runtime=5
    shell: '''{SAY_WHERE} > {{output}}'''
rule report:
    input: "merged", found_later
    output: "report"
    localrule: True
    shell: '''cat {{input}} > {{output}}; {SAY_WHERE} >> {{output}}'''
"""

PROFILE = {
    "set-resources": {
        "map": {"ospool": True},
        "count": {"osgpilot_partition": "compute", "osgpilot_pilot_cores": 4},
        "sort": {"ospool": False},
        "merge": {"ospool": False},
    },
}


def test_a_workflow_runs_in_three_places_and_for_two_projects(workflow):
    workflow.snakefile(THREE_PLACES)
    workflow.write_site(PARTITIONS)
    profile = workflow.folder / "profile"
    profile.mkdir()
    (profile / "profile.v9+.yaml").write_text(yaml.safe_dump(PROFILE))
    defaults = ("mem_mb=500", "disk_mb=100", "ospool=auto")
    ran = workflow.run("--profile", str(profile), "--default-resources", *defaults)
    assert ran == 0, workflow.said
    said = workflow.said
    rows = {line.split()[0]: line.split()[1:] for line in read(workflow.folder / "report")}
    for rule in ("fetch", "sort", "merge", "later"):
        (slurm_job,) = rows[rule]
        assert f"has been submitted with SLURM jobid {slurm_job} " in said
    assert rows["map"][2:] == ["OtherProject"]
    assert rows["count"][1:] == ["compute/4c", "TestProject"]
    assert rows["late"][2:] == ["TestProject"]
    assert rows["report"] == ["none"]
    assert "rule fetch -> Slurm: 1 job, up to 0.083 core-hours, taken for 0.042 core-hours" in said
    assert (
        "rule map -> OSPool (OtherProject): 2 jobs without `runtime`; it sets ospool=True" in said
    )
    assert (
        "rule late -> OSPool (TestProject, pilot-sharing owner): 1 job without `runtime`; it sets"
        in said
    )
    assert "rule later -> Slurm: 1 job, up to 0.083 core-hours, taken for 0.042" in said
    assert said.index("rule later ->") > said.index("rule map ->")
    assert "rule count -> OSPool (TestProject): 1 job without `runtime`; for its osgpilot" in said
    assert "rules merge and sort (grouped) -> Slurm: it sets ospool=False" in said
    records = (json.loads(path.read_text()) for path in workflow.folder.rglob("record.json"))
    assert sorted((record["project"], record["pilot_sharing"]) for record in records) == [
        ("OtherProject", "workflow"),
        ("TestProject", "owner"),
        ("TestProject", "workflow"),
    ]
    assert not (workflow.folder / "sorted").exists()
    assert not (workflow.folder / ".snakemake" / "slurm_logs").exists()
    assert nothing_left()


SLURM_WORDS = f"""
rule all:
    input: "several", "mapped"
rule several:
    output: "several"
    resources: tasks=2, slurm_partition="short", runtime=5
    shell: '''echo $SLURM_JOB_ID $(scontrol show job $SLURM_JOB_ID) > {{output}}'''
rule mapped:
    output: "mapped"
    resources: cpus_per_task=2, mem_mb_per_cpu=300, slurm_account="nobodys"
    shell: '''{SAY_WHERE} > {{output}}
        grep -E "^(Cpus|Memory) " $_CONDOR_MACHINE_AD >> {{output}}'''
"""


def test_resources_of_the_slurm_plugin_keep_their_meaning(workflow):
    workflow.snakefile(SLURM_WORDS)
    workflow.write_site(PARTITIONS | {"slurm": {"memory": "none"}})
    ran = workflow.run(
        "--slurm-jobname-prefix", "mine", "--default-resources", "mem_mb=700", "disk_mb=100"
    )
    assert ran == 0, workflow.said
    slurm_job, shown = (workflow.folder / "several").read_text().split(maxsplit=1)
    assert " NumTasks=2 " in shown
    # the memory of jobs that request none
    assert " MinMemoryCPU=500M " in shown
    assert f"has been submitted with SLURM jobid {slurm_job} " in workflow.said
    assert "JobName=mine_" in shown
    where, *slot = read(workflow.folder / "mapped")
    assert where.startswith("mapped ")
    assert sorted(slot) == ["Cpus = 2", "Memory = 640"]
    assert "rule several -> Slurm: for its tasks; 1 job" in workflow.said
    assert (
        "1 job without `runtime`; without its slurm_account, for plain Slurm jobs alone"
        in workflow.said
    )
    assert nothing_left()


def read(path: Path) -> list[str]:
    return path.read_text().splitlines()


ALL_IN_TROUBLE = """
rule all:
    input: "bad", "slow", "far", "here"
rule bad:
    output: "bad"
    resources: ospool=False
    shell: "echo this went wrong >&2; exit 3"
rule slow:
    output: "slow"
    resources: ospool=False
    shell: "sleep 300; touch {output}"
rule far:
    output: "far"
    shell: "sleep 300; touch {output}"
rule here:
    output: "here"
    localrule: True
    shell: "touch {output}"
"""


def test_a_failure_in_slurm_is_reported_with_its_log_and_ctrl_c_ends_jobs_everywhere(workflow):
    workflow.snakefile(ALL_IN_TROUBLE)
    process = workflow.start("--keep-going")
    until(lambda: "Error in rule bad" in workflow.said, "the failure")
    until(lambda: "jobs: 0 waiting, 1 running" in workflow.said, "the job on the pilot")
    assert len(pilots_in_slurm()) == 2, "one plain job, one pilot"
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    said = workflow.said
    assert "SLURM status is: 'FAILED'" in said
    logs = list((workflow.folder / ".snakemake" / "slurm_logs" / "rule_bad").glob("*.log"))
    assert len(logs) == 1
    assert str(logs[0]) in said
    assert "this went wrong" in logs[0].read_text()
    until(nothing_left, "Slurm and HTCondor to be empty", 90)


HERE = """
rule all:
    input: "slow", "made"
rule half:
    output: temp("half")
    group: "whole"
    shell: "echo $TMPDIR > {output}"
rule make:
    input: "half"
    output: "made"
    group: "whole"
    threads: 2
    shell: "echo $(cat {input}) {threads} ${{_CONDOR_JOB_AD:-}} ${{SLURM_JOB_ID:-}} > {output}"
rule slow:
    input: "made"
    output: "slow"
    shell: "echo $$ > pid; exec sleep 300"
"""


def test_this_machine_can_take_them_too(workflow):
    workflow.snakefile(HERE)
    process = workflow.start(
        "--osgpilot-offload", "never", "--osgpilot-fallback", "local", "--local-cores", "2"
    )
    pid = workflow.folder / "pid"
    until(lambda: pid.exists() and pid.read_text(), "the last job")
    assert read(workflow.folder / "made") == ["/tmp 2"]
    assert (
        "rules half and make (grouped) -> local: --osgpilot-offload never; 2 jobs" in workflow.said
    )
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert workflow.record()["pilots"] == []
