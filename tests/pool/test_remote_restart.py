"""An access point on another host that goes down while Snakemake's jobs are there."""

import subprocess

import yaml

from .conftest import SITE, SNAKEMAKE, Pool, until

REMOTE = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}
SNAKEFILE = """
rule all:
    input: expand("out-{n}", n=range(2))
rule nap:
    output: "out-{n}"
    retries: 0
    shell: "echo start >> {output}; sleep $((4 + 10 * {wildcards.n})); echo end >> {output}"
"""
AP = ("-name", "ap.localpool", "-pool", "ap.localpool:9618")


def test_an_access_point_that_crashes_costs_no_job_and_no_retry(pool: Pool):
    """One job ends while nobody can be asked, one goes on meanwhile."""
    (pool.work / "Snakefile").write_text(SNAKEFILE)
    (pool.work / "site.yaml").write_text(yaml.safe_dump(REMOTE))
    output = pool.work / "said"
    with output.open("w") as said:
        line = pool.argv(*SNAKEMAKE, folder=pool.work)
        workflow = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)

    def all_run() -> bool:
        running = pool.say("condor_q", *AP, "-allusers", "-af", "JobStatus").split() == ["2"] * 2
        return running or workflow.poll() is not None

    until(all_run, 90, "all jobs running")
    pool.say("pool-svc", "condor", "kill", host="ap", user="root")
    until(lambda: "osgpilot: could not" in output.read_text(), 60, "a word about it")
    pool.say("pool-svc", "condor", "start", host="ap", user="root")
    assert workflow.wait(timeout=200) == 0, output.read_text()
    for n in range(2):
        assert (pool.work / f"out-{n}").read_text() == "start\nend\n", "one complete execution"
    assert "osgpilot: could read the event log again" in output.read_text()
    assert pool.say("condor_q", *AP, "-allusers", "-af:j", "JobStatus") == ""
