"""An access point on another host that goes down while Snakemake's jobs are there."""

import subprocess

import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

REMOTE = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}
SHARED = "/home/alice/shared"
SNAKEFILE = f"""
rule all:
    input: expand("out-{{n}}", n=range(2))
rule wait:
    output: "out-{{n}}"
    retries: 0
    shell:
        "echo start >> {{output}}; touch {SHARED}/started-{{wildcards.n}}; "
        "until [ -e {SHARED}/go-{{wildcards.n}} ]; do sleep 0.2; done; "
        "echo end >> {{output}}; touch {SHARED}/ended-{{wildcards.n}}"
"""
AP = ("-name", "ap.localpool", "-pool", "ap.localpool:9618")


def test_an_access_point_that_crashes_costs_no_job_and_no_retry(pool: Pool):
    """One job ends while nobody can be asked, one goes on meanwhile."""
    (pool.work / "Snakefile").write_text(SNAKEFILE)
    (pool.work / "site.yaml").write_text(yaml.safe_dump(REMOTE))
    pool.say("mkdir", SHARED)
    output = pool.work / "said"
    with output.open("w") as said:
        line = pool.argv(*SNAKEMAKE, "--osgpilot-shared-prefixes", SHARED, folder=pool.work)
        workflow = subprocess.Popen(line, stdout=said, stderr=subprocess.STDOUT)

    def has(*names: str) -> bool:
        assert workflow.poll() is None, output.read_text()
        return {*names} <= {*pool.say("ls", SHARED).split()}

    until(lambda: has("started-0", "started-1"), 90, "all jobs running")
    pool.say("pool-svc", "condor", "kill", host="ap", user="root")
    until(lambda: "osgpilot: could not" in output.read_text(), 60, "a word about it")
    pool.say("touch", f"{SHARED}/go-0")
    until(lambda: has("ended-0"), 60, "the end of a job")
    pool.say("pool-svc", "condor", "start", host="ap", user="root")
    pool.say("touch", f"{SHARED}/go-1")
    assert workflow.wait(PATIENCE_S) == 0, output.read_text()
    for n in range(2):
        assert (pool.work / f"out-{n}").read_text() == "start\nend\n", "one complete execution"
    assert "osgpilot: could read the event log again" in output.read_text()
    assert pool.say("condor_q", *AP, "-allusers", "-af:j", "JobStatus") == ""
