"""A cluster that preempts or requeues pilots, hides the jobs of others, and starts jobs slowly."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

SHARED = "/home/alice/shared"
ODD = r"""
set -eu
cat > /etc/slurm/prolog.sh <<'END'
#!/bin/sh
sleep 8
END
chmod 755 /etc/slurm/prolog.sh
sed -i -e 's/^\(KillWait\)=.*/\1=30/' \
    -e 's/^PartitionName=compute .*/& PriorityTier=1 PreemptMode=REQUEUE/' \
    -e 's/^PartitionName=short .*/& PriorityTier=9/' /etc/slurm/slurm.conf
cat >> /etc/slurm/slurm.conf <<'END'
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
PrivateData=jobs,nodes,partitions,reservations,usage
Prolog=/etc/slurm/prolog.sh
PrologFlags=Alloc
END
pool-svc slurmctld restart
pool-svc slurmd restart
pool-svc ready
"""
"""A job in the partition `short` preempts those in `compute`, which are requeued if they may be."""

SNAKEFILE = f"""
rule all:
    input: expand("out/{{n}}", n=range(4))
rule work:
    output: "out/{{n}}"
    retries: 0
    shell:
        "echo start >> {SHARED}/{{wildcards.n}}; until [ -e {SHARED}/go ]; do sleep 0.2; done; "
        "touch {{output}}"
"""


@pytest.fixture(scope="module")
def odd(pool: Pool) -> Pool:
    done = pool.run("sh", "-s", user="root", stdin=ODD)
    assert done.returncode == 0, done.stderr
    return pool


@pytest.fixture
def shared(odd: Pool) -> Iterator[Pool]:
    odd.say("mkdir", SHARED)
    yield odd
    odd.say("rm", "-rf", SHARED)


@contextmanager
def started(pool: Pool, name: str) -> Iterator[tuple["subprocess.Popen[str]", Path]]:
    folder = pool.work / name
    folder.mkdir()
    (folder / "Snakefile").write_text(SNAKEFILE)
    site = {**SITE, "slurm": {"partition": "compute"}}
    (folder / "site.yaml").write_text(yaml.safe_dump(site))
    options = ("--osgpilot-shared-prefixes", SHARED, "--osgpilot-max-pilots", "1")
    argv = pool.argv(*SNAKEMAKE, *options, folder=folder)
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as workflow:
        try:
            yield workflow, folder
        finally:
            workflow.kill()


def starts(pool: Pool) -> int:
    return len(pool.run("sh", "-c", f"cat {SHARED}/?").stdout.split())


def pilots(folder: Path) -> list[dict[str, Any]]:
    """Return what the history says of each pilot last."""
    (history,) = folder.glob(".snakemake/osgpilot/2*/history.jsonl")
    lines = map(json.loads, history.read_text().splitlines())
    return list({line["name"]: line for line in lines if line["kind"] == "pilot"}.values())


def end(pool: Pool, workflow: "subprocess.Popen[str]") -> None:
    pool.say("touch", f"{SHARED}/go")
    said, _ = workflow.communicate(timeout=PATIENCE_S)
    assert workflow.returncode == 0, said
    assert pool.say("squeue", "--noheader", "--user=alice", user="root") == ""


def await_starts(pool: Pool, workflow: "subprocess.Popen[str]", times: int) -> None:
    def all_started() -> bool:
        assert workflow.poll() is None, "the workflow ended"
        return starts(pool) >= times

    until(all_started, PATIENCE_S, "starts of all jobs")


def await_end_of_first(folder: Path) -> None:
    over = ("cancelled", "done", "failed")
    until(lambda: pilots(folder)[0]["state"] in over, PATIENCE_S, "the end of the pilot")


def test_a_pilot_that_is_preempted_costs_no_job_and_no_retry(shared: Pool):
    with started(shared, "preempted") as (workflow, folder):
        await_starts(shared, workflow, 4)
        whole = ("sbatch", "--parsable", "--partition=short", "--nodes=4", "--exclusive")
        other = shared.say(*whole, "--wrap=sleep 600", user="bob", folder="/home/bob")
        await_end_of_first(folder)
        shared.say("scancel", other, user="bob")
        await_starts(shared, workflow, 8)
        end(shared, workflow)
        assert len(pilots(folder)) > 1


def test_a_pilot_that_an_administrator_requeues_is_taken_back_and_replaced(shared: Pool):
    with started(shared, "requeued") as (workflow, folder):
        await_starts(shared, workflow, 4)
        (pilot,) = shared.say("squeue", "--noheader", "--format=%A").split()
        for change in (("update", f"jobid={pilot}", "requeue=1"), ("requeue", pilot)):
            shared.say("scontrol", *change, user="root")
        await_end_of_first(folder)
        await_starts(shared, workflow, 8)
        end(shared, workflow)
        first, *others = pilots(folder)
        assert first["state"] == "cancelled"
        assert others
