"""Snakemake dies or is sent away, and is started again: nothing is lost, nothing is done twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from conftest import PATIENCE_S, Workflow, jobs_in_queue, nothing_left, pilots_in_slurm, tool, until

from snakemake_executor_plugin_osgpilot.htcondor.worker import HOLD_REASON
from snakemake_executor_plugin_osgpilot.jobs.state.hold_policy import REMATCHING
from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL
from snakemake_executor_plugin_osgpilot.journal.store import Journal

COUNTED = """
rule all:
    input: "sum"

rule one:
    output: "out/{{n}}"
    log: "log/{{n}}"
    shell:
        "echo {{wildcards.n}} >> {place}/ran; "
        "mkdir {place}/first 2> /dev/null || mkdir {place}/second 2> /dev/null || "
        "until [ -e {place}/go ]; do sleep 0.2; done; "
        "echo said > {{log}}; echo {{wildcards.n}} > {{output}}"

rule gather:
    input: expand("out/{{n}}", n=range({jobs}))
    output: "sum"
    localrule: True
    shell: "cat {{input}} > {{output}}"
"""
"""Two jobs end at once, the others when `go` exists; each counts its executions."""

JOBS = 8


@pytest.fixture
def counted(workflow, shared):
    workflow.snakefile(COUNTED.format(place=shared, jobs=JOBS))
    return workflow


def options(place):
    # Snakemake may be stopped between an output's coming and its own note of that
    snakemake = ("--nolock", "--rerun-incomplete")
    return ("--osgpilot-shared-prefixes", str(place), "--osgpilot-max-pilots", "1", *snakemake)


def executions(place: Path) -> list[str]:
    ran = place / "ran"
    return sorted(ran.read_text().split()) if ran.exists() else []


def run_folder(workflow) -> Path:
    (found,) = (workflow.folder / ".snakemake" / "osgpilot").glob("*/")
    return found


def all_went_well(workflow, place):
    assert (workflow.folder / "sum").read_text().split() == [str(n) for n in range(JOBS)]
    assert (workflow.folder / "log/5").read_text() == "said\n"
    assert executions(place) == [str(n) for n in range(JOBS)]
    # the record counts ends that a killed session did not write into its history
    counts = json.loads((run_folder(workflow) / "record.json").read_text())["rules"]["one"]
    assert (counts["jobs"], counts["done"], counts["failed"]) == (JOBS, JOBS, 0)
    with closing(Journal(run_folder(workflow) / JOURNAL)) as journal:
        assert journal.is_finished
    assert not list((run_folder(workflow) / "jobs").iterdir())
    assert nothing_left()


def test_a_killed_snakemake_continues_where_it_was(counted, shared):
    first = counted.start(*options(shared))
    # two are done, four run, two wait
    # outputs are there a moment before the run knows that their job is done
    until(lambda: counted.said.count("Finished jobid") == 2, "two ends of jobs")
    until(lambda: len(executions(shared)) == 6, "six executions")
    refused = counted.run_beside(*options(shared))
    assert f"another Snakemake is running in this folder: run {run_folder(counted).name}" in refused
    assert f"process {first.pid} on " in refused
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    (shared / "go").touch()
    until(lambda: not jobs_in_queue(), "the jobs to end while nobody looks")
    pilots = pilots_in_slurm()

    assert counted.run(*options(shared)) == 0, counted.said
    assert "resumed tracking 6 jobs of the previous session" in counted.said
    assert [pilot["allocation"] for pilot in counted.record()["pilots"]] == [
        line.split()[0] for line in pilots
    ]
    all_went_well(counted, shared)


def test_jobs_that_the_queue_had_no_room_for_are_handed_over_again(counted, shared):
    limit = 5
    limited = ("--osgpilot-max-queued", str(limit))
    process = counted.start(*options(shared), *limited)
    until(lambda: len(executions(shared)) > limit, "a job that waited for room")
    # two have ended, and each of them let another one in
    assert not (run_folder(counted) / "jobs" / f"{JOBS:06}").exists()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (shared / "go").touch()
    assert counted.run(*options(shared), *limited) == 0, counted.said
    all_went_well(counted, shared)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_detached_run_continues_without_snakemake_and_with_it(counted, shared, sign):
    detach = (*options(shared), "--osgpilot-on-exit", "detach")
    first = counted.start(*detach)
    until(lambda: len(executions(shared)) == 6, "six executions")
    os.kill(first.pid, sign)
    assert first.wait(PATIENCE_S) != 0
    assert "the same command resumes the run" in counted.said
    assert len(jobs_in_queue()) == 6
    waiting = idle()
    assert len(waiting) == 2
    hold_as_if_somebody_died_while_waking(waiting)
    (shared / "go").touch()
    assert counted.run(*detach) == 0, counted.said
    assert "on hold" not in counted.said
    all_went_well(counted, shared)


GATED = """
rule all:
    input: expand("out/{{n}}", n=range(4))

rule first:
    output: "first"
    shell: "touch {{output}}"

rule gate:
    input: "first"
    output: "gate"
    localrule: True
    shell: "until [ -e {place}/open ]; do sleep 0.1; done; touch {{output}}"

rule one:
    input: "gate"
    output: "out/{{n}}"
    shell: "echo {{wildcards.n}} >> {place}/ran; echo {{wildcards.n}} > {{output}}"
"""


def is_worker(process: psutil.Process) -> bool:
    try:
        return any("htcondor.worker" in part for part in process.cmdline())
    except psutil.Error:
        # it has just ended
        return False


def left_under_way(workflow, place) -> psutil.Process:
    """Kill Snakemake while its worker process submits; return that one, which is suspended.

    On a busy machine it submits later than the next start asks for jobs.
    """
    workflow.snakefile(GATED.format(place=place))
    first = workflow.start(*options(place))
    until(lambda: "rule gate" in workflow.said, "a local rule while a pilot has nothing to do")
    (worker,) = filter(is_worker, psutil.Process(first.pid).children(recursive=True))
    worker.suspend()
    (place / "open").touch()

    def intended() -> int:
        with closing(Journal(run_folder(workflow) / JOURNAL)) as journal:
            return sum(not entry.job_id for entry in journal.entries())

    until(lambda: intended() == 4, "four jobs that are about to be submitted")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    return worker


def test_a_submission_that_a_killed_snakemake_left_under_way_is_waited_for(workflow, shared):
    worker = left_under_way(workflow, shared)
    following = workflow.start(*options(shared))

    def asks() -> bool:
        found = []
        for file in Path(f"/proc/{following.pid}/fd").iterdir():
            with suppress(OSError):
                found.append(file.readlink().name)
        return "asking" in found

    until(lambda: "resuming run" in workflow.said or asks(), "the next start to ask")
    worker.resume()
    assert following.wait(PATIENCE_S) == 0, workflow.said
    assert "resumed tracking 4 jobs of the previous session" in workflow.said
    assert executions(shared) == ["0", "1", "2", "3"]
    assert nothing_left()


def test_jobs_of_a_lost_submission_that_ended_meanwhile_do_not_run_again(workflow, shared):
    worker = left_under_way(workflow, shared)
    worker.resume()
    until(lambda: len(executions(shared)) == 4, "four executions")
    until(lambda: not jobs_in_queue(), "the jobs to leave the queue")
    assert workflow.run(*options(shared)) == 0, workflow.said
    assert executions(shared) == ["0", "1", "2", "3"]
    assert "resubmitted" not in workflow.said
    assert nothing_left()


def kill_under_way(counted, shared):
    """Start a run, and kill it when two of its jobs are done and four run."""
    first = counted.start(*options(shared))
    until(lambda: len(executions(shared)) == 6, "six executions")
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()


def test_a_cut_short_run_ends_when_nothing_is_left_to_do(counted, shared):
    kill_under_way(counted, shared)
    assert pilots_in_slurm()
    (shared / "go").touch()
    here = [sys.executable, "-m", "snakemake", "--cores", "2", "--nolock", "--rerun-incomplete"]
    subprocess.run(here, cwd=counted.folder, check=True)

    assert counted.run(*options(shared)) == 0, counted.said
    assert "Nothing to be done" in counted.said
    with closing(Journal(run_folder(counted) / JOURNAL)) as journal:
        assert journal.is_finished
    assert nothing_left()


def test_a_moved_folder_is_gone_on_with_after_it_was_moved_back(counted, shared):
    kill_under_way(counted, shared)
    here = counted.folder
    away = here.rename(here.with_name(f"{here.name}-moved"))
    moved = Workflow(away)
    assert moved.run(*options(shared)) == 1
    assert f"its jobs write their outputs to {here}; " in moved.said
    away.rename(here)
    (shared / "go").touch()
    # with their folders gone, waiting jobs may have been put on hold
    assert counted.run(*options(shared)) == 0, counted.said
    all_went_well(counted, shared)


def test_jobs_run_again_after_their_folder_was_away_for_a_while(counted, shared):
    kill_under_way(counted, shared)
    waiting = tool("condor_q", "-allusers", "-constraint", "JobStatus == 1", "-af", "Iwd").split()
    away = {Path(there): Path(there).rename(f"{there}-away") for there in waiting}
    (shared / "go").touch()
    codes = ("condor_q", "-allusers", "-af", "HoldReasonCode")
    until(lambda: tool(*codes).split().count("14") == 2, "the hold of jobs without their folder")
    for there, path in away.items():
        path.rename(there)
    assert counted.run(*options(shared)) == 0, counted.said
    all_went_well(counted, shared)


def idle() -> list[str]:
    return [
        f"{cluster}.{proc}"
        for cluster, proc, status in map(str.split, jobs_in_queue())
        if status == "1"
    ]


def hold_as_if_somebody_died_while_waking(job_ids: list[str]) -> None:
    tool("condor_hold", "-reason", HOLD_REASON, "-subcode", str(REMATCHING), *job_ids)


SLEEPERS = """
rule all:
    input: expand("out/{n}", n=range(3))

rule sleep:
    output: "out/{n}"
    shell: "sleep 1200; touch {output}"
"""


def cleanup(*options: str) -> str:
    wide = os.environ | {"COLUMNS": "200"}
    done = subprocess.run(
        ["osgpilot", "cleanup", *options],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=wide,
    )
    return done.stdout + done.stderr


def status(workflow: Workflow) -> int:
    return subprocess.run(["osgpilot", "status", "--dir", str(workflow.folder)]).returncode


def killed(folder: Path, busy) -> Workflow:
    """Return a workflow whose Snakemake was killed as soon as `busy`."""
    folder.mkdir()
    made = Workflow(folder)
    made.snakefile(SLEEPERS)
    process = made.start("--osgpilot-max-pilots", "1")
    until(busy, "jobs of the run that is killed")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return made


def test_what_killed_runs_left_is_removed_and_nothing_of_a_live_one(counted, shared):
    running = lambda: [line for line in jobs_in_queue() if line.endswith(" 2")]  # noqa: E731
    dead = killed(shared / "dead", running)
    deleted = killed(shared / "deleted", lambda: len(jobs_in_queue()) == 6)
    dead_run, deleted_run = run_folder(dead).name, run_folder(deleted).name
    # the access point still writes there
    gone = lambda: shutil.rmtree(deleted.folder, ignore_errors=True) or not deleted.folder.exists()  # noqa: E731
    until(gone, "the folder of a killed run to be removed")
    live = counted.start(*options(shared))
    until(lambda: len(executions(shared)) == 6, "six executions of the live run")

    assert "use --yes" in cleanup()
    fates = {each["run"]: each["fate"] for each in json.loads(cleanup("--json"))}
    assert fates[dead_run] == "interrupted"
    assert fates[deleted_run] == "its journal is gone"
    assert fates[run_folder(counted).name] == "running"
    assert len(jobs_in_queue()) == 12
    assert (status(dead), status(counted)) == (4, 0)

    assert "removed what 2 runs left behind" in cleanup("--yes")
    assert len(jobs_in_queue()) == 6
    until(lambda: len(pilots_in_slurm()) == 1, "the end of the other pilots")
    assert status(dead) == 3, "jobs were cancelled"
    assert not (run_folder(dead) / "jobs").exists()
    assert live.poll() is None
    (shared / "go").touch()
    assert live.wait(PATIENCE_S) == 0, counted.said
    all_went_well(counted, shared)
    assert "nothing is left" in cleanup()


GROUPED = """
rule all:
    input: "sum"
checkpoint parts:
    output: directory("parts")
    localrule: True
    shell: "mkdir {{output}}; touch {{output}}/0 {{output}}/1 {{output}}/2 {{output}}/3"
rule one:
    input: "parts/{{n}}"
    output: "out/{{n}}"
    group: "g"
    shell:
        "echo {{wildcards.n}} >> {place}/ran; "
        "until [ -e {place}/go ]; do sleep 0.2; done; echo {{wildcards.n}} > {{output}}"
def outputs(wildcards):
    folder = checkpoints.parts.get().output[0]
    return expand("out/{{n}}", n=range(len(glob_wildcards(folder + "/{{n,[0-9]}}").n)))
rule gather:
    input: outputs
    output: "sum"
    localrule: True
    shell: "cat {{input}} > {{output}}"
"""


def test_groups_behind_a_checkpoint_are_submitted_once_and_end(workflow, shared):
    workflow.snakefile(GROUPED.format(place=shared))
    grouped = (*options(shared), "--group-components", "g=2")
    process = workflow.start(*grouped)
    until(lambda: len(executions(shared)) >= 1, "a job of the first session")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    second = workflow.start(*grouped)
    until(lambda: "Group job g" in workflow.said or second.poll() is not None, "its groups")
    (shared / "go").touch()
    assert second.wait(PATIENCE_S) == 0, workflow.said
    assert (workflow.folder / "sum").read_text().split() == ["0", "1", "2", "3"]
    # once in each session at most
    assert max(map(executions(shared).count, "0123")) <= 2
    rules = json.loads((run_folder(workflow) / "record.json").read_text())["rules"]
    assert sum(rule["jobs"] for rule in rules.values()) <= 4, rules
    assert workflow.said.count("Group job g") <= 4, "a group is handed over repeatedly"
    assert "6 of 6 steps (100%) done" in workflow.said
    assert nothing_left()


STAGED = """
rule all:
    input: "sum"
checkpoint parts:
    output: directory("parts")
    localrule: True
    shell: "mkdir {{output}}; touch {{output}}/0 {{output}}/1 {{output}}/2 {{output}}/3"
checkpoint more:
    input: "parts"
    output: directory("more")
    localrule: True
    shell:
        "until [ -s {place}/ran ]; do sleep 0.2; done; "
        "mkdir {{output}}; touch {{output}}/4 {{output}}/5"
rule one:
    input: lambda wildcards: ("more/" if int(wildcards.n) > 3 else "parts/") + wildcards.n
    output: "out/{{n}}"
    group: "g"
    shell:
        "echo {{wildcards.n}} >> {place}/ran; "
        "until [ -e {place}/go ]; do sleep 0.2; done; echo {{wildcards.n}} > {{output}}"
def outputs(wildcards):
    folder = checkpoints.parts.get().output[0]
    return expand("out/{{n}}", n=sorted(glob_wildcards(folder + "/{{n,[0-9]}}").n))
def more_outputs(wildcards):
    folder = checkpoints.more.get().output[0]
    return expand("out/{{n}}", n=sorted(glob_wildcards(folder + "/{{n,[0-9]}}").n))
rule gather:
    input: outputs, more_outputs
    output: "sum"
    localrule: True
    shell: "cat {{input}} > {{output}}"
"""


def test_a_checkpoint_that_ends_while_groups_run_leaves_them_alone(workflow, shared):
    workflow.snakefile(STAGED.format(place=shared))
    process = workflow.start(*options(shared), "--group-components", "g=2")
    until(lambda: "output: out/5" in workflow.said or process.poll() is not None, "later groups")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    assert (workflow.folder / "sum").read_text().split() == ["0", "1", "2", "3", "4", "5"]
    assert sorted(executions(shared)) == ["0", "1", "2", "3", "4", "5"]
    assert nothing_left()
