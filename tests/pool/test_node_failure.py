"""A node that fails under a pilot: the job runs again on another one, and nobody notices."""

import subprocess

import yaml

from .conftest import PATIENCE_S, POWER_LOSS, SITE, SNAKEMAKE, Pool, until

LOG = ".snakemake/osgpilot/*/jobs.log"
SHARED = "/home/alice/shared"
SNAKEFILE = f"""
rule all:
    output: "out"
    retries: 0
    shell:
        "echo start >> {{output}}; until [ -e {SHARED}/go ]; do sleep 0.2; done; "
        "echo end >> {{output}}"
"""


def node_of_the_job(pool: Pool) -> str:
    # the queue says "running" before the pilot has the job
    running = any("\n001 (" in log.read_text() for log in pool.work.glob(LOG))
    return pool.say("squeue", "--noheader", "--me", "--format=%N") if running else ""


def test_a_failed_node_costs_no_job_and_no_retry(pool: Pool):
    (pool.work / "Snakefile").write_text(SNAKEFILE)
    (pool.work / "site.yaml").write_text(yaml.safe_dump(SITE))
    pool.say("mkdir", SHARED)
    workflow = subprocess.Popen(
        pool.argv(*SNAKEMAKE, "--osgpilot-shared-prefixes", SHARED, folder=pool.work),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: node_of_the_job(pool), 90, "a running job")
    node = node_of_the_job(pool)
    pilot = pool.say("pgrep", "-o", "-f", "slurm_script", user="root")
    pool.say("bash", "-c", POWER_LOSS, "-", node, pilot, user="root")
    # slurmctld does this itself after SlurmdTimeout, a minute here
    pool.say("scontrol", "update", f"nodename={node}", "state=down", "reason=dead", user="root")
    pool.say("touch", f"{SHARED}/go")
    said, _ = workflow.communicate(timeout=PATIENCE_S)
    assert workflow.returncode == 0, said
    assert (pool.work / "out").read_text() == "start\nend\n", (
        "one complete execution, no partial one"
    )
    assert "running it again" in said
