"""The same rules by the local executor and by this one: the same files, byte by byte."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from conftest import Workflow

RUNTIME = "/opt/sif/runtime.sif"

SNAKEFILE = r"""
configfile: "config/config.yaml"
shell.prefix("set -eu; export FROM_PREFIX=yes; ")
localrules: all, here
include: "rules/more.smk"
PARTS = sorted(glob_wildcards("in/parts/{part}.txt").part)
name = WHO = "the workflow"
module other:
    snakefile: "modules/other.smk"
    config: config["other"]
use rule * from other as other_*

rule all:
    default_target: True
    input:
        "l/rel", "d", "executed", "tree", "long", "newlines", "sure", "tries", "gathered",
        "shadowed", "sink", "prefix", "posix", "here", "timed", "wrapped", "wrapped_too",
        "script.txt", "tmpdir", "unlogged", "other", "temps", "loaded",
        "whose", "whose_other", "places", "parts", "registry", "served", "disk/out", "disk/folder",
        "report/summary.txt", "report"

rule links:
    output: "l/target", "l/rel", "l/abs", "l/in", link_to_folder=directory("l/folder")
    input: "in/file"
    shell:
        "echo x > {output[0]}; ln -s target {output[1]}; ln -s $PWD/l/target {output[2]}; "
        "ln -s ../in/file {output[3]}; ln -s ../in l/folder"

rule folder:
    output: directory("d")
    shell:
        "mkdir -p d/a/b/c d/empty; touch d/zero; echo 1 > d/a/b/c/deep; chmod +x d/a/b/c/deep; "
        "ln -s ../zero d/a/up; ln -s a d/to_folder; ln -s nowhere d/dangling"

rule nested:
    output: "report/summary.txt", directory("report")
    log: "report/logs/run.log"
    shell: "mkdir -p report/m report/logs; touch report/m/m; echo s > {output[0]}; touch {log}"

rule executed:
    input: "in/tool.sh"
    output: "executed"
    shell: "./{input} > {output}"

rule tree:
    input: "in"
    output: "tree"
    shell:
        "cd in; find . -printf '%P %y %l\n' | LC_ALL=C sort > ../tree; "
        "cat sub/to_file >> ../tree"

rule long:
    output: "long"
    params: text="x" * 200_000
    shell: "echo {params.text} | wc -c > {output}"

rule newlines:
    output: "newlines"
    params: text="a\n\n b\n", several=["c d", "e\nf"]
    shell: "printf '[%s]' {params.text:q} {params.several:q} > {output}"

rule sure:
    output:
        ensure(
            "sure",
            sha256="98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4",
        )
    shell: "echo hi there > {output}; printf 'hi\n' > {output}"

rule tries:
    # not while a checkpoint ends: Snakemake may then forget what is to be tried again (issue 823)
    input: "gathered"
    output: "tries"
    retries: 2
    threads: lambda wildcards, attempt: attempt
    resources: tries=lambda wildcards, attempt: attempt
    shell: "echo {resources.tries} {threads} > {output}; [ {resources.tries} -ge 2 ]"

checkpoint scatter:
    output: directory("scattered")
    shell: "mkdir -p {output}; for n in 1 2; do echo $n > {output}/$n.txt; done"

rule each:
    input: "scattered/{n}.txt"
    output: "each/{n}.txt"
    shell: "sed s/^/n/ {input} > {output}"

def parts(wildcards):
    folder = checkpoints.scatter.get().output[0]
    return expand("each/{n}.txt", n=sorted(glob_wildcards(folder + "/{n}.txt").n))

rule gathered:
    input: parts
    output: "gathered"
    shell: "cat {input} > {output}"

rule shadowed:
    input: "in/file"
    output: "shadowed"
    shadow: "minimal"
    shell: "touch litter; cp {input} {output}"

rule source:
    output: pipe("stream")
    group: "piped"
    shell: "seq 1000 > {output}"

rule sink:
    input: "stream"
    output: "sink"
    group: "piped"
    shell: "md5sum < {input} > {output}"

rule prefix:
    output: "prefix"
    shell: "echo $FROM_PREFIX ${{-//[^eux]/}} > {output}"

rule posix:
    output: "posix"
    resources: shell_exec="sh"
    shell: "echo ${{BASH_VERSION:-none}} > {output}"

rule here:
    output: "here"
    shell: "echo here > {output}"

rule timed:
    output: "timed"
    benchmark: "bench.tsv"
    shell: "touch {output}"

rule wrapped:
    output: "wrapped"
    params: word="hi"
    wrapper: "greet"

rule wrapped_too:
    output: "wrapped_too"
    params: word="ho"
    wrapper: "file:wrappers/greet"

rule tmpdir:
    output: "tmpdir"
    shell:
        "cd {resources.tmpdir}; touch mine; cd - > /dev/null; "
        "[ $TMPDIR = {resources.tmpdir} ]; [ $TMP$TEMP = $TEMPDIR$TEMPDIR ]; echo ok > {output}"

rule unlogged:
    output: "unlogged"
    log: "logs/never_written.log"
    shell: "touch {output}"

rule temporary:
    output: temp("passing")
    shell: "echo passing > {output}"

rule temps:
    input: "passing"
    output: "temps"
    shell: "cp {input} {output}"

rule whose:
    output: "whose"
    shell: "echo {name}, {WHO}, {config[greeting]} > {output}"

rule places:
    input: "in/file"
    output: "places"
    params: script=workflow.source_path("scripts/other.sh")
    shell: "cat {params.script} {workflow.basedir}/rules/more.smk > {output}"

rule parts:
    output: "parts"
    params: number=len(PARTS)
    run:
        with open(output[0], "w") as made:
            print(PARTS, params.number, file=made)

rule registry:
    input: "in/file"
    output: update("registry")
    shell: "cat {input} >> {output}"

rule serving:
    output: service("served_by")
    shell: "echo service > {output}; while :; do sleep 0.2; done"

rule served:
    input: "served_by"
    output: "served"
    shell: "until [ -s {input} ]; do sleep 0.1; done; cp {input} {output}"

rule on_another_disk:
    output: "disk/out", directory("disk/folder")
    log: "disk/log"
    shell: "echo out > {output[0]}; mkdir {output[1]}; echo in > {output[1]}/in; echo log > {log}"

rule loaded:
    output: "loaded"
    envmodules: "tools/1.0"
    conda: "envs/tools.yaml"
    shell: "echo loaded > {output}"
"""

MORE = r"""
rule script:
    input: "in/file", named="in/tool.sh"
    output: "script.txt"
    log: "logs/script.log"
    params: text="it's $x\n'", several=["a b", "c"]
    threads: 2
    resources: extra="more"
    script: "../scripts/report.sh"
"""

OTHER = r"""
WHO = "the module"

rule made:
    output: "other"
    script: "../scripts/other.sh"

rule whose_too:
    output: "whose_other"
    shell: "echo {WHO}, {config[greeting]} > {output}"
"""

REPORT = r"""#!/usr/bin/env bash
{
    cat "${snakemake_input[0]}" "${snakemake_input[named]}"
    printf '<%s>' "${snakemake_params[text]}" "${snakemake_params[several]}" "$FROM_PREFIX" "$-"
    printf '<%s>' "${snakemake[threads]}" "${snakemake_resources[extra]}" "${snakemake[rule]}"
    printf '<%s>' "${snakemake_config[greeting]}" "$OMP_NUM_THREADS"
    [ -d "${snakemake_resources[tmpdir]}" ]; echo "tmpdir $?"
    [ -e "${snakemake[scriptdir]}/report.sh" ]; echo "scriptdir $?"
    false; echo "goes on after $?"
} > "${snakemake_output[0]}"
echo done > "${snakemake_log[0]}"
"""


def prepare(folder: Path, disk: str) -> None:
    files = {
        "workflow/Snakefile": SNAKEFILE,
        "workflow/rules/more.smk": MORE,
        "workflow/modules/other.smk": OTHER,
        "workflow/scripts/report.sh": REPORT,
        "workflow/scripts/other.sh": (
            'echo "${snakemake_config[greeting]}" > "${snakemake_output[0]}"\n'
        ),
        "workflow/envs/tools.yaml": "dependencies: [tools]\n",
        "wrappers/greet/wrapper.py": (
            "from snakemake.shell import shell\n"
            "shell('echo {snakemake.params.word} > {snakemake.output}')\n"
        ),
        "wrappers/greet/environment.yaml": "dependencies: [tools]\n",
        "config/config.yaml": "greeting: hello\nother: {greeting: hi}\n",
        "registry": "from before\n",
        "in/parts/one.txt": "1\n",
        "in/parts/two.txt": "2\n",
        "in/file": "content\n",
        "in/tool.sh": "#!/bin/bash\necho run\n",
        "in/sub/deep": "deep\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "in/tool.sh").chmod(0o755)
    os.utime(folder / "registry", (1, 1))
    (folder / "disk").symlink_to(tempfile.mkdtemp(dir=disk))
    (folder / "in/hollow").mkdir()
    for link, to in {"to_file": "../file", "to_folder": "..", "dangling": "nowhere"}.items():
        (folder / "in/sub" / link).symlink_to(to)


def found(folder: Path) -> dict[str, object]:
    """All that a run left behind: kind, executable bit and content, link targets as they are."""
    content: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith((".snakemake", "said", "site.yaml", "bench.tsv", "disk")):
            continue
        if path.is_symlink():
            content[name] = ("link", str(path.readlink()).replace(str(folder), "WORKDIR"))
        elif path.is_dir():
            content[name] = "folder"
        else:
            content[name] = (bool(path.stat().st_mode & 0o100), path.read_bytes())
    disk = (folder / "disk").resolve()
    content |= {str(p.relative_to(disk)): p.is_file() and p.read_text() for p in disk.rglob("*")}
    content["bench.tsv"] = (folder / "bench.tsv").read_text().splitlines()[0]
    return content


def wrappers(folder: Path) -> list[str]:
    return ["--wrapper-prefix", f"file://{folder}/wrappers/"]


@pytest.fixture(scope="module")
def disk():
    """A folder on another disk than the working folders."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield folder


@pytest.fixture(scope="module")
def expected(tmp_path_factory, disk):
    folder = tmp_path_factory.mktemp("local")
    prepare(folder, disk)
    argv = [sys.executable, "-m", "snakemake", "--cores", "2", *wrappers(folder)]
    subprocess.run(argv, cwd=folder, check=True)
    return found(folder)


def test_a_run_leaves_what_a_local_run_leaves(workflow: Workflow, expected, disk):
    prepare(workflow.folder, disk)
    options = ["--osgpilot-runtime-image", RUNTIME]
    assert workflow.run(*options, *wrappers(workflow.folder)) == 0, workflow.said
    assert found(workflow.folder) == expected


def test_what_snakemake_would_not_take_costs_that_job_only(workflow: Workflow, shared: Path):
    """Some of it would make Snakemake end the whole workflow: it checks outputs again."""
    workflow.snakefile(f"""
rule all:
    input: "fine", "empty", "dangling", "folder", "file", "never", "{shared}/unseen", "updated"

rule fine:
    output: "fine"
    shell: "sleep 1; echo fine > {{output}}"

rule empty:
    output: ensure("empty", non_empty=True)
    shell: "touch {{output}}"

rule dangling:
    output: "dangling"
    shell: "echo left > behind; ln -s behind {{output}}"

rule folder:
    output: "folder"
    shell: "mkdir {{output}}"

rule file:
    output: directory("file")
    shell: "touch {{output}}"

rule never:
    output: "never"
    shell: "true"

rule unseen:
    output: "{shared}/unseen"
    shell: "true"

rule updated:
    input: "site.yaml"
    output: update("updated")
    shell: "echo new >> {{output}}; false"
""")
    (workflow.folder / "updated").write_text("from before")
    os.utime(workflow.folder / "updated", (1, 1))
    options = ["--osgpilot-runtime-image", RUNTIME, "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run(*options, "--keep-going", "--latency-wait", "2") == 1
    assert (workflow.folder / "fine").read_text() == "fine\n"
    assert (workflow.folder / "updated").read_text() == "from before"
    assert "unexpected empty output files" in workflow.said
    assert "dangling is a link to behind, which is not there" in workflow.said
    assert "folder is a folder; declare it as directory('folder')" in workflow.said
    assert "file is declared as directory() and is none" in workflow.said
    assert "the command succeeded but did not make never" in workflow.said
    assert f"{shared}/unseen cannot be seen here after 2 s" in workflow.said
    made = {path.name for path in workflow.folder.iterdir()}
    assert not made & {"empty", "dangling", "folder", "file", "never"}
