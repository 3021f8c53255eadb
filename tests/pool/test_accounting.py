"""A cluster that keeps accounts: associations, limits, and what was charged."""

import json

import pytest
import yaml

from .conftest import SITE, SNAKEMAKE, Pool, until

HERE = "/home/alice/accounted"
WHOLE = {
    **{key: value for key, value in SITE.items() if key != "pilot"},
    "slurm": {"account": "lab", "cluster": "localpool", "options": ["--comment=storage"]},
    "pilot": {"idle_min": 1},
    "partitions": [
        {"name": name, "cores": 2, "memory_mb": 1900, "walltime_max_min": 30, "qos": "normal"}
        for name in ("whole", "lean")
    ],
}
SNAKEFILE = """
rule all:
    input: "whole", "lean", "elsewhere"
rule whole:
    output: "whole"
    resources: runtime=5, osgpilot_partition="whole"
    shell: "sleep 20; touch {output}"
rule lean:
    output: "lean"
    resources: runtime=5, osgpilot_partition="lean"
    shell: "sleep 20; touch {output}"
rule elsewhere:
    output: "elsewhere"
    resources: ospool=False, runtime=5
    shell: "echo $SLURM_JOB_ID > {output}"
"""


@pytest.fixture(scope="module")
def accounted(pool: Pool) -> Pool:
    """The pool with accounting, and partitions that give more cores than a pilot asks for: whole
    nodes, or a core for each 500 MB.
    """
    pool.say("pool-accounting", user="root")
    for name, limit in (("whole", "OverSubscribe=EXCLUSIVE"), ("lean", "MaxMemPerCPU=500")):
        made = ("scontrol", "create", f"PartitionName={name}", "Nodes=ALL", "State=UP", limit)
        pool.say(*made, user="root")
    put(pool, "Snakefile", SNAKEFILE)
    put(pool, "site.yaml", yaml.safe_dump(WHOLE))
    return pool


def put(pool: Pool, name: str, text: str) -> None:
    done = pool.run("sh", "-c", 'mkdir -p "$1"; cat > "$1/$2"', "-", HERE, name, stdin=text)
    assert done.returncode == 0, done.stderr


def accounts_of(pool: Pool, *fields: str) -> list[dict[str, str]]:
    """Return the finished and running jobs of alice as Slurm's accounting has them."""
    text = pool.say("sacct", "-X", "-n", "-P", "-S", "now-1hour", f"--format={','.join(fields)}")
    return [dict(zip(fields, line.split("|"), strict=True)) for line in text.splitlines()]


def osgpilot(pool: Pool, *argv: str):
    return pool.run("osgpilot", *argv, folder=HERE)


def test_the_first_site_file_has_accounts_and_is_accepted(accounted: Pool) -> None:
    init = (
        *(
            "site",
            "init",
            "--out",
            "first.yaml",
            "--force",
            "--central-manager",
            "ap.localpool:9618",
        ),
        *("--image", "/opt/sif/pilot.sif", "--cluster", "localpool"),
    )
    done = osgpilot(accounted, *init)
    assert done.returncode == 0, done.stderr
    site = yaml.safe_load(accounted.say("cat", f"{HERE}/first.yaml"))
    assert site["slurm"] == {"cluster": "localpool", "account": "lab"}
    assert [each["name"] for each in site["partitions"]] == ["compute"]
    checked = osgpilot(accounted, "site", "check", "first.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_check_names_accounts_and_charges(accounted: Pool) -> None:
    said = " ".join(osgpilot(accounted, "site", "check").stdout.split())
    assert "partition whole gives whole nodes: a pilot of 2 cores is charged 4" in said
    assert "partition lean gives at most 500 MB with each core: a pilot of 2 cores" in said
    planned = osgpilot(accounted, "plan", "--", *SNAKEMAKE[3:]).stdout
    for name in ("whole", "lean"):
        assert f"Slurm gives each pilot of {name}/2c 4 cores for 2" in " ".join(planned.split())
    other = json.loads(json.dumps(WHOLE))
    other["partitions"][0] |= {"account": "lab_g"}
    put(accounted, "other.yaml", yaml.safe_dump(other))
    said = osgpilot(accounted, "site", "check", "other.yaml").stdout
    assert "`partitions.0.account` is lab_g: partition whole does not take it" in said


def test_what_is_charged_is_what_slurm_accounts(accounted: Pool) -> None:
    """The report's core-hours are sacct's CPUTimeRAW of the pilots; plain jobs go by sacct, too."""
    argv = [each for each in SNAKEMAKE if each != "none"]
    argv[argv.index("--shared-fs-usage")] = "--osgpilot-max-pilots=2"
    ran = accounted.run(*argv, folder=HERE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    record = json.loads(accounted.say("sh", "-c", f"cat {HERE}/.snakemake/osgpilot/*/record.json"))
    pilots = {each["allocation"]: each for each in record["pilots"]}
    jobs = {each["JobID"]: each for each in accounts_of(
        accounted, "JobID", "CPUTimeRAW", "AllocCPUS", "Partition", "Account", "State"
    )}  # fmt: skip
    assert {jobs[each]["Partition"] for each in pilots} == {"whole", "lean"}
    assert {jobs[each]["AllocCPUS"] for each in pilots} == {"4"}
    assert {each["charged_cores"] for each in record["pilots"]} == {4}
    paid_s = sum(int(jobs[each]["CPUTimeRAW"]) for each in pilots)
    assert 3600 * record["charged_core_h"] == pytest.approx(paid_s, rel=0.01)
    shown = json.loads(osgpilot(accounted, "status", "--json").stdout)
    assert 3600 * shown["charged_core_h"] == pytest.approx(paid_s, rel=0.01)
    plain = accounted.say("cat", f"{HERE}/elsewhere")
    assert (jobs[plain]["Account"], jobs[plain]["State"]) == ("lab", "COMPLETED")


REFUSED = {
    "an account that is not there": ("--account=nolab", "RejectedError"),
    "a QOS that is not there": ("--qos=nope", "RejectedError"),
    "an account of another partition": ("--account=lab_g", "RejectedError"),
}
SUBMIT = """
import subprocess, sys
from snakemake_executor_plugin_osgpilot.slurm.error_messages import failure
from snakemake_executor_plugin_osgpilot.slurm.remote_script import Answer, message
argv = ["sbatch", "--parsable", "--partition=compute", *sys.argv[1:], "--wrap=true"]
done = subprocess.run(argv, capture_output=True, text=True, cwd="/tmp")
assert done.returncode, "it was accepted"
print(type(failure("sbatch", message(Answer(1, done.stdout, done.stderr, 0)))).__name__)
"""


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_by_accounting_is_for_good(accounted: Pool, name: str) -> None:
    option, kind = REFUSED[name]
    assert accounted.say("python", "-c", SUBMIT, option) == kind


def test_a_limit_on_jobs_passes(accounted: Pool) -> None:
    limit = ("sacctmgr", "--immediate", "modify", "user", "alice", "set")
    accounted.say(*limit, "MaxSubmitJobs=0", user="root")
    try:
        assert accounted.say("python", "-c", SUBMIT) == "TryLaterError"
    finally:
        accounted.say(*limit, "MaxSubmitJobs=-1", user="root")


def test_reasons_of_limits_are_understood(accounted: Pool) -> None:
    """A pilot beyond a limit of its QOS waits, with a reason that osgpilot has a meaning for."""
    asked = ("sbatch", "--parsable", "--qos=small", "--mem=100", "--time=5", "--cpus-per-task=2")
    first = accounted.say(*asked, "--wrap=sleep 600", folder="/tmp")
    second = accounted.say(*asked, "--wrap=sleep 600", folder="/tmp")

    def reason() -> str:
        return accounted.say("squeue", "--noheader", f"--jobs={second}", "--format=%r")

    try:
        until(lambda: reason().startswith("QOS"), what="the limit of the QOS")
        code = reason()
        said = accounted.say(
            "python", "-c",
            "import sys; from snakemake_executor_plugin_osgpilot.explain.reason_codes import "
            "of_slurm; print(of_slurm(sys.argv[1]).words)", code,
        )  # fmt: skip
        assert "has as much running as it may" in said
    finally:
        accounted.run("scancel", first, second)
