"""What rules ask of a slot, as it arrives at the access point and on a pilot."""

import json
from pathlib import Path

from conftest import SITE, Workflow, tool


JOB_IMAGE = Path("/opt/sif/job.sif")
RUNTIME = "/opt/sif/runtime.sif"

SIMULATED_GPUS = {
    **SITE,
    "pilot": {**SITE["pilot"], "gpus": 2, "walltime_min": 2700},
    "condor": {**SITE["condor"], "GPU_DISCOVERY_EXTRA": "-simulate:4,2"},
}


def ads(workflow: Workflow) -> list[dict]:
    """Return the job ads of a finished run."""
    run = workflow.record()["run"]
    wanted = f'OSGPilotWorkflow == "{run}"'
    return json.loads(tool("condor_history", "-json", "-constraint", wanted) or "[]")


WISHES = r"""
rule all:
    input: "plain", "gpu", "last"

rule plain:
    output: "plain"
    resources:
        classad_Text='a "b" \\ # ü', classad_Whole=-3, classad_Yes=True,
        htcondor_rank="TARGET.Memory * 2", htcondor_requirements='TARGET.Memory > 1 || false',
        runtime=11 * 60
    shell: "cat /etc/os-release > /dev/null; echo x > {output}"

rule gpu:
    output: "gpu"
    resources: gpu=1, gpu_model="a100", gpu_manufacturer="nvidia"
    shell: "echo $CUDA_VISIBLE_DEVICES > {output}"

rule first:
    output: temp("first")
    group: "pair"
    resources: mem_mb=300, classad_Yes=True, runtime=3
    shell: "echo 1 > {output}"

rule last:
    input: "first"
    output: "last"
    group: "pair"
    resources: mem_mb=700, classad_Yes=True, runtime=4
    shell: "cat {input} > {output}"
"""


def test_what_rules_ask_for_arrives_in_their_job_ads(workflow: Workflow):
    workflow.write_site({**SIMULATED_GPUS, "pilot": {**SITE["pilot"], "walltime_min": 2700}})
    workflow.snakefile(WISHES.replace(', "gpu", "last"', ', "last"'))
    assert workflow.run() == 0, workflow.said
    by_rule = {}
    Path("/tmp/request-ads.json").write_text(json.dumps(ads(workflow)))
    for ad in ads(workflow):
        by_rule["gpu" if ad.get("RequestGPUs") else "plain" if "Text" in ad else "pair"] = ad
    plain, gpu, pair = by_rule["plain"], by_rule["gpu"], by_rule["pair"]
    Path("/tmp/wt/request-ads.json").write_text(json.dumps([plain, gpu, pair]))
    assert (plain["Text"], plain["Whole"], plain["Yes"]) == ('a "b" \\ # ü', -3, True)
