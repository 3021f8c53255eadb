"""Inputs that several jobs have are sent once to each pilot."""

import hashlib
import os
from pathlib import Path

import pytest
from conftest import Workflow, jobs_in_queue, past_jobs

MB = 1024 * 1024

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


def random_file(path: Path, size_mb: int) -> bytes:
    content = os.urandom(MB) * size_mb
    path.write_bytes(content)
    return content


def ads(workflow: Workflow) -> list[dict]:
    (run,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    return past_jobs(run.parent.name)


def log_of(workflow: Workflow) -> str:
    return next(workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")).read_text()


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
    mapped = [ad for ad in ads(workflow) if len(ad.get("RequestedCatalogs", [])) == 2]
    assert len(mapped) == 12
    pilots = {ad["LastRemoteHost"].partition("@")[2] for ad in mapped}
    assert max(ad["BytesRecvd"] for ad in mapped) < MB
    # genome and index, each once on each pilot
    arrived = log_of(workflow).count("Finished transferring common files")
    assert len(pilots) * 2 <= arrived <= len(pilots) * 2 + 1
    assert "disk usage exceeded" not in log_of(workflow)
    moved = workflow.record()["transfers"]
    assert moved["shared"] == arrived
    assert moved["shared_mb"] == pytest.approx(arrived / 2 * 36, rel=0.4)
