"""Pilots follow demand: as many as are of use, of the right shape, and none a moment too long."""

from pathlib import Path

from conftest import (
    PARTITIONS,
    PATIENCE_S,
    Workflow,
    jobs_in_queue,
    nothing_left,
    pilots_in_slurm,
    tool,
    until,
)

ROUNDS = """
rule all:
    input: expand("second/{n}", n=range(8))

rule scatter:
    output: "first/{n}"
    resources: runtime=5
    shell: "touch SHARED/{wildcards.n}; until [ -e SHARED/go ]; do sleep 0.5; done; touch {output}"

rule gather:
    input: expand("first/{n}", n=range(12))
    output: "gathered"
    resources: runtime=5
    shell: "sleep 2; touch {output}"

rule again:
    input: "gathered"
    output: "second/{n}"
    resources: runtime=5
    shell: "sleep 2; touch {output}"
"""


BLOCK = ("sbatch", "--parsable", "--cpus-per-task=4", "--output=/dev/null")


def used(record):
    return [pilot for pilot in record["pilots"] if pilot["charged_s"] > 0]


def busy_pilots() -> set[str]:
    """Return the Slurm jobs of the pilots that have a job."""
    clause = ("-constraint", "JobId =!= undefined")
    return set(tool("condor_status", *clause, "-af", "OSGPILOT_SLURM_JOB_ID").split())


def test_scatter_gather_scatter_launches_no_unused_pilot(workflow: Workflow, shared: Path):
    """The first jobs wait until each pilot has some, or until there are no more of them."""
    workflow.snakefile(ROUNDS.replace("SHARED", str(shared)))
    options = ("--osgpilot-max-pilots", "4", "--osgpilot-shared-prefixes", str(shared))
    process = workflow.start(*options)

    def all_serve() -> bool:
        started = len(list(shared.iterdir()))
        pilots = {row.split()[0] for row in pilots_in_slurm()}
        return started == 12 or (started > 0 and pilots == busy_pilots())

    until(all_serve, "jobs on all pilots")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    record = workflow.record()
    assert record["pilots_never_used"] == 0
    assert 1 <= len(used(record)) <= 4
    assert 0 < record["bound_s"] <= record["makespan_s"]
    assert nothing_left()


def test_pilots_take_the_shape_of_the_jobs(workflow: Workflow):
    """Two cores for a job of two, and a life that suits; the rest of a node stays with others."""
    workflow.write_site(PARTITIONS)
    workflow.snakefile("""
rule all:
    output: "out"
    threads: 2
    resources: runtime=5, mem_mb=900
    shell: "sleep 1; touch {output}"
""")
    assert workflow.run() == 0, workflow.said
    (pilot,) = used(workflow.record())
    assert (pilot["cores"], pilot["memory_mb"]) == (2, 1850)


def test_the_budget_is_never_overcommitted_and_is_named(workflow: Workflow):
    """An hour of four cores fits once into five core-hours, however many jobs wait."""
    workflow.snakefile("""
rule all:
    input: expand("out/{n}", n=range(12))
rule nap:
    output: "out/{n}"
    shell: "sleep 2; touch {output}"
""")
    assert workflow.run("--osgpilot-max-core-hours", "5", "--osgpilot-cost-weight", "0") == 0
    assert "the budget is 5 core-hours" in workflow.said
    assert len(workflow.record()["pilots"]) == 1


def test_a_drained_pilot_finishes_its_job_and_ends(workflow: Workflow, shared: Path):
    workflow.snakefile(
        """
rule all:
    input: "one", "two"
rule one:
    output: "one"
    shell: "touch SHARED/started; until [ -e SHARED/go ]; do sleep 0.2; done; touch {output}"
rule two:
    input: "one"
    output: "two"
    shell: "touch {output}"
""".replace("SHARED", str(shared))
    )
    process = workflow.start("--osgpilot-shared-prefixes", str(shared))
    until(lambda: (shared / "started").exists(), "a running job")
    (allocation,) = (line.split()[0] for line in pilots_in_slurm())
    tool("scancel", "--batch", "--signal=USR1", allocation)
    (log,) = (workflow.folder / ".snakemake/osgpilot").glob("*/pilots/*-1/slurm.log")
    until(lambda: "asked to take no new jobs" in log.read_text(), "the pilot to drain")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    first, *others = workflow.record()["pilots"]
    assert (first["allocation"], first["state"]) == (allocation, "done")
    assert "interrupted" not in workflow.said
    assert len(others) <= 1
    assert nothing_left()


def test_pilots_that_others_end_cost_time_but_no_job(workflow: Workflow, shared: Path):
    """One is cancelled from outside, one comes to the end of its walltime earlier than planned."""
    workflow.snakefile(f"""
rule all:
    input: expand("out/{{n}}", n=range(2))
rule nap:
    output: "out/{{n}}"
    threads: 4
    shell:
        "touch {shared}/{{wildcards.n}}; until [ -e {shared}/go ]; do sleep 0.2; done; "
        "sleep 10; touch {{output}}"
""")
    options = ("--osgpilot-cost-weight", "0", "--osgpilot-shared-prefixes", str(shared))
    process = workflow.start(*options)
    until(lambda: len(list(shared.iterdir())) == 2, "two running jobs")
    cancelled, shortened = (line.split()[0] for line in pilots_in_slurm())
    tool("scancel", cancelled)
    tool("scontrol", "update", f"jobid={shortened}", "TimeLimit=1")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, workflow.said
    record = workflow.record()
    assert record["rules"]["nap"]["done"] == 2
    assert record["rules"]["nap"]["failed"] == 0
    assert nothing_left()


def test_a_pilot_that_waits_is_cancelled_when_its_job_is_taken_away(workflow: Workflow):
    workflow.snakefile("""
localrules: here
rule all:
    input: "out", "here"
rule here:
    output: "here"
    shell: "while [ ! -e stop ]; do sleep 1; done; touch {output}"
rule there:
    output: "out"
    shell: "touch {output}"
""")
    blockers = [tool(*BLOCK, "--wrap", "sleep 600").strip() for _ in range(4)]
    process = workflow.start("--keep-going")
    until(lambda: any("osgpilot" in line for line in pilots_in_slurm()), "a pending pilot")
    until(jobs_in_queue, "its job")
    tool("condor_rm", "-all")
    until(lambda: "no job is left that could need it" in workflow.said, "the pilot's cancellation")
    until(lambda: not any("osgpilot" in line for line in pilots_in_slurm()), "no pilot in Slurm")
    tool("scancel", *blockers)
    (workflow.folder / "stop").touch()
    assert process.wait(PATIENCE_S) == 1
