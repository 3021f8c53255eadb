"""The requests of rules, as they arrive at the access point and on a pilot."""

import re
import shutil

import pytest
from conftest import SITE, Workflow, jobs_in_queue

from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.htcondor.raw_submit_commands import attribute

RUNTIME = "/opt/sif/runtime.sif"

GPU_SITE = {
    **SITE,
    "pilot": {**SITE["pilot"], "gpus": 2, "walltime_min": 2700},
    "condor": {**SITE["condor"], "GPU_DISCOVERY_EXTRA": "-simulate:4,2"},
}


def ads(workflow: Workflow) -> list[dict]:
    """Return the job ads of a finished run."""
    return workflow.past_jobs()


def is_free(name: str) -> bool:
    try:
        attribute(name, 1)
    except InputError:
        return False
    return True


WISHES = r"""
rule all:
    input: "plain", "gpu", "last"

rule plain:
    output: "plain"
    resources:
        classad_Text='a "b" \\ # ü', classad_Whole=-3, classad_Yes=True, runtime=11 * 60,
        htcondor_rank="TARGET.Memory * 2", htcondor_requirements="TARGET.Memory > 1 || false"
    shell: "touch {output}"

rule gpu:
    output: "gpu"
    resources: gpu=1, gpu_model="a100", gpu_manufacturer="nvidia"
    shell: "env > {output}"

rule first:
    output: temp("first")
    group: "pair"
    resources: mem_mb=300, runtime=3, classad_Yes=True
    shell: "echo 1 > {output}"

rule last:
    input: "first"
    output: "last"
    group: "pair"
    resources: mem_mb=700, runtime=4, classad_Yes=True
    shell: "cat {input} > {output}"
"""


def test_what_rules_ask_for_arrives_in_their_job_ads(workflow: Workflow):
    workflow.write_site(GPU_SITE)
    workflow.snakefile(WISHES)
    assert workflow.run("--default-resources") == 0, workflow.said
    found = {len(ad.get("Text", "")) + ad.get("RequestGPUs", 0): ad for ad in ads(workflow)}
    pair, gpu, plain = (found[key] for key in sorted(found))

    assert (plain["Text"], plain["Whole"], plain["Yes"]) == ('a "b" \\ # ü', -3, True)
    assert "TARGET.Memory * 2" in plain["Rank"]
    assert "&& (TARGET.Memory > 1 || false)" in plain["Requirements"]
    assert (plain["JobDurationCategory"], pair["JobDurationCategory"]) == ("Long", "Medium")
    assert "GLIDEIN_ToDie - time() > 144000" in plain["Requirements"]

    assert (gpu["RequestGPUs"], gpu["RequestMemory"], gpu["RequestDisk"]) == (1, 2048, 2048000)
    assumed = [line for line in workflow.said.splitlines() if "no `mem_mb`: 2000 MB" in line]
    assert len(assumed) == 1
    assert "gpu" in assumed[0]
    assert "CUDA_VISIBLE_DEVICES=GPU-" in (workflow.folder / "gpu").read_text()

    assert (pair["RequestMemory"], pair["Yes"]) == (768, True)
    assert "GLIDEIN_ToDie - time() > 900" in pair["Requirements"]

    free = {name for name in set().union(*found.values()) if is_free(name)}
    assert free == {"Text", "Whole", "Yes"}


TWO_GPUS = {
    **GPU_SITE,
    "condor": {**SITE["condor"], "GPU_DISCOVERY_EXTRA": "-simulate:4,1,2,1 -extra"},
}
"""HTCondor's tool reports an A100 with 47661 MB and a Tesla V100 with less than 30000 MB (16130 or
24220), as it reports real devices."""

CHOICES = """
rule all:
    input: "a100", "v100", "large", "new"
rule model:
    output: "{model,.100}"
    resources: gpu=1, gpu_model="{model}"
    shell: "echo $CUDA_VISIBLE_DEVICES > {output}"
rule large:
    output: "large"
    resources: gpu=1, gpu_manufacturer="nvidia", htcondor_gpus_minimum_memory=30000
    shell: "echo $CUDA_VISIBLE_DEVICES > {output}"
rule new:
    output: "new"
    resources: gpu=1, htcondor_gpus_minimum_capability=7.5
    shell: "echo $CUDA_VISIBLE_DEVICES > {output}"
"""


def test_gpus_are_chosen_by_model_memory_and_capability(workflow: Workflow):
    workflow.write_site(TWO_GPUS)
    workflow.snakefile(CHOICES.replace('"{model}"', "lambda wildcards: wildcards.model"))
    assert workflow.run() == 0, workflow.said
    got = {
        name: (workflow.folder / name).read_text().strip()
        for name in ("a100", "v100", "large", "new")
    }
    assert got["a100"].startswith("GPU-")
    assert got["large"] == got["new"] == got["a100"] != got["v100"]
    (both,) = (
        ad["RequireGPUs"] for ad in ads(workflow) if "GlobalMemoryMb" in str(ad["RequireGPUs"])
    )
    assert "DeviceName" in both


CONTAINERS = """
rule all:
    input: "bowtie2", "timed", "last"

rule tool:
    output: "bowtie2"
    container: "images/job.sif"
    shell: "command -v bowtie2 > {output}"

rule many:
    output: "many/{n}"
    container: "images/job.sif"
    shell: "command -v bowtie2 > {output}; sleep 2"

rule later:
    input: expand("many/{n}", n=range(6))
    output: "later/{n}"
    singularity: "images/job.sif"
    shell: "command -v bowtie2 > {output}; sleep 2"

rule last:
    input: expand("later/{n}", n=range(6))
    output: "last"
    container: "images/job.sif"
    shell: "cat {input} > {output}"

rule timed:
    output: "timed"
    benchmark: "timed.tsv"
    container: "images/job.sif"
    run: shell("command -v bowtie2 > {output} || echo none > {output}")
"""


def test_jobs_run_in_the_container_of_their_rule(workflow: Workflow):
    (workflow.folder / "images").mkdir()
    shutil.copy("/opt/sif/job.sif", workflow.folder / "images")
    workflow.snakefile(CONTAINERS)
    options = ["--software-deployment-method", "apptainer", "--osgpilot-runtime-image", RUNTIME]
    assert workflow.run(*options) == 0, workflow.said
    assert "bowtie2" in (workflow.folder / "bowtie2").read_text()
    assert "bowtie2" in (workflow.folder / "many/5").read_text()
    assert (workflow.folder / "timed").read_text() == "none\n"
    image = workflow.folder / "images" / "job.sif"
    sent_once = rf"image {re.escape(str(image))} \(\d+ MB\) is sent once to each pilot"
    assert len(re.findall(sent_once, workflow.said)) == 1
    assert workflow.said.count("rule timed needs Snakemake on the execution point") == 1
    # HTCondor sends an image for many jobs apart from the jobs' own files, once to each pilot, and
    # keeps it there for those that start later, also for those that are submitted later
    many = [ad for ad in ads(workflow) if "CommonInputCatalogs" in ad]
    assert len({ad["ClusterId"] for ad in many}) >= 3
    log = next(workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")).read_text()
    pilots = {ad["LastRemoteHost"].partition("@")[2] for ad in many}
    assert log.count("Started transferring common files") == len(pilots) < len(many)
    assert "disk usage exceeded" not in log
    assert max(ad["BytesRecvd"] for ad in many) < 1_000_000
    assert not jobs_in_queue()
    moved, size_mb = workflow.record()["transfers"], image.stat().st_size / 2**20
    assert moved["images"] == len(pilots) <= moved["pilots"]
    assert moved["images_mb"] == pytest.approx(len(pilots) * size_mb)
    received_mb = sum(ad["BytesRecvd"] for ad in ads(workflow)) / 2**20
    assert moved["to_jobs_mb"] == pytest.approx(received_mb, rel=0.01)


def test_an_image_without_the_snakemake_that_a_rule_needs_says_so(workflow: Workflow):
    workflow.snakefile("""
rule all:
    output: "o"
    run: open(output[0], "w").close()
""")
    assert workflow.run("--osgpilot-runtime-image", "/opt/sif/job.sif") == 1
    assert "osgpilot: this image has no Snakemake; name one with osgpilot_runtime" in workflow.said


def test_a_body_does_without_an_image_that_has_no_snakemake(workflow: Workflow):
    workflow.snakefile("""
rule all:
    input: "in_image", "by_body"

rule in_image:
    output: "in_image"
    shell: "cat /etc/job-image > {output}"

rule by_body:
    output: "by_body"
    run:
        from pathlib import Path
        Path(output[0]).write_text(f"{Path('/etc/job-image').exists()}")
""")
    image = "/opt/sif/job.sif"
    given = ("mem_mb=500", "disk_mb=100", f"container_image={image}")
    assert workflow.run("--default-resources", *given) == 0, workflow.said
    assert (workflow.folder / "in_image").read_text() == "localpool-job\n"
    assert (workflow.folder / "by_body").read_text() == "False"
    assert f"as its image {image} has no Snakemake: programs of that image" in workflow.said


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('container: "no.sif"', "rule all: the container image {folder}/no.sif does not exist"),
        ("resources: htcondor_request_memory=1", "rule all: the resource htcondor_request_memory"),
        ('resources: classad_X="$(HOME)"', "rule all: the resource classad_X is '$(HOME)'"),
    ],
)
def test_what_cannot_be_asked_for_is_said_before_anything_is_submitted(
    workflow: Workflow, line, complaint
):
    workflow.snakefile(f'rule all:\n    output: "o"\n    {line}\n    shell: "touch {{output}}"\n')
    assert workflow.run("--software-deployment-method", "apptainer") == 1
    (said,) = [text for text in workflow.said.splitlines() if "rule all: the" in text]
    assert complaint.format(folder=workflow.folder) in said
    assert "launch" not in workflow.said
