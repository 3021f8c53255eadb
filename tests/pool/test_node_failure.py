"""A node that fails under a pilot: the job runs again on another one, and nobody notices."""

import subprocess

import yaml

from .conftest import Pool, until

SITE = {
    "site": "LocalPool",
    "resource": "LocalPool-Slurm",
    "central_manager": "ap.localpool:9618",
    "token": "~/osg-token/flock.opensciencegrid.org",
    "image": "/opt/sif/pilot.sif",
    "pilot": {"cores": 4, "memory_mb": 3900, "walltime_min": 60, "idle_min": 1},
    "condor": {"MASTER_UPDATE_INTERVAL": 5, "STARTD_CRON_base_PERIOD": "5s"},
}
SNAKEFILE = """
rule all:
    output: "out"
    retries: 0
    shell: "echo start >> {output}; sleep 20; echo end >> {output}"
"""
SNAKEMAKE = (
    *("python", "-m", "snakemake", "--executor", "osgpilot", "--jobs", "unlimited"),
    *("--shared-fs-usage", "none", "--osgpilot-project", "TestProject"),
    *("--osgpilot-when", "always"),
    *("--osgpilot-site", "site.yaml", "--default-resources", "mem_mb=500", "disk_mb=100"),
)

POWER_LOSS = """
family() {
    local child
    for child in $(pgrep -P "$1"); do family "$child"; done
    echo "$1"
}
kill -KILL $(cat "/run/slurmd-$1.pid") $(family "$(pgrep -o -f slurm_script)")
"""
"""Kills a node's slurmd and the only pilot there is, all at once."""


def node_of_the_job(pool: Pool) -> str:
    running = pool.say("condor_q", "-allusers", "-af", "JobStatus") == "2"
    return pool.say("squeue", "--noheader", "--me", "--format=%N") if running else ""


def test_a_failed_node_costs_no_job_and_no_retry(pool: Pool):
    (pool.work / "Snakefile").write_text(SNAKEFILE)
    (pool.work / "site.yaml").write_text(yaml.safe_dump(SITE))
    workflow = subprocess.Popen(
        pool.argv(*SNAKEMAKE, folder=pool.work),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    until(lambda: node_of_the_job(pool), 90, "a running job")
    node = node_of_the_job(pool)
    pool.say("bash", "-c", POWER_LOSS, "-", node, user="root")
    # what slurmctld does by itself after SlurmdTimeout, a minute here
    pool.say("scontrol", "update", f"nodename={node}", "state=down", "reason=dead", user="root")
    said, _ = workflow.communicate(timeout=200)
    assert workflow.returncode == 0, said
    assert (pool.work / "out").read_text() == "start\nend\n", "one whole execution, and no half"
    assert "running it again" in said
