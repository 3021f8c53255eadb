"""Starts that fail again and again are stopped before the pool loses its patience with the user."""

import os
import signal

from conftest import PATIENCE_S, SITE, cycles, nothing_left, tool, until

HOOK = """#!/bin/sh
echo 'HookStatusCode = 310'
echo 'HookStatusMessage = "no default image"'
"""
"""As the pilots of the OSPool end a job before it starts (osg-flock, prepare-hook)."""


def in_queue(attribute):
    return tool("condor_q", "-allusers", "-af", attribute).split()


def starts():
    return [0 if text == "undefined" else int(text) for text in in_queue("NumShadowStarts")]


def test_no_job_is_started_after_many_failed_starts(workflow, shared):
    hook = shared / "hook"
    hook.write_text(HOOK)
    hook.chmod(0o755)
    knobs = {"OSPOOL_HOOK_PREPARE_JOB": str(hook)}
    workflow.write_site({**SITE, "condor": {**SITE["condor"], **knobs}})
    workflow.snakefile("""
rule all:
    input: expand("out/{n}", n=range(16))

rule touch:
    output: "out/{n}"
    shell: "touch {output}"
""")
    options = ["--osgpilot-max-pilots", "3", "--osgpilot-cost-weight", "0"]
    process = workflow.start("--osgpilot-shared-prefixes", str(shared), *options)
    until(lambda: "starts of jobs failed within 20 min" in workflow.said, "the start-failure limit")
    until(lambda: set(in_queue("OSGPilotPaused")) == {"true"}, "the jobs in the queue to be paused")
    until(lambda: set(in_queue("JobStatus")) == {"1"}, "the last starts to fail")
    before = starts()
    cycles(3)
    assert starts() == before
    assert 12 <= sum(before) <= 20
    assert workflow.said.count("starts of jobs failed within 20 min") == 1
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(PATIENCE_S) != 0
    assert nothing_left()


FAILING = """#!/bin/sh
if [ -e BROKEN ]; then echo 'HookStatusCode = 310'; else echo 'HookStatusCode = 0'; fi
"""


def test_jobs_are_started_again_soon_after_the_cause_is_gone(workflow, shared):
    hook, broken = shared / "hook", shared / "broken"
    hook.write_text(FAILING.replace("BROKEN", str(broken)))
    hook.chmod(0o755)
    broken.touch()
    knobs = {"OSPOOL_HOOK_PREPARE_JOB": str(hook)}
    workflow.write_site({**SITE, "condor": {**SITE["condor"], **knobs}})
    workflow.snakefile("""
rule all:
    input: expand("out/{n}", n=range(30))

rule touch:
    output: "out/{n}"
    shell: "touch {output}"
""")
    options = ["--osgpilot-max-pilots", "4", "--osgpilot-cost-weight", "0"]
    process = workflow.start("--osgpilot-shared-prefixes", str(shared), *options)
    until(lambda: "starts of jobs failed within 20 min" in workflow.said, "the start-failure limit")
    broken.unlink()
    # well within the 20 minutes that the failed starts count
    assert process.wait(480) == 0, workflow.said
    assert "jobs are started again" in workflow.said
    assert nothing_left()
