"""Nodes that ruin jobs: a full disk, or every job fails there. No job and few retries are lost."""

import subprocess
from pathlib import Path

import yaml

from .conftest import PATIENCE_S, SITE, SNAKEMAKE, Pool, until

SNAKEFILE = """
rule all:
    input: expand("out/{n}", n=range(120))
rule each:
    output: "out/{n}"
    shell: '''
        until [ -e SHARED/open ]; do sleep 0.1; done
        if grep -qf SHARED/bad "$_CONDOR_MACHINE_AD" 2> /dev/null; then exit 1; fi
        while [ -e SHARED/filling ] && [ "$(df --output=avail . | tail -n 1)" -gt 0 ]; do
            touch SHARED/awaited; sleep 0.1
        done
        sleep 1; seq 20000 > {output}
        '''
"""
WITH_IMAGE = (
    SNAKEFILE.replace("rule all:\n    input:", "rule all:\n    input: 'imaged',")
    + """
rule imaged:
    input: "out/0"  # there when jobs run on all pilots
    output: "imaged"
    retries: 0
    resources: container_image="SHARED/tool.sif"
    priority: 1
    shell: "cat /etc/job-image > {output}"
"""
)
FULL = "cat /dev/zero > /scratch/filler 2> /dev/null; df --output=avail /scratch"
PILOTS = 2
"""Jobs wait for both: on a busy machine, one could do all before the other is there."""


def start(
    pool: Pool, *options: str, snakefile: str = SNAKEFILE, **site: object
) -> "subprocess.Popen[str]":
    shared = pool.say("mktemp", "-d", "-p", "/home/alice")
    folder = pool.say("mktemp", "-d", "-p", str(pool.work))
    for name, text in (
        ("Snakefile", snakefile.replace("SHARED", shared)),
        ("site.yaml", yaml.safe_dump({**SITE, **site})),
    ):
        pool.run("tee", name, folder=folder, stdin=text)
    more = ("--osgpilot-shared-prefixes", shared, "--osgpilot-max-pilots", str(PILOTS), *options)
    # a pipe that nobody reads while a test waits would stop Snakemake
    with Path(pool.work, "said").open("w") as said:
        process = subprocess.Popen(
            pool.argv(*SNAKEMAKE, *more, folder=folder),
            stdout=said,
            stderr=subprocess.STDOUT,
            text=True,
        )
    process.shared, process.folder = shared, folder  # type: ignore[attr-defined]
    return process


def end(pool: Pool, process: "subprocess.Popen[str]") -> str:
    """Wait for the end of the run, which succeeds; return what it said."""
    status, said = process.wait(PATIENCE_S), said_so_far(pool)
    assert status == 0, said
    return said


def said_so_far(pool: Pool) -> str:
    return Path(pool.work, "said").read_text()


def done(pool: Pool, folder: str) -> int:
    return len(pool.run("ls", f"{folder}/out").stdout.split())


def closed(pool: Pool) -> list[str]:
    slots = pool.say("condor_status", "-constraint", "PartitionableSlot", "-af", "OSGPILOT_CLOSED")
    return slots.split()


def test_a_full_scratch_disk_stops_starts_and_costs_no_job(pool: Pool):
    pool.say(
        "bash", "-c", "mkdir /scratch; mount -t tmpfs -o size=700m,mode=1777 tmpfs /scratch",
        user="root",
    )  # fmt: skip
    process = start(pool, "--osgpilot-cost-weight", "0", scratch="/scratch")
    open_to_all(pool, process)
    until(lambda: done(pool, process.folder) > 4, 90, "some outputs")
    filling, awaited = f"{process.shared}/filling", f"{process.shared}/awaited"
    pool.say("touch", filling)
    until(lambda: pool.run("test", "-e", awaited).returncode == 0, 60, "a job that sees it happen")
    pool.say("bash", "-c", FULL, user="root")
    # a pilot whose own programs find no room there ends, and the next one says why it cannot start
    said_by_pilot = "MB free in /scratch on n"
    until(
        lambda: set(closed(pool)) == {"true"} or said_by_pilot in said_so_far(pool),
        60,
        "pilots that take no jobs",
    )
    pool.say("rm", "/scratch/filler", filling, user="root")
    said = end(pool, process)
    assert "Error in rule" not in said, "no rule is at fault, and there were no retries"
    assert "because the node's disk was full" in said or said_by_pilot in said


def served(pool: Pool, folder: str) -> set[str]:
    """Return the nodes on which jobs were started."""
    script = """grep -hoP 'OSGPILOT_NODE = "\\K[^"]+' .snakemake/osgpilot/2*/jobs.log"""
    return set(pool.run("bash", "-c", script, folder=folder).stdout.split())


def open_to_all(pool: Pool, process: "subprocess.Popen[str]") -> None:
    """Let jobs go on when there are some on each pilot."""
    shared, folder = process.shared, process.folder  # type: ignore[attr-defined]
    until(lambda: len(served(pool, folder)) == PILOTS, 120, "jobs on all pilots")
    pool.say("touch", f"{shared}/open")


def failures(said: str) -> int:
    return said.count("Error in rule each")


def test_a_node_on_which_all_jobs_fail_costs_each_job_one_retry_at_most(pool: Pool):
    process = start(pool, "--osgpilot-cost-weight", "0", "--retries", "1")
    open_to_all(pool, process)
    ended = done(pool, process.folder)
    until(lambda: done(pool, process.folder) > ended + 8, 120, "outputs")
    bad = min(served(pool, process.folder))
    text = f'^OSGPILOT_NODE = "{bad}"$\n'
    pool.run("tee", f"{process.shared}/bad", stdin=text)
    said = end(pool, process)
    # each bundle that starts there meanwhile has two failures, and ends with the second
    assert 0 < failures(said) < 40, said
    assert "jobs failed there at once" in said


def test_a_job_whose_image_does_not_start_is_tried_on_other_nodes(pool: Pool):
    process = start(pool, "--osgpilot-cost-weight", "0", snakefile=WITH_IMAGE)
    image = f"{process.shared}/tool.sif"
    pool.run("tee", image, stdin="damaged")
    pool.say("chmod", "a+x", image)
    open_to_all(pool, process)
    until(lambda: len(starts_without_image(pool, process.folder)) >= PILOTS, 240, "attempts")
    pool.say("cp", "/opt/sif/job.sif", image)
    assert "Error in rule" not in end(pool, process)
    tried = starts_without_image(pool, process.folder)
    assert len(set(tried[:PILOTS])) == PILOTS, tried


def starts_without_image(pool: Pool, folder: str) -> list[str]:
    """Return the nodes on which an image did not start, in order of time."""
    script = """sed -n '/image did not start/s/.* on \\([a-z0-9]*\\): .*/\\1/p' said"""
    return pool.say("bash", "-c", script, folder=str(pool.work)).split()
