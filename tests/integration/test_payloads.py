"""Rules of every kind, compared with the local executor."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow

RUNTIME = "/opt/sif/runtime.sif"

PLAIN = """
import os
envvars: "GREETING"

rule all:
    input: "words", "d.txt", "flag", "w r/ü x.txt", "ro", WILD, f"ran/{WILD}"

rule words:
    input: "in put.txt"
    output: "words"
    params: text="a b\\n'c' \\"d\\" $HOME `id` \\\\ ;#"
    threads: 2
    shell:
        "printf '%s|' {params.text:q} {threads} $OMP_NUM_THREADS \\"$GREETING\\" > {output}; "
        "cat {input:q} >> {output}"

rule folder:
    output: directory("d")
    shell: "mkdir -p {output}/x; echo 1 > {output}/x/one; echo 2 > {output}/two"

rule from_folder:
    input: "d"
    output: "d.txt"
    log: "logs/d.log"
    shell: "cat {input}/x/one {input}/two > {output}; echo logged > {log}"

rule flag:
    input: "d.txt"
    output: touch("flag")
    shell: "true"

rule wild:
    output: "w r/{name}.txt"
    shell: "echo {wildcards.name:q} > {output:q}"

rule ran:
    input: "w r/{name}.txt"
    output: "ran/w r/{name}.txt"
    run: open(output[0], "w").write(wildcards.name + open(input[0]).read())

rule ro:
    output: protected("ro")
    shell: "echo ro > {output}"
"""

# texts that shells, and Snakemake's own options for a remote job, would not pass on
WILD = "w r/'a,b' \"c\" $HOME `id` (1) ;#\\&.txt"

OUTPUTS = (
    *("words", "d/x/one", "d/two", "d.txt", "flag", "w r/ü x.txt", "ro", "logs/d.log"),
    *(WILD, f"ran/{WILD}"),
)


def prepare(folder: Path) -> None:
    (folder / "Snakefile").write_text(f"WILD = {WILD!r}\n{PLAIN}")
    (folder / "in put.txt").write_text("input\n")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the result of the same workflow with the local executor.

    Without threads, it starts `run:` by a shell that loses wildcards.
    """
    folder = tmp_path_factory.mktemp("local")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREETING", 'it\'s "fine" $(true)')
        subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "2", "--force-use-threads"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def test_files_are_those_of_a_local_run(workflow: Workflow, expected, monkeypatch):
    monkeypatch.setenv("GREETING", 'it\'s "fine" $(true)')
    prepare(workflow.folder)
    assert workflow.run("--osgpilot-runtime-image", RUNTIME) == 0, workflow.said
    assert {name: (workflow.folder / name).read_bytes() for name in OUTPUTS} == expected
    assert (workflow.folder / "ro").stat().st_mode & 0o222 == 0


def test_rules_that_need_python_run_where_snakemake_is(workflow: Workflow):
    folder = workflow.folder / "workflow"
    (folder / "scripts").mkdir(parents=True)
    (folder / "rules").mkdir()
    (folder / "scripts" / "helper.py").write_text("VALUE = 'helped'\n")
    (folder / "scripts" / "make.py").write_text(
        "from helper import VALUE\n"
        "print(VALUE, snakemake.params.n, file=open(snakemake.output[0], 'w'))\n"
    )
    (folder / "rules" / "more.smk").write_text("""
rule script:
    output: "script.txt"
    params: n=3
    script: "../scripts/make.py"
""")
    (folder / "Snakefile").write_text("""
include: "rules/more.smk"

rule all:
    input: "script.txt", "run.txt", "timed.txt", "sure.txt"
    default_target: True

rule run:
    output: "run.txt"
    run:
        with open(output[0], "w") as out:
            print(threads, file=out)

rule timed:
    output: "timed.txt"
    benchmark: "bench/timed.tsv"
    shell: "sleep 1; touch {output}"

rule sure:
    output: ensure("sure.txt", non_empty=True)
    shell: "echo yes > {output}"
""")
    assert workflow.run("--osgpilot-runtime-image", RUNTIME) == 0, workflow.said
    assert (workflow.folder / "script.txt").read_text() == "helped 3\n"
    assert (workflow.folder / "run.txt").read_text() == "1\n"
    header, row = (workflow.folder / "bench/timed.tsv").read_text().splitlines()
    assert header.split("\t")[:3] == ["s", "h:m:s", "max_rss"]
    assert float(row.split("\t")[0]) >= 1


def test_a_failing_python_rule_says_why(workflow: Workflow):
    workflow.snakefile("""
rule all:
    output: "out"
    log: "log.txt"
    run:
        open(log[0], "w").write("was here")
        raise ValueError("the moon is full")
""")
    assert workflow.run("--osgpilot-runtime-image", RUNTIME) == 1
    assert "the moon is full" in workflow.said
    assert (workflow.folder / "log.txt").read_text() == "was here"
    assert not (workflow.folder / "out").exists()


def test_the_former_choice_of_a_payload_is_refused_at_the_start(workflow: Workflow):
    workflow.snakefile('rule a:\n    output: "a"\n    shell: "touch a"\n')
    assert workflow.run("--default-resources", 'osgpilot_payload="snakemake"') == 1
    assert "there is no resource osgpilot_payload" in workflow.said
    shutil.rmtree(workflow.folder / ".snakemake" / "osgpilot")
