"""However a workflow ends, nothing is left behind and the user learns why."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import closing, suppress

import pytest
from conftest import PATIENCE_S, SITE, jobs_in_queue, nothing_left, pilots_in_slurm, tool, until

from snakemake_executor_plugin_osgpilot.journal.run_folder import JOURNAL
from snakemake_executor_plugin_osgpilot.journal.store import Journal
from snakemake_executor_plugin_osgpilot.model.resources import PilotState

SLEEPERS = """
rule all:
    input: expand("out/{n}", n=range(6))

rule sleep:
    output: "out/{n}"
    shell: "sleep 300; touch {output}"
"""


def running(count):
    states = [line.split()[2] for line in jobs_in_queue()]
    return states.count("2") >= count


def test_a_failing_rule_is_reported_at_once_with_its_error_output(workflow):
    workflow.snakefile("""
rule all:
    output: "out"
    log: "why.log"
    shell: "echo note > {log}; echo the disk is on fire >&2; exit 3"
""")
    assert workflow.run() == 1
    assert "exit status 3" in workflow.said
    assert "the disk is on fire" in workflow.said
    assert (workflow.folder / "why.log").read_text() == "note\n"
    assert not (workflow.folder / "out").exists()
    assert nothing_left()


def test_a_missing_output_is_a_job_error_and_the_rest_continues(workflow):
    workflow.snakefile("""
rule all:
    input: "good", "bad"
rule good:
    output: "good"
    shell: "touch {output}"
rule bad:
    output: "bad"
    shell: "true"
""")
    assert workflow.run("--keep-going") == 1
    assert "did not make bad" in workflow.said
    assert (workflow.folder / "good").exists()
    assert nothing_left()


def test_a_job_that_fits_no_pilot_fails_and_starts_none(workflow):
    workflow.snakefile("""
rule all:
    output: "out"
    threads: 16
    resources: ospool=True
    shell: "touch {output}"
""")
    assert workflow.run() == 1
    assert "no pilot can run it" in workflow.said
    assert workflow.record()["pilots"] == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_workflow_leaves_nothing(workflow, sign):
    workflow.snakefile(SLEEPERS)
    process = workflow.start("--osgpilot-max-pilots", "2")
    until(lambda: running(6), "six running jobs")
    os.kill(process.pid, sign)
    if sign == signal.SIGTERM:
        # Snakemake waits for running jobs then; a second, stronger wish follows
        until(lambda: "Will exit after finishing" in workflow.said, "Snakemake to notice")
        os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) != 0
    assert nothing_left()
    assert not (workflow.folder / "out/1").exists()


def test_ctrl_c_pressed_again_and_again_leaves_nothing(workflow):
    workflow.snakefile(SLEEPERS)
    process = workflow.start("--osgpilot-max-pilots", "2")
    until(lambda: running(6), "six running jobs")
    os.kill(process.pid, signal.SIGINT)
    until(lambda: "Terminating processes" in workflow.said, "Snakemake to notice")
    while process.poll() is None and "Complete log" not in workflow.said:
        # it may have ended since
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGINT)
        time.sleep(0.3)
    assert process.wait(PATIENCE_S) != 0
    assert nothing_left()
    assert "Traceback" not in workflow.said
    (path,) = workflow.folder.glob(f".snakemake/osgpilot/*/{JOURNAL}")
    with closing(Journal(path)) as journal:
        assert journal.is_finished


def test_a_killed_snakemake_leaves_pilots_that_end_by_themselves(workflow):
    soon = {**SITE["condor"], "STARTD_NOCLAIM_SHUTDOWN": 10}
    workflow.write_site({**SITE, "condor": soon})
    workflow.snakefile("""
rule all:
    output: "out"
    shell: "sleep 5; touch {output}"
""")
    process = workflow.start()
    until(lambda: running(1), "a running job")
    os.killpg(process.pid, signal.SIGKILL)
    assert pilots_in_slurm()
    until(lambda: not pilots_in_slurm(), "the pilots to end by themselves")
    assert "COMPLETED" in tool("squeue", "--noheader", "--me", "--states=all", "--format=%T")


MANY = """
rule all:
    input: expand("out/{n}", n=range(16))

rule touch:
    output: "out/{n}"
    shell: "touch {output}"
"""


def test_pilots_that_die_at_start_cost_little_and_need_no_restart_when_that_is_fixed(workflow):
    mended = workflow.folder / "mended"
    check = f"test -e {mended} || {{ echo this cluster is closed >&2; exit 9; }}"
    workflow.write_site({**SITE, "setup": [check]})
    workflow.snakefile(MANY)
    process = workflow.start()
    until(lambda: "4 consecutive pilots ran no job" in workflow.said, "the breaker to open")
    assert "this cluster is closed" in workflow.said
    assert len(workflow.record()["pilots"]) == 4
    mended.touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    assert workflow.record()["pilots_never_used"] == 4
    assert nothing_left()


def test_pilots_that_never_match_are_not_started_indefinitely(workflow):
    never = {**SITE["condor"], "START": "False", "STARTD_NOCLAIM_SHUTDOWN": 5}
    workflow.write_site({**SITE, "condor": never})
    workflow.snakefile(MANY)
    process = workflow.start()
    until(lambda: "4 consecutive pilots ran no job" in workflow.said, "the breaker to open")
    assert "ended without a job although jobs wait" in workflow.said
    assert len(workflow.record()["pilots"]) == 4
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) != 0
    assert nothing_left()


HANGS = """#!/bin/sh
case "$*" in *--test-only*) exec {real} "$@" ;; esac
[ ! -e {folder}/submits ] || {real} "$@" > /dev/null
printf '%s\\0' "$@" > {folder}/part
mv {folder}/part {folder}/called
exec sleep 3600
"""


@pytest.mark.parametrize("submits", [False, True], ids=["nothing came of it", "it took effect"])
def test_ctrl_c_does_not_wait_for_an_sbatch_that_hangs(workflow, monkeypatch, submits):
    tools = workflow.folder / "bin"
    tools.mkdir()
    text = HANGS.format(real=shutil.which("sbatch"), folder=workflow.folder)
    (tools / "sbatch").write_text(text)
    (tools / "sbatch").chmod(0o755)
    if submits:
        (workflow.folder / "submits").touch()
    workflow.snakefile(SLEEPERS)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tools), prepend=os.pathsep)
        process = workflow.start()
    until((workflow.folder / "called").exists, "a call of sbatch")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1, workflow.said
    assert nothing_left()
    assert "`sbatch` was interrupted" in workflow.said
    assert "retrying" not in workflow.said
    (folder,) = (workflow.folder / ".snakemake" / "osgpilot").glob("*/")
    with closing(Journal(folder / JOURNAL)) as journal:
        (pilot,) = journal.pilots()
        assert journal.is_finished is submits
    if submits:
        assert pilot.state.over
        return
    assert pilot.state is PilotState.INTENDED
    assert f"Slurm may still queue {pilot.name}" in workflow.said

    # it comes after all, sees that nobody wants it, and leaves
    asked = (workflow.folder / "called").read_text().rstrip("\0").split("\0")
    late = tool("sbatch", *asked).strip()
    until(lambda: not pilots_in_slurm(), "the end of the late pilot")
    assert "JobState=COMPLETED" in tool("scontrol", "show", "job", late)
    log = (folder / "pilots" / pilot.name / "slurm.log").read_text()
    assert "the workflow has not renewed its lease" in log
    cleaned = subprocess.run(["osgpilot", "cleanup", "--yes", "--dir", "."], cwd=workflow.folder)
    assert cleaned.returncode == 0
    with closing(Journal(folder / JOURNAL)) as journal:
        assert journal.is_finished
