"""A run as a user sees it from another terminal, and afterwards."""

import json
import subprocess
import sys

from conftest import PATIENCE_S, until

from snakemake_executor_plugin_osgpilot.report.locate import Watched, find

OSGPILOT = [
    sys.executable, "-c", "from snakemake_executor_plugin_osgpilot.cli import main; main()",
]  # fmt: skip

WORKFLOW = """
rule all:
    input: "gathered"

rule gather:
    input: expand("out/{n}", n=range(5))
    output: "gathered"
    shell: "touch {output}"

rule spin:
    output: "out/{n}"
    resources: attempt=lambda wildcards, attempt: attempt
    retries: 1
    shell:
        "for ((i = 0; i < 1200000; i++)); do :; done; sleep 5; "
        "if [ {wildcards.n} = 3 ] && [ {resources.attempt} = 1 ]; then "
        "echo 'reference is missing, password=opensesame' >&2; exit 3; fi; touch {output}"
"""


def osgpilot(workflow, *argv):
    return subprocess.run(
        [*OSGPILOT, *argv], cwd=workflow.folder, capture_output=True, text=True, check=False
    )


def status(workflow):
    return json.loads(osgpilot(workflow, "status", "--json").stdout or "{}")


def test_a_run_is_seen_while_it_runs_and_reported_afterwards(workflow):
    workflow.snakefile(WORKFLOW)
    process = workflow.start("--osgpilot-max-pilots", "2", "--osgpilot-max-core-hours", "20")
    now = {}

    def is_seen() -> bool:
        now.update(status(workflow))
        return bool(now.get("progress", {}).get("running"))

    until(is_seen, "jobs that run")
    assert now["state"] == "running"
    busy = [pilot for pilot in now["pilots"] if pilot["busy_cores"]]
    assert {pilot["allocation"] for pilot in busy} == set(now["rules"]["spin"]["allocations"])
    assert now["busy_cores"] <= now["supply_cores"]
    assert any(each["text"].startswith("launch") for each in now["decisions"])
    watched = osgpilot(workflow, "status", "--watch", "--every", "0.5")
    assert process.wait(PATIENCE_S) == 0, workflow.said
    assert watched.returncode == 0

    over = status(workflow)
    rule = over["rules"]["spin"]
    record = json.loads(next(workflow.folder.rglob("record.json")).read_text())
    assert (over["state"], over["progress"]["waiting"]) == ("done", 0)
    assert (rule["jobs"], rule["done"], rule["failed"], rule["retries"]) == (5, 5, 0, 1)
    assert abs(over["used_core_h"] - record["used_core_h"]) < 1 / 3600
    assert abs(over["charged_core_h"] - record["charged_core_h"]) < 10 / 3600
    (failure,) = over["failures"]
    assert "exit status 3 (in Slurm job" in failure["text"]
    assert "reference is missing" in failure["text"]
    assert "opensesame" not in json.dumps(over)

    reported = osgpilot(workflow, "report")
    assert reported.returncode == 0, reported.stderr
    page = (workflow.folder / "osgpilot-report.html").read_text()
    assert "set-resources:" in page
    assert "opensesame" not in page
    jobs = Watched(find(workflow.folder)).look().jobs.values()
    # counting that far takes bash more than a second; sleeping takes five, but no CPU
    spins = [job for job in jobs if job.rule == "spin"]
    assert all(1 <= job.cpu_s <= job.spent.time_s - 4 for job in spins), spins
    # memory is what HTCondor saw, which looks at processes now and then
    assert any(job.usage.memory_mb for job in jobs), jobs
    assert "jobs: " in workflow.said

    # and what came of it can be played again
    done = {job.key for job in jobs if job.rule == "spin" and job.state == "done"}
    (gather,) = (job for job in jobs if job.rule == "gather")
    assert set(gather.needs) == done
    again = osgpilot(workflow, "simulate", "--run", ".", "--seeds", "1", "--json")
    assert again.returncode == 0, again.stderr
    assert [row["jobs_done"] for row in json.loads(again.stdout)] == [1.0]
