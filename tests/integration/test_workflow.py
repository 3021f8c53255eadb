"""Whole workflows through real pilots."""

import pytest
from conftest import nothing_left, pilots_in_slurm, until

SCATTER_GATHER = """
rule all:
    input: "sum.txt"

rule split:
    output: expand("parts/{n}.txt", n=range(8))
    shell: "for n in 0 1 2 3 4 5 6 7; do echo $n > parts/$n.txt; done"

rule square:
    input: "parts/{n}.txt"
    output: "squares/{n}.txt"
    log: "logs/{n}.log"
    shell: "sleep 2; x=$(cat {input}); echo $((x * x)) > {output}; hostname > {log}"

rule gather:
    input: expand("squares/{n}.txt", n=range(8))
    output: "sum.txt"
    shell: "cat {input} | paste -sd+ | bash -c 'echo $(($(cat)))' > {output}"
"""


def test_scatter_and_gather_leave_results_and_nothing_else(workflow):
    workflow.snakefile(SCATTER_GATHER)
    assert workflow.run("--osgpilot-max-pilots", "3") == 0, workflow.said
    assert (workflow.folder / "sum.txt").read_text() == "140\n"
    assert (workflow.folder / "logs/3.log").read_text().strip()
    assert nothing_left()

    record = workflow.record()
    assert {name: rule["done"] for name, rule in record["rules"].items()} == {
        "split": 1,
        "square": 8,
        "gather": 1,
    }
    assert all(rule["allocations"] for rule in record["rules"].values())
    assert 0 < record["used_core_h"] <= record["charged_core_h"]
    started = [pilot for pilot in record["pilots"] if pilot["charged_s"] > 0]
    assert {a for rule in record["rules"].values() for a in rule["allocations"]} <= {
        pilot["allocation"] for pilot in started
    }


def test_more_jobs_than_one_pilot_holds_run_on_several(workflow, shared):
    """Jobs wait until more have begun than there are slots in a pilot."""
    workflow.snakefile(f"""
rule all:
    input: expand("out/{{n}}", n=range(16))

rule nap:
    output: "out/{{n}}"
    shell:
        "touch {shared}/{{wildcards.n}}; "
        "until [ $(ls {shared} | wc -l) -gt 4 ]; do sleep 0.5; done; touch {{output}}"
""")
    options = ("--osgpilot-max-pilots", "2", "--osgpilot-shared-prefixes", str(shared))
    assert workflow.run(*options) == 0, workflow.said
    record = workflow.record()
    assert len(record["rules"]["nap"]["allocations"]) == 2
    assert len(record["pilots"]) == 2


def test_without_work_for_pilots_there_is_no_pilot(workflow):
    workflow.snakefile("""
localrules: here
rule all:
    input: "out"
rule here:
    output: "out"
    shell: "touch {output}"
""")
    assert workflow.run() == 0, workflow.said
    assert workflow.record()["pilots"] == []


def test_what_rules_ask_for_reaches_their_jobs(workflow):
    (workflow.folder / "config.yaml").write_text("greeting: hello")
    workflow.snakefile("""
configfile: "config.yaml"

rule all:
    input: "threads", "image", "sources"

rule threads:
    output: "threads"
    threads: 3
    resources: mem_mb=1000, runtime=5
    shell: 'echo {threads} "$OMP_NUM_THREADS" > {output}'

rule image:
    output: "image"
    resources: container_image="/opt/sif/job.sif"
    shell: "bowtie2 --version > {output}"

rule sources:
    output: "sources"
    shell: "cp config.yaml {output}"
""")
    assert workflow.run() == 0, workflow.said
    assert (workflow.folder / "threads").read_text() == "3 3\n"
    assert "bowtie2" in (workflow.folder / "image").read_text()


def test_a_group_runs_as_one_job(workflow):
    workflow.snakefile("""
rule all:
    input: expand("b/{n}", n=range(2))

rule a:
    output: temp("a/{n}")
    group: "pair"
    shell: "echo {wildcards.n} > {output}"

rule b:
    input: "a/{n}"
    output: "b/{n}"
    group: "pair"
    shell: "cp {input} {output}"
""")
    assert workflow.run() == 0, workflow.said
    assert (workflow.folder / "b/1").read_text() == "1\n"
    assert sum(rule["jobs"] for rule in workflow.record()["rules"].values()) == 2


def test_a_pending_pilot_is_taken_back_when_nothing_needs_it(workflow):
    """The second pilot cannot start, because the partition has no more room for its shape."""
    workflow.snakefile("""
rule all:
    input: "last"

rule quick:
    output: "out/{n}"
    threads: 4
    shell: "sleep 3; touch {output}"

rule slow:
    input: expand("out/{n}", n=range(6))
    output: "last"
    threads: 1
    shell: "sleep 20; touch {output}"
""")
    fast = ("--osgpilot-cost-weight", "0.1")
    assert workflow.run("--osgpilot-max-pilots", "6", *fast) == 0, workflow.said
    states = [pilot["state"] for pilot in workflow.record()["pilots"]]
    assert len(states) == 6
    assert "no job is left that could need it" in workflow.said
    never_started = [p for p in workflow.record()["pilots"] if p["charged_s"] == 0]
    assert len(never_started) == 2


@pytest.mark.parametrize("pilots", [1])
def test_a_pilot_in_slurm_can_be_distinguished_from_others(workflow, pilots):
    workflow.snakefile("""
rule all:
    output: "out"
    shell: "sleep 20; touch {output}"
""")
    workflow.start("--osgpilot-max-pilots", str(pilots))
    until(lambda: any("RUNNING" in line for line in pilots_in_slurm()), "a running pilot")
    assert all(" osgpilot-" in line for line in pilots_in_slurm())
