"""Trouble that no rule is guilty of: solved inside where possible, else reported in one line."""

import os
import re
import signal
import subprocess

from conftest import PATIENCE_S, SITE, jobs_in_queue, nothing_left, pilots_in_slurm, tool, until

WATCHFUL = {**SITE["condor"], "STARTER_UPDATE_INTERVAL": 3, "STARTER_INITIAL_UPDATE_INTERVAL": 2}
"""A pilot looks at a job's memory and disk at every update; the default is every 5 minutes."""

SMALL_PILOTS = {
    **SITE,
    "pilot": {**SITE["pilot"], "memory_mb": 1100},
    "condor": WATCHFUL,
}
"""They offer 1000 MB, and so a job at most 896 MB: seven times 128 MB."""

# each state lasts until the test has seen it; a job sees in its ad that it requests more.
# `disk` writes more than others ask for: it may run in a slot that one of them leaves behind.
TROUBLES = """
rule all:
    input: "grows", "disk", "never", "full", "gone", "paused", "removed", "good"

rule grows:
    output: "grows"
    resources: mem_mb=128, attempt=lambda wildcards, attempt: attempt
    retries: 3
    shell:
        "(head -c 300M /dev/zero; ! grep -q '^RequestMemory = 128$' $_CONDOR_JOB_AD || sleep 600) |"
        " tail -c 300M >x; echo {resources.attempt} > grows"
rule disk:
    output: "disk"
    resources: disk_mb=50
    shell:
        "head -c 120M /dev/zero > big; "
        "! grep -q '^RequestDisk = 51200$' $_CONDOR_JOB_AD || sleep 600; touch disk"
rule never:
    output: "never"
    resources: mem_mb=896
    shell: "(head -c 1000M /dev/zero; sleep 600) | tail -c 1000M | wc -c > never"
rule full:
    output: "full"
    resources: mem_mb=256
    shell: "echo so far so good; head -c 1M /dev/zero > full"
rule gone:
    input: "big.in"
    output: "gone"
    resources: mem_mb=384
    shell: "wc -c < big.in > gone"
rule paused:
    output: "paused"
    threads: 2
    shell: "touch paused"
rule removed:
    output: "removed"
    threads: 3
    shell: "sleep 300; touch removed"
rule good:
    input: "grows"
    output: "good"
    shell: "cp grows good"
"""


def find(constraint: str) -> tuple[str, str]:
    """Return id and key of the one job that fits."""
    asked = ("-af:j", 'split(OSGPilotJobKey, "/")[1]')
    found = tool("condor_q", "-constraint", constraint, *asked).split()
    return (found[0], found[1]) if len(found) == 2 else ("", "")


def errors(said: str) -> dict[str, str]:
    """Return the error message of each rule that failed."""
    blocks = said.split("Error in rule ")[1:]
    return {block.split(":")[0]: block.split("For further error")[0] for block in blocks}


def test_each_trouble_is_solved_or_reported_in_one_line_and_the_rest_continues(
    workflow, full_cluster
):
    workflow.write_site(SMALL_PILOTS)
    workflow.snakefile(TROUBLES)
    (workflow.folder / "big.in").write_bytes(b"x" * 100_000)
    process = workflow.start("--keep-going", "--osgpilot-max-pilots", "3")
    until(lambda: len(jobs_in_queue()) == 7, "the jobs in the queue")

    (workflow.folder / "big.in").unlink()
    _, key = find("RequestMemory == 256")
    (job_folder,) = workflow.folder.glob(f".snakemake/osgpilot/*/jobs/{key}")
    (job_folder / "osgpilot-out").mkdir()
    (job_folder / "osgpilot-out/full").symlink_to("/dev/full")
    paused, _ = find("RequestCpus == 2")
    tool("condor_hold", paused)
    removed, _ = find("RequestCpus == 3")
    tool("condor_rm", removed)
    full_cluster()
    until(lambda: "put on hold by hand" in workflow.said, "a word about the held job")
    tool("condor_release", paused)

    assert process.wait(PATIENCE_S) == 1
    print(workflow.said)
    reported = errors(workflow.said)
    assert set(reported) == {"never", "full", "gone", "removed"}
    assert "needs more than 896 MB of memory" in reported["never"]
    assert "in Slurm job" in reported["never"]
    assert "disk of the access point is full" in reported["full"]
    assert "so far so good" in reported["full"]
    assert "the input big.in did not arrive" in reported["gone"]
    assert "condor_rm (by user alice)" in reported["removed"]
    assert "rule grows: exceeded 128 MB of memory; requesting" in workflow.said
    assert re.search(r"rule disk: exceeded 50 MB of disk; requesting 1\d\d MB", workflow.said)
    assert (workflow.folder / "good").read_text() == "1\n"
    assert (workflow.folder / "disk").exists()
    assert (workflow.folder / "paused").exists()
    assert nothing_left()


def test_a_killed_pilot_costs_time_but_no_retry(workflow, shared):
    workflow.snakefile(f"""
rule all:
    output: "out"
    resources: attempt=lambda wildcards, attempt: attempt
    retries: 3
    shell: "until [ -e {shared}/go ]; do sleep 0.2; done; echo {{resources.attempt}} > out"
""")
    process = workflow.start("--osgpilot-shared-prefixes", str(shared))
    # the status at the access point says "running" before the pilot has the job
    log = ".snakemake/osgpilot/*/jobs.log"
    until(
        lambda: any("Job executing" in p.read_text() for p in workflow.folder.glob(log)),
        "a job in execution",
    )
    (pilot,) = pilots_in_slurm()
    subprocess.run(["scancel", "--signal=KILL", "--full", pilot.split()[0]], check=True)
    until(lambda: pilot not in pilots_in_slurm(), "the end of the pilot")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0
    print(workflow.said)
    assert (workflow.folder / "out").read_text() == "1\n"
    assert re.search("rule all: was (lost|interrupted) in Slurm job", workflow.said)
    assert len(workflow.record()["rules"]["all"]["allocations"]) == 2
    assert nothing_left()


SLEEPER = """
rule all:
    output: "out"
    shell: "echo ran >> {place}/ran; sleep 300; touch {{output}}"
"""


def test_a_job_that_was_removed_does_not_run_again_where_the_log_has_lost_it(workflow, shared):
    workflow.snakefile(SLEEPER.format(place=shared))
    process = workflow.start("--osgpilot-shared-prefixes", str(shared))
    until(lambda: (shared / "ran").exists() or process.poll() is not None, "the job to run")
    (log,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    os.kill(process.pid, signal.SIGSTOP)
    tool("condor_rm", "-all")
    until(lambda: not jobs_in_queue(), "an empty queue")
    os.truncate(log, 0)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(PATIENCE_S) == 1
    assert "somebody removed it from the queue" in workflow.said
    assert (shared / "ran").read_text() == "ran\n"
    assert nothing_left()


def test_a_pilot_is_kept_for_the_retry_of_the_last_job(workflow):
    workflow.snakefile("""
rule one:
    output: "one"
    retries: 2
    resources: number=lambda wildcards, attempt: attempt
    shell: "sleep 4; [ {resources.number} = 3 ]; touch {output}"
""")
    assert workflow.run() == 0, workflow.said
    assert workflow.said.count("FAILED rule one") == 2
    assert len(workflow.record()["pilots"]) == 1


def test_a_pilot_is_kept_for_a_job_that_is_released_later(workflow, full_cluster):
    workflow.snakefile("""
rule one:
    output: "one"
    retries: 0
    shell: "touch {output}"
""")
    process = workflow.start()
    until(lambda: len(jobs_in_queue()) == 1, "the job in the queue")
    _, key = find("true")
    (job_folder,) = workflow.folder.glob(f".snakemake/osgpilot/*/jobs/{key}")
    returned = job_folder / "osgpilot-out"
    returned.mkdir(mode=0o500)
    full_cluster()
    # it is polled more than once until then
    until(lambda: "file transfer failed; retrying in 40 s" in workflow.said, "failed transfers")
    returned.chmod(0o700)
    assert process.wait(PATIENCE_S) == 0, workflow.said
    assert "no job is left" not in workflow.said.partition("Finished jobid")[0]
    assert len(workflow.record()["pilots"]) == 1
