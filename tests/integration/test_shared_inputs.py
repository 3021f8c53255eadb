"""Inputs that several jobs have are sent once to each pilot."""

import hashlib
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import PATIENCE_S, Workflow, jobs_in_queue, past_jobs, tool, until

MB = 1024 * 1024
JOB_IMAGE = "/opt/sif/job.sif"

SNAKEFILE = """
rule all:
    input: expand("out/{n}.txt", n=range(12)), "late.txt"

rule index:
    input: "genome"
    output: directory("index")
    shell: "mkdir -p {output}/deep; cat {input} > {output}/deep/data; cp {input} {output}/second"

rule map:
    input: "genome", "index", small="small.txt"
    output: "out/{n}.txt"
    resources: container_image="/opt/sif/job.sif"
    shell:
        # a careless job: what it has is its own
        "cat {input[0]} {input[1]}/deep/data {input[1]}/second {input.small} | md5sum > {output};"
        "echo more >> genome; chmod a+w index/second; echo more >> index/second;"
        "rm index/deep/data; stat -c '%a %h' genome >> {output}"

rule late:
    input: expand("out/{n}.txt", n=range(12)), "genome"
    output: "late.txt"
    shell: "md5sum < genome > {output}"
"""

SIMPLE = """
rule all:
    input: expand("out/{n}.txt", n=range(4))

rule each:
    input: "data/genome"
    output: "out/{n}.txt"
    shell: "md5sum < {input} > {output}"
"""


def random_file(path: Path, size_mb: int) -> bytes:
    path.parent.mkdir(exist_ok=True)
    content = os.urandom(MB) * size_mb
    path.write_bytes(content)
    return content


def ads(workflow: Workflow) -> list[dict]:
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    return past_jobs(log.parent.name)


def arrivals(workflow: Workflow) -> int:
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    assert "disk usage exceeded" not in log.read_text()
    return log.read_text().count("Finished transferring common files")


def test_inputs_of_many_jobs_go_once_to_each_pilot_and_each_job_has_its_own(workflow: Workflow):
    genome = random_file(workflow.folder / "genome", 12)
    (workflow.folder / "genome").chmod(0o640)
    (workflow.folder / "small.txt").write_text("small\n")
    workflow.snakefile(SNAKEFILE)
    assert workflow.run() == 0, workflow.said
    expected = hashlib.md5(genome * 3 + b"small\n").hexdigest()
    for n in range(12):
        assert (workflow.folder / f"out/{n}.txt").read_text() == f"{expected}  -\n640 1\n"
    assert (workflow.folder / "late.txt").read_text().startswith(hashlib.md5(genome).hexdigest())
    assert (workflow.folder / "genome").read_bytes() == genome
    assert not jobs_in_queue()
    assert not list(workflow.folder.glob(".snakemake/osgpilot/*/jobs/shared"))
    every = ads(workflow)
    # image, genome and index
    mapped = [ad for ad in every if len(ad.get("RequestedCatalogs", [])) == 3]
    assert len(mapped) == 12
    assert max(ad["BytesRecvd"] for ad in every) < MB
    pilots = {ad["LastRemoteHost"].partition("@")[2] for ad in mapped}
    others = {ad["LastRemoteHost"].partition("@")[2] for ad in every} - pilots
    arrived = arrivals(workflow)
    assert len(pilots) * 3 <= arrived <= len(pilots) * 3 + len(others)
    moved, image_mb = workflow.record()["transfers"], Path(JOB_IMAGE).stat().st_size / MB
    assert moved["images"] + moved["shared"] == arrived
    assert moved["images_mb"] == pytest.approx(moved["images"] * image_mb)
    assert moved["shared_mb"] == pytest.approx(36 * len(pilots), abs=36)


def test_a_resumed_run_continues_with_the_jobs_that_share_inputs(
    workflow: Workflow, full_cluster: Callable[[], None]
):
    genome = random_file(workflow.folder / "data/genome", 12)
    workflow.snakefile(SIMPLE)
    process = workflow.start("--osgpilot-max-pilots", "1")
    until(lambda: len(jobs_in_queue()) == 5, "four jobs and one that keeps what they share")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (keeper,) = tool("condor_q", "-constraint", "OSGPilotImage =!= undefined",
                     "-af", "ClusterId").split()  # fmt: skip
    # as the access point does where a pilot cannot get them: then each job gets its own
    tool("condor_qedit", keeper, "CommonTransferFailed", "true")
    full_cluster()
    options = ("--nolock", "--rerun-incomplete", "--osgpilot-shared-inputs", "off")
    assert workflow.run(*options) == 0, workflow.said
    assert "resumed tracking 4 jobs of the previous session" in workflow.said
    expected = hashlib.md5(genome).hexdigest()
    for n in range(4):
        assert (workflow.folder / f"out/{n}.txt").read_text().split()[0] == expected
    every = ads(workflow)
    assert len(every) == 4
    assert all(ad["CommonInputCatalogs"] for ad in every)
    assert min(ad["BytesRecvd"] for ad in every) > 12 * MB
    assert arrivals(workflow) == 0


def test_a_shared_input_that_is_gone_fails_its_jobs_by_name(
    workflow: Workflow, full_cluster: Callable[[], None]
):
    random_file(workflow.folder / "data/genome", 12)
    workflow.snakefile(SIMPLE)
    process = workflow.start("--osgpilot-max-pilots", "1", "--keep-going")
    until(lambda: len(jobs_in_queue()) == 5, "the jobs")
    (workflow.folder / "data/genome").unlink()
    full_cluster()
    assert process.wait(PATIENCE_S) == 1, workflow.said
    assert re.search(r"jobs/shared/osgpilot_\w+_genome", workflow.said)
    assert not jobs_in_queue()
