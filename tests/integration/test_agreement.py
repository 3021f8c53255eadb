"""Snakemake's log, `status`, `explain`, `report` and the exit codes of a run say the same."""

import json
import os
import re
import signal
import subprocess
import sys

from conftest import PATIENCE_S, until

OSGPILOT = [
    sys.executable, "-c", "from snakemake_executor_plugin_osgpilot.cli import main; main()",
]  # fmt: skip

HEAD = """
localrules: all, prepare
rule all:
    input: "gathered"
rule prepare:
    output: "prepared"
    shell: "touch {output}"
rule map:
    input: "prepared"
    output: "out/{n}"
    retries: RETRIES
    resources: attempt=lambda wildcards, attempt: attempt
    shell: "BODY"
rule gather:
    input: expand("out/{n}", n=range(3))
    output: "gathered"
    shell: "touch {output}"
"""


def osgpilot(workflow, *argv):
    return subprocess.run(
        [*OSGPILOT, *argv], cwd=workflow.folder, capture_output=True, text=True, check=False
    )


def steps(workflow) -> tuple[int, int]:
    """Return the last count of Snakemake's log."""
    done, total = re.findall(r"(\d+) of (\d+) steps", workflow.said)[-1]
    return int(done), int(total)


class Told:
    """The output of every command on a run that has ended."""

    def __init__(self, workflow):
        as_json = osgpilot(workflow, "status", "--json")
        self.seen = json.loads(as_json.stdout)
        self.jobs = self.seen["progress"]
        shown = osgpilot(workflow, "status")
        self.status, self.exit_status = shown.stdout, shown.returncode
        assert as_json.returncode == self.exit_status
        explained = osgpilot(workflow, "explain")
        assert explained.returncode == 0, explained.stderr
        self.explained = explained.stdout
        reported = osgpilot(workflow, "report")
        assert reported.returncode == 0, reported.stderr
        self.page = (workflow.folder / "osgpilot-report.html").read_text()
        self.state = self.seen["state"]
        assert f"project TestProject: {self.state}\n" in self.status
        assert f"Project TestProject, {self.state};" in self.page
        done, total = self.jobs["steps"]["done"], self.jobs["steps"]["total"]
        assert f"{done} of {total} steps done" in self.status
        assert f"{done} of {total} steps done" in self.page
        assert f"{self.jobs['done']}</b><span>jobs done, {self.jobs['failed']} failed" in self.page
        assert (self.jobs["waiting"], self.jobs["running"]) == (0, 0)


def body(text: str, retries: int = 0) -> str:
    return HEAD.replace("BODY", text).replace("RETRIES", str(retries))


def test_a_run_with_a_failing_rule_is_reported_as_failed(workflow):
    workflow.snakefile(body("if [ {wildcards.n} = 1 ]; then no_such_tool; fi; touch {output}"))
    # the shell goes on after a missing tool, unless it is strict as Snakemake's is
    assert workflow.run("--quiet", "rules", "host", "--keep-going") == 1
    told = Told(workflow)
    line = 'rule map (n=1): exit status 127, "'
    assert f"FAILED {line}" in workflow.said, workflow.said
    assert re.search(
        r"FAILED .*no_such_tool: command not found\" \(log: \S+/output\)", workflow.said
    )
    (log,) = re.findall(r"FAILED .*\(log: (\S+)\)", workflow.said)
    assert "no_such_tool" in (workflow.folder / log).read_text()
    assert "Error in rule map" not in workflow.said, "Snakemake prints nothing"
    assert (told.state, told.exit_status) == ("failed", 3)
    assert (told.jobs["done"], told.jobs["failed"], told.jobs["cancelled"]) == (2, 1, 0)
    assert tuple(told.jobs["steps"].values()) == (*steps(workflow), 1)
    assert "map (n=1): exit status 127" in told.status
    assert "no_such_tool: command not found" in told.explained
    assert "exit status 127" in told.page
    assert "no_such_tool: command not found" in told.page.partition("<nav")[0]


def test_outputs_that_are_missing_fail_a_run_in_every_account_of_it(workflow):
    workflow.snakefile(body("if [ {wildcards.n} != 1 ]; then touch {output}; fi"))
    assert workflow.run("--keep-going") == 1
    told = Told(workflow)
    assert re.search(r"FAILED rule map \(n=1\): .*out/1", workflow.said), workflow.said
    assert (told.state, told.exit_status) == ("failed", 3)
    assert (told.jobs["done"], told.jobs["failed"]) == (2, 1)
    assert "out/1" in told.explained


def test_a_local_rule_that_fails_makes_a_failed_run(workflow):
    workflow.snakefile(
        body("touch {output}")
        + """
localrules: collect
rule collect:
    input: "gathered"
    output: "collected"
    shell: "no_such_tool"
"""
    )
    assert workflow.run("--quiet", "rules", "--", "collect") == 1
    told = Told(workflow)
    assert "FAILED rule collect (Snakemake job " in workflow.said, workflow.said
    assert (told.state, told.exit_status) == ("failed", 3)
    assert (told.jobs["done"], told.jobs["failed"]) == (4, 0)
    assert tuple(told.jobs["steps"].values()) == (*steps(workflow), 1) == (5, 6, 1)


def test_an_interrupted_run_is_reported_as_interrupted(workflow):
    workflow.snakefile(body("if [ {wildcards.n} = 1 ]; then sleep 600; fi; touch {output}"))
    process = workflow.start("--verbose")

    def halfway():
        jobs = json.loads(osgpilot(workflow, "status", "--json").stdout or "{}").get("progress", {})
        return jobs and (jobs["done"], jobs["running"]) == (2, 1)

    until(halfway, "two jobs done, one running")
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) == 1
    told = Told(workflow)
    assert (told.state, told.exit_status) == ("interrupted", 3)
    jobs = told.jobs
    assert (jobs["done"], jobs["failed"], jobs["cancelled"], jobs["to_come"]) == (2, 0, 1, 1)
    assert tuple(jobs["steps"].values()) == (*steps(workflow), 0) == (3, 6, 0)
    assert "FAILED" not in workflow.said
    assert "failed jobs" not in told.status


def test_retries_are_attempts_of_one_job(workflow):
    workflow.snakefile(
        body(
            "if [ {wildcards.n} = 1 ] && [ {resources.attempt} = 1 ]; then exit 3; fi; "
            "touch {output}",
            retries=1,
        )
    )
    assert workflow.run() == 0
    told = Told(workflow)
    assert "FAILED rule map (n=1): exit status 3 (attempt 1 of 2)" in workflow.said
    assert workflow.said.count("FAILED ") == 1
    assert (told.state, told.exit_status) == ("done", 0)
    assert (told.jobs["done"], told.jobs["failed"], told.jobs["retries"]) == (4, 0, 1)
    assert (told.seen["rules"]["map"]["jobs"], told.seen["rules"]["map"]["retries"]) == (3, 1)
    assert tuple(told.jobs["steps"].values()) == (*steps(workflow), 0) == (6, 6, 0)
    assert "1 retry" in told.status
    assert told.explained == "nothing waits and nothing failed: no job, and no pilot\n"


def test_a_run_that_an_error_stops_is_failed_and_names_the_error_everywhere(workflow):
    head = body("touch {output}").replace(
        "    retries: 0\n", "    container: '/opt/sif/missing.sif'\n"
    )
    workflow.snakefile(head)
    assert workflow.run("--software-deployment-method", "apptainer") == 1
    told = Told(workflow)
    error = "the container image /opt/sif/missing.sif does not exist"
    assert error in workflow.said
    assert (told.state, told.exit_status) == ("failed", 3)
    assert error in " ".join(told.status.split())
    assert error in " ".join(told.explained.split())
    assert error in told.page.partition("<nav")[0]
