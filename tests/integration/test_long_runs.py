"""Runs that outlive the login, and their end from another terminal."""

import json
import subprocess
import sys

from conftest import PATIENCE_S, pilots_in_slurm, until

OSGPILOT = [
    sys.executable, "-c", "from snakemake_executor_plugin_osgpilot.cli import main; main()",
]  # fmt: skip

SLEEP = """
rule sleep:
    output: "out"
    shell: "echo started; sleep 600; touch {output}"
"""


def osgpilot(workflow, *argv):
    return subprocess.run(
        [*OSGPILOT, *argv], cwd=workflow.folder, capture_output=True, text=True, check=False
    )


def running(workflow) -> bool:
    seen = json.loads(osgpilot(workflow, "status", "--json").stdout or "{}")
    return bool(seen.get("progress", {}).get("running"))


def test_a_run_in_a_session_of_its_own_is_cancelled_from_another_terminal(workflow):
    workflow.snakefile(SLEEP)
    # as `setsid nohup snakemake … &` in a shell; the test ends it if cancelling does not
    process = workflow.start()
    until(lambda: running(workflow), "the running job")
    cancelled = osgpilot(workflow, "cancel", "--yes")
    assert cancelled.returncode == 0, cancelled.stderr
    assert cancelled.stdout.endswith(": interrupted\n")
    assert process.wait(PATIENCE_S) == 1
    assert osgpilot(workflow, "status").returncode == 3
    until(lambda: not any("osgpilot" in line for line in pilots_in_slurm()), "no pilot")
    (row,) = json.loads(osgpilot(workflow, "runs", "--json").stdout)
    assert (row["state"], row["done"]) == ("interrupted", 0)


def test_a_command_is_notified_of_the_end(workflow):
    workflow.snakefile(SLEEP.replace("sleep 600; touch {output}", "exit 3"))
    assert workflow.run("--osgpilot-notify", "sh -c 'cat > told'") == 1
    told = (workflow.folder / "told").read_text()
    assert "failed\n0 of 1 steps done; jobs: 0 waiting, 0 running, 0 done, 1 failed;" in told
    shown = osgpilot(workflow, "logs", "sleep")
    assert shown.stdout.endswith("started\n"), shown
