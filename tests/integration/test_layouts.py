"""Working folders with any name, files at any path, and workflows in the usual layouts."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import PATIENCE_S, Workflow, sweep, until
from test_remote import REMOTE
from test_resume import COUNTED, executions, options

ODD = "my project (v1, it's ä)"
ODDER = 'a "quoted" $(HOME) [x] \\ %j #1 & ; $$(y)'


STATE = Path("~/.local/state/osgpilot/runs").expanduser()


def links(folder: Path) -> list[Path]:
    """Return the links by which HTCondor finds runs in a working folder."""
    return [link for link in STATE.iterdir() if link.readlink().is_relative_to(folder)]


@pytest.fixture
def layout(tmp_path: Path) -> Iterator[Workflow]:
    """Return a workflow in an empty folder with an odd name, beside which files may be put."""
    folder = tmp_path / ODD
    folder.mkdir()
    made = Workflow(folder)
    yield made
    made.stop()
    sweep()


@pytest.mark.parametrize("name", [ODD, ODDER])
def test_a_working_folder_may_have_any_name(tmp_path, name):
    """Also with an image below it, and inputs and outputs of odd names too large to be packed."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "images").mkdir()
    (folder / "images" / "the job's.sif").symlink_to("/opt/sif/job.sif")
    (folder / "large, (1).txt").write_text("x" * 100_000)
    workflow = Workflow(folder)
    workflow.snakefile(
        """
rule all:
    input: "plain.txt", "in image.txt"
rule plain:
    input: "large, (1).txt"
    output: "plain.txt"
    shell: "wc -c < {input:q} > {output}"
rule image:
    input: "plain.txt"
    output: "in image.txt"
    resources: container_image="images/the job's.sif"
    shell: "cat {input} /.singularity.d/runscript > {output:q}"
"""
    )
    try:
        assert workflow.run() == 0, workflow.said
    finally:
        workflow.stop()
    assert (folder / "plain.txt").read_text().strip() == "100000"
    assert (folder / "in image.txt").read_text().startswith("100000\n#!/bin/sh")
    assert not links(folder)
    assert STATE.stat().st_mode & 0o77 == 0


SNAKEFILE = r"""
import os
configfile: "config/config.yaml"
include: "rules/more.smk"
HERE = os.getcwd()

rule all:
    input:
        "results/aligned.txt", f"{HERE}/results/absolute.txt", "results/helped.txt",
        config["archive"] + "/final.txt", "../shared out/summary.txt", "results/summed.txt",
        "results/own.txt", "results/module/there.txt", "results/folder/listed.txt",
        "results/source.txt", "results/named.txt",

rule align:
    input: ref="../reference/genome.fa", index=config["genome"] + ".idx", reads="reads/a.txt"
    output: "results/aligned.txt"
    params: prefix=config["genome"]
    shell:
        "cat {input.ref:q} {input.reads} {params.prefix:q}.idx > {output}; "
        "echo {input} {params.prefix} >> {output}; pwd >> {output}; "
        "cat '../reference/genome.fa' >> {output}"

rule absolute:
    input: f"{HERE}/reads/a.txt"
    output: f"{HERE}/results/absolute.txt"
    log: f"{HERE}/logs/absolute.log"
    shell: "cat {input:q} > {output:q}; echo {output:q} >> {output:q}; echo note > {log:q}"

rule helped:
    input: "reads/a.txt"
    output: "results/helped.txt"
    shell:
        "bash {workflow.basedir:q}/scripts/helper.sh {input} > {output}; "
        "bash {config[helper]:q} {input} >> {output}"

rule named:
    output: "results/named.txt"
    params: tool=os.path.join(os.path.dirname(workflow.basedir), "tools", "count.sh")
    shell: "bash {params.tool:q} {config[adapters]:q} > {output}"

rule archive:
    input: "results/aligned.txt"
    output: config["archive"] + "/final.txt", "../shared out/summary.txt"
    shell: "cp {input} {output[0]:q}; wc -l < {input} > {output[1]:q}"

rule folder:
    input: config["archive"] + "/final.txt"
    output: directory("../shared out/parts"), "results/folder/listed.txt"
    shell:
        "mkdir {output[0]:q}; for i in 1 2; do echo $i > {output[0]:q}/$i; done; "
        "ls {output[0]:q} > {output[1]}"

checkpoint names:
    input: "../shared out/summary.txt"
    output: "results/names.txt"
    shell: "printf 'x\ny\n' > {output}"

rule part:
    input: "../reference/genome.fa"
    output: "results/parts/{n}.txt"
    shell: "cat {input:q} > {output}; echo {wildcards.n} >> {output}"

def parts(wildcards):
    with open(checkpoints.names.get().output[0]) as names:
        return [f"results/parts/{n}.txt" for n in names.read().split()]

rule sum:
    input: parts
    output: "results/summed.txt"
    shell: "cat {input} > {output}"

module other:
    snakefile: "modules/other.smk"
    config: config
    prefix: "results/module"
use rule * from other as other_*
"""

MORE = r"""
rule own:
    output: "results/own.txt"
    params: tool=workflow.source_path("../scripts/tool.sh")
    shell: "bash {params.tool:q} > {output}"

rule source:
    input:
        workflow.source_path("../resources/note.txt"),
        workflow.source_path("../../config/note.txt")
    output: "results/source.txt"
    script: "../scripts/join.sh"
"""

OTHER = r"""
rule there:
    output: "there.txt"
    params: tool=workflow.source_path("../scripts/tool.sh")
    shell: "bash {params.tool:q} > {output}"
"""


def pipeline(top: Path) -> tuple[Path, Path]:
    """Make a pipeline of the standard layout, and beside it an analysis and what this needs."""
    flow, analysis, data = top / "pipeline v1" / "workflow", top / ODD, top / "data"
    files = {
        flow / "Snakefile": SNAKEFILE,
        flow / "rules" / "more.smk": MORE,
        flow / "modules" / "other.smk": OTHER,
        flow / "scripts" / "helper.sh": '. "$(dirname "$0")/lib/common.sh"; upper "$1"\n',
        flow / "scripts" / "lib" / "common.sh": 'upper() { tr a-z A-Z < "$1"; }\n',
        flow / "scripts" / "tool.sh": "echo tool\n",
        flow / "scripts" / "join.sh": 'cat "${snakemake_input[@]}" > "${snakemake_output[0]}"\n',
        flow / "resources" / "note.txt": "note\n",
        top / "pipeline v1" / "config" / "note.txt": "note of the configuration\n",
        top / "pipeline v1" / "tools" / "count.sh": '. "$(dirname "$0")/lines.sh"; lines "$1"\n',
        top / "pipeline v1" / "tools" / "lines.sh": 'lines() { wc -l < "$1"; cat "$1"; }\n',
        data / "adapters.fa": ">adapter\nACGT\n",
        top / "reference" / "genome.fa": ">chr1\nACGT\n",
        data / "genomes" / "hg38.idx": "index\n" * 20_000,
        analysis / "reads" / "a.txt": "reads\n",
        analysis / "tools" / "local.sh": 'sed s/^/local:/ "$1"\n',
        analysis / "config" / "config.yaml": (
            f"genome: {data}/genomes/hg38\narchive: {top}/archive\nhelper: tools/local.sh\n"
            f"adapters: {data}/adapters.fa\n"
        ),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return flow / "Snakefile", analysis


def made(top: Path) -> dict[str, bytes]:
    """Return what a run of `pipeline` made, by path."""
    found = [*top.glob("*/results/**/*"), *top.glob("archive/*"), *top.glob("shared out/**/*")]
    found += top.glob("*/logs/*")
    paths = (path for path in found if path.is_file() and path.name != ".snakemake_timestamp")
    return {str(path.relative_to(top)): path.read_bytes() for path in paths}


@pytest.fixture(params=["in an image", "without an image"])
def analyses(tmp_path: Path, request) -> Iterator[tuple[Workflow, Path]]:
    snakefile, folder = pipeline(tmp_path)
    workflow = Workflow(folder)
    yield workflow, snakefile, request.param == "in an image"
    workflow.stop()


def test_a_pipeline_elsewhere_runs_as_it_does_locally(analyses, tmp_path):
    workflow, snakefile, has_image = analyses
    where = ["--snakefile", str(snakefile), "--directory", str(workflow.folder)]
    subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *where], cwd=tmp_path, check=True
    )
    expected = made(tmp_path)
    assert len(expected) == 17
    for name in expected:
        (tmp_path / name).unlink()
    shutil.rmtree(tmp_path / "shared out")
    shutil.rmtree(workflow.folder / ".snakemake")
    image = "container_image='/opt/sif/job.sif'"
    done = workflow.run(
        *where, *(["--default-resources", "mem_mb=500", "disk_mb=100", image] if has_image else [])
    )
    assert done == 0, workflow.said
    found = made(tmp_path)
    if not has_image:
        # its own name for the folder that stands for /
        found = {
            name: re.sub(rb"/\S+/osgpilot-root(?=/)", b"", data) for name, data in found.items()
        }
    assert found == expected


HOSTILE = r"""
rule all:
    input: "../given/declared.txt", "../given/linked.txt", "../given/folder", "led.txt", "read.txt"

rule strays:
    output: "../given/declared.txt"
    shell:
        "out=$(dirname $(readlink -f osgpilot-root))/osgpilot-out; "
        "for at in 'HERE/stray' 'HERE/work/.env' 'HERE/given/undeclared'; do "
        "at=${{at#*osgpilot-root}}; mkdir -p $out/osgpilot-root/$(dirname $at); "
        "echo bad > $out/osgpilot-root/$at; "
        "echo bad > osgpilot-root/$at; echo bad > ../given/undeclared; "
        r"printf '4\0osgpilot-root%s\0' $at >> $out/.osgpilot-manifest; done; echo ok > {output}"

rule links:
    output: "../given/linked.txt"
    shell: "rm -f {output}; ln -s ../secrets/key {output}"

rule folder:
    output: directory("../given/folder")
    shell: "rm -rf {output}; ln -s /etc {output}"

checkpoint names:
    output: "names.txt"
    shell: "echo ../../stray > {output}; echo ../secrets/key >> {output}"

rule led:
    output: "parts/{n}"
    shell: "echo bad > {output}"

def named(number):
    with open(checkpoints.names.get().output[0]) as names:
        return names.read().split()[number]

rule use:
    input: lambda wildcards: "parts/" + named(0)
    output: "led.txt"
    shell: "cat {input} > {output}"

rule read:
    input: lambda wildcards: named(1)
    output: "read.txt"
    shell: "cat {input} > {output}"
"""


def test_what_jobs_return_changes_nothing_outside_but_what_was_declared(tmp_path: Path):
    """Jobs write around their outputs, put links in their places, and name files of the user."""
    folder = tmp_path / "work"
    secret = tmp_path / "secrets" / "key"
    for path in (folder, secret.parent):
        path.mkdir()
    secret.write_text("secret\n")
    workflow = Workflow(folder)
    workflow.snakefile(HOSTILE.replace("HERE", str(tmp_path)))
    try:
        assert workflow.run("--keep-going") == 1
    finally:
        workflow.stop()
    outside = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    mine = {path for path in outside if not path.startswith("work/")}
    assert mine == {"work", "secrets", "secrets/key", "given", "given/declared.txt"}, workflow.said
    assert not (folder / ".env").exists()
    assert secret.read_text() == "secret\n"
    assert "secret\n" not in (path.read_text() for path in folder.glob("*.txt"))
    failed = [line for line in workflow.said.splitlines() if "FAILED rule" in line]
    assert sum("no link of a job may lead there" in line for line in failed) == 2
    later = "../secrets/key lies outside the working folder, and the workflow named its folder only"
    assert later in workflow.said
    assert (
        "parts/../../stray lies outside the working folder, and a wildcard leads" in workflow.said
    )


def test_rules_that_need_python_find_the_workflow_elsewhere(layout: Workflow, tmp_path: Path):
    flow = tmp_path / "flow" / "workflow"
    texts = {
        flow / "Snakefile": f"""
configfile: "config/config.yaml"
rule all:
    input: "out/ran.txt", "out/scripted.txt"
rule ran:
    input: "../ref/g.fa", config["absolute"]
    output: "out/ran.txt"
    run:
        from lib import own
        with open(output[0], "w") as out:
            out.write(own.joined(open(name).read() for name in input))
rule scripted:
    input: "{tmp_path}/abs/x.txt"
    output: "out/scripted.txt"
    script: "scripts/x.py"
import sys
sys.path.insert(0, workflow.basedir)
""",
        flow / "lib" / "own.py": "def joined(texts): return ''.join(texts)\n",
        flow / "scripts" / "x.py": (
            "import helper\nopen(snakemake.output[0], 'w').write(helper.read(snakemake.input[0]))\n"
        ),
        flow / "scripts" / "helper.py": "def read(name): return open(name).read()\n",
        tmp_path / "ref" / "g.fa": "genome\n",
        tmp_path / "abs" / "x.txt": "absolute\n",
        layout.folder / "config" / "config.yaml": f"absolute: {tmp_path}/abs/x.txt\n",
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    runtime = ["--osgpilot-runtime-image", "/opt/sif/runtime.sif"]
    assert layout.run("--snakefile", str(flow / "Snakefile"), *runtime) == 0, layout.said
    assert (layout.folder / "out" / "ran.txt").read_text() == "genome\nabsolute\n"
    assert (layout.folder / "out" / "scripted.txt").read_text() == "absolute\n"


def test_what_an_image_has_stays_and_the_input_of_that_name_is_used(layout: Workflow):
    layout.snakefile(
        """
rule all:
    input: "mine.txt", "missing.txt"
rule mine:
    input: "/etc/passwd"
    output: "mine.txt", "images.txt"
    resources: container_image="/opt/sif/job.sif"
    shell: "cat {input} > {output[0]}; cat /etc/''passwd > {output[1]}; test ! -L /etc/''passwd"
rule missing:
    output: "missing.txt"
    resources: container_image="/opt/sif/job.sif"
    shell: "cat /opt/sif/job.sif > {output}"
"""
    )
    assert layout.run("--keep-going") == 1
    assert (layout.folder / "mine.txt").read_bytes() == Path("/etc/passwd").read_bytes()
    assert (layout.folder / "images.txt").read_bytes() != Path("/etc/passwd").read_bytes()
    assert "osgpilot: /opt/sif/job.sif, which the command names, is not here" in layout.said


def test_an_access_point_on_another_host_serves_any_layout(layout: Workflow, tmp_path: Path):
    layout.write_site(REMOTE)
    (tmp_path / "the ref, (1)").mkdir()
    (tmp_path / "the ref, (1)" / "g.fa").write_text("genome\n" * 20_000)
    layout.snakefile(
        """
rule all:
    input: "../shared, out/sum.txt"
rule sum:
    input: "../the ref, (1)/g.fa"
    output: "../shared, out/sum.txt"
    shell: "wc -l < {input:q} > {output:q}"
"""
    )
    assert layout.run() == 0, layout.said
    assert (tmp_path / "shared, out" / "sum.txt").read_text().strip() == "20000"


def test_every_command_finds_a_run_in_a_folder_of_any_name(layout: Workflow, shared: Path):
    """Snakemake is killed, looked at, started again, killed again and cleaned up after."""
    layout.snakefile(COUNTED.format(place=shared, jobs=3))

    def say(*argv: str) -> str:
        done = subprocess.run(
            ["osgpilot", *argv],
            cwd=layout.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert not done.stderr
        return done.stdout

    def kill() -> None:
        process.kill()
        process.wait()

    process = layout.start(*options(shared))
    until(lambda: len(executions(shared)) == 3, "all jobs to begin")
    kill()
    assert "one" in say("status")
    assert "osgpilot-report.html" in say("report")
    assert say("explain")
    process = layout.start(*options(shared))
    until(lambda: "resuming run" in layout.said, "the run to go on")
    (shared / "go").touch()
    assert process.wait(PATIENCE_S) == 0, layout.said
    assert len(executions(shared)) == 3
    assert not links(layout.folder)
    (shared / "go").unlink()
    process = layout.start(*options(shared), "--forceall")
    until(lambda: len(executions(shared)) == 6, "all jobs to begin again")
    kill()
    assert len(links(layout.folder)) == 1
    assert "jobs are out of the queue" in say("cleanup", "--yes", "--dir", ".")
    assert not links(layout.folder)


def test_a_file_that_a_command_names_travels_once_it_is_there(workflow: Workflow):
    """Jobs of the same rule before and after another job made it; no rule declares it as input."""
    workflow.snakefile("""
rule all:
    input: "2.seen"

rule look:
    input: lambda wildcards: ["done"] if wildcards.n == "2" else []
    output: "{n}.seen"
    shell: "cat late.txt > {output} || echo none > {output}"

rule make:
    input: "1.seen"
    output: "done", "late.txt"
    shell: "touch {output[0]}; echo late > {output[1]}"
""")
    assert workflow.run() == 0, workflow.said
    seen = [(workflow.folder / f"{n}.seen").read_text() for n in (1, 2)]
    assert seen == ["none\n", "late\n"]
