"""Snakemake on login, jobs in the queue of the access point `ap` on another host."""

import subprocess

import pytest
from conftest import PATIENCE_S, SITE, Workflow, pilots_in_slurm, tool, until
from test_trouble import errors

AP = ("-name", "ap.localpool", "-pool", "ap.localpool:9618")
REMOTE = {**SITE, "access_point": {"schedd": "ap.localpool", "poll_s": 2}}


def queue_there(*asked: str) -> list[str]:
    return tool("condor_q", *AP, "-allusers", *asked).splitlines()


def there(constraint: str) -> list[str]:
    return queue_there("-af:j", "JobStatus", "-constraint", constraint)


def jobs_there() -> list[str]:
    return queue_there("-af:j", "JobStatus")


@pytest.fixture
def remote(workflow: Workflow):
    workflow.write_site(REMOTE)
    yield workflow
    workflow.stop()
    if jobs_there():
        subprocess.run(["condor_rm", *AP, "-all"], check=False, capture_output=True)
        subprocess.run(["condor_rm", *AP, "-forcex", "-all"], check=False, capture_output=True)


SNAKEFILE = """
rule all:
    input: "by-snakemake", "from-big", "folder", "removed", "fails"

rule big:
    output: "strange, name"
    shell: "head -c 200000 /dev/zero > '{output}'"
rule direct:
    input: "strange, name", "tmp/given"
    output: "from-big", directory("folder"), link="l"
    threads: 2
    container: "/opt/sif/job.sif"
    shell:
        "wc -c < '{input[0]}' > {output[0]}; mkdir -p folder/empty; cat {input[1]} > folder/x; "
        "ln -s from-big {output.link}"
rule by_snakemake:
    input: "from-big"
    output: "by-snakemake"
    run:
        with open(output[0], "w") as made:
            made.write(open(input[0]).read())
rule fails:
    output: "fails"
    shell: "echo so far so good; exit 7"
rule removed:
    output: "removed"
    threads: 3
    shell: "sleep 300; touch removed"
"""


def test_a_workflow_runs_at_an_access_point_on_another_host(remote):
    remote.snakefile(SNAKEFILE)
    (remote.folder / "tmp").mkdir()
    (remote.folder / "tmp/given").write_text("given\n" * 20_000)
    process = remote.start(
        "--keep-going", "--osgpilot-runtime-image", "/opt/sif/runtime.sif",
        "--software-deployment-method", "apptainer",
    )  # fmt: skip
    until(lambda: there("RequestCpus == 3") or process.poll(), "the job")
    tool("condor_rm", *AP, "-constraint", "RequestCpus == 3")
    assert process.wait(PATIENCE_S) == 1
    print(remote.said)
    told = errors(remote.said)
    assert set(told) == {"fails", "removed"}
    assert "exit status 7 (in Slurm job" in told["fails"]
    assert "so far so good" in told["fails"]
    assert "somebody removed it from the queue" in told["removed"]
    assert "condor_rm (by user alice)" in told["removed"]
    for name in ("from-big", "by-snakemake", "l"):
        assert (remote.folder / name).read_text() == "200000\n"
    assert (remote.folder / "l").is_symlink()
    assert (remote.folder / "folder/empty").is_dir()
    assert (remote.folder / "folder/x").read_text() == "given\n" * 20_000
    assert not jobs_there()
    assert not pilots_in_slurm()
