"""`osgpilot explain` in another terminal: what waits, and why, with the next step."""

import json
import os
import shutil
import signal
import subprocess

from conftest import PATIENCE_S, pilots_in_slurm, tool, until

TROUBLE = """
rule all:
    input: "long.txt", expand("second/{n}", n=range(30)), "grows.txt"
rule long:
    output: "long.txt"
    threads: 3
    shell: "sleep 300; touch {output}"
rule second:
    output: "second/{n}"
    threads: 2
    shell: "touch {output}"
rule grows:
    output: "grows.txt"
    retries: 1
    resources: mem_mb=lambda wildcards, attempt: 500 if attempt == 1 else 64000
    shell: "exit 1"
"""

BLOCK = ("sbatch", "--parsable", "--cpus-per-task=4", "--output=/dev/null", "--wrap", "sleep 600")


def asked(workflow, *what: str) -> "subprocess.CompletedProcess[str]":
    """Ask in another terminal."""
    argv = [shutil.which("osgpilot"), "explain", "--json", *what]
    return subprocess.run(
        argv, cwd=workflow.folder, capture_output=True, text=True, timeout=PATIENCE_S
    )


def explained(workflow, *what: str) -> list[dict]:
    """Return the explanations that are given."""
    said = asked(workflow, *what)
    assert said.returncode == 0, said.stderr
    reported = json.loads(said.stdout)
    assert reported["unanswered"] == []
    return reported["explanations"]


def words(reported: list[dict]) -> str:
    return "\n".join(line for each in reported for line in (*each["lines"], each["next_step"]))


def test_whatever_waits_is_explained_with_the_next_step(workflow):
    workflow.snakefile(TROUBLE)
    blockers = [tool(*BLOCK).strip() for _ in range(4)]
    until(lambda: sum("RUNNING" in line for line in pilots_in_slurm()) >= 2, "full nodes")
    limits = ("--osgpilot-max-core-hours", "5", "--osgpilot-cost-weight", "0", "--keep-going")
    limits += ("--osgpilot-bundle", "off")
    process = workflow.start(*limits)

    # a pilot waits in Slurm's queue
    until(lambda: any("osgpilot" in line for line in pilots_in_slurm()), "a pending pilot")
    (pending,) = (line.split()[0] for line in pilots_in_slurm() if "osgpilot" in line)
    until(lambda: asked(workflow, pending).returncode == 0, "the pilot in the run's history")
    until(lambda: reason_of(explained(workflow, pending)), "Slurm's reason")
    (reported,) = explained(workflow, pending)
    assert reported["next_step"]
    pilot, *others = explained(workflow)
    assert pilot["subject"] == reported["subject"]
    subjects = {each["subject"] for each in others}
    assert {"rule long", "rule second", "rule grows"} <= subjects
    assert f"1 pilot pending (Slurm job {pending}): can run it; Slurm says" in words(others)

    # the pilot is busy, and there is no other for want of budget
    tool("scancel", *blockers)
    until(running, "a running job")
    until(lambda: "busy, lacks 1 core now" in words(explained(workflow, "second")), "busy pilots")
    head, second = explained(workflow, "second")
    assert head["lines"] == ["rule second: 30 waiting"]
    assert "asks for 2 cores, 512 MB (rule: 500 MB), 100 MB disk" in second["lines"][0]
    assert "no more pilots are started: the budget is 5 core-hours" in words([second])
    assert second["lines"][-1] == "and 29 more alike"
    assert second["next_step"].startswith("raise --osgpilot-max-core-hours")
    assert explained(workflow, "second/7")[0]["subject"] == "rule second (n=7)"

    # a job that no pilot can hold any more
    until(lambda: "no pilot can run it" in words(explained(workflow, "grows")), "the misfit")
    assert "60200 MB of memory" in words(explained(workflow, "grows"))

    # a job on hold
    job_id = running()
    tool("condor_hold", job_id)
    until(lambda: "put on hold by hand" in words(explained(workflow, job_id)), "the hold")
    (held,) = explained(workflow, "long.txt")
    assert held["next_step"] == f"run: condor_release {job_id}"

    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    (failed,) = explained(workflow)
    assert failed["subject"] == "rule grows"
    assert "no pilot can run it" in words([failed])
    (pilot,) = explained(workflow, pending)
    assert " ago" in pilot["lines"][0]


def running() -> str:
    """Return the id of the running job of three cores, empty if there is none."""
    found = tool(
        "condor_q", "-allusers", "-constraint", "JobStatus == 2 && RequestCpus == 3",
        "-format", "%d.", "ClusterId", "-format", "%d\n", "ProcId",
    )  # fmt: skip
    return found.strip()


def reason_of(reported: list[dict]) -> bool:
    return any(f"Slurm says {word}: " in words(reported) for word in ("Resources", "Priority"))
