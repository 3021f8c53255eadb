"""Scripts, wrappers and notebooks run in images of their own, as the local executor runs them."""

import json
import subprocess
import sys
from pathlib import Path

from beside_local import notebook
from conftest import Workflow

IMAGE = "/opt/sif/job.sif"
"""Has Python 3 (but no `python`) and R, and no Snakemake."""

RUNTIME = "/opt/sif/runtime.sif"
"""Has papermill."""

SNAKEFILE = r"""
import pathlib
import sys
configfile: "config.yaml"
sys.path.insert(0, "workflow/lib")
localrules: all
rule all:
    input:
        "python.txt", "bash.txt", "r.txt", "sum.txt", "near.txt", "far.txt", "prefixed.txt",
        "fetched.txt", "remote.txt", "noted.txt", "twice/1.txt", "twice/2.txt", "plain.txt"

rule python:
    input: "in put.txt", named=["in put.txt", "config.yaml"]
    output: "python.txt"
    log: "logs/it's.log"
    params:
        text="it's $x\n\\", several={"a": [1, 2.5, None]}, path=pathlib.Path("a/b"),
        below=os.path.abspath("in put.txt"), shipped=workflow.source_path("scripts/helper.py")
    threads: 2
    resources: container_image=IMAGE, extra="more"
    script: "scripts/make.py"

rule without_an_image:
    output: "plain.txt"
    script: pathlib.Path("scripts", "one.py")

rule bash:
    output: "bash.txt"
    params: several=["a b", "c"]
    script: "scripts/make.sh"

rule r:
    input: "in put.txt"
    output: "r.txt"
    params: n=3, text="it's"
    container: IMAGE
    script: "scripts/make.R"

rule twice:
    output: "twice/{n}.txt"
    group: "twice"
    resources: container_image=IMAGE
    script: "scripts/one.py"

checkpoint names:
    input: "in put.txt"
    output: directory("names")
    resources: container_image=IMAGE
    shell: "mkdir names; touch names/b names/a"

rule part:
    output: "part/{n}"
    resources: container_image=IMAGE
    shell: "echo {wildcards.n} > {output}"

def parts(wildcards):
    return [f"part/{n}" for n in sorted(os.listdir(checkpoints.names.get().output[0]))]

rule sum:
    input: parts
    output: "sum.txt"
    resources: container_image=IMAGE
    script: "scripts/sum.py"

rule near:
    output: "near.txt"
    params: word="near"
    resources: container_image=IMAGE
    wrapper: f"file://{os.getcwd()}/wrappers/greet"

rule far:
    output: "far.txt"
    params: word="far"
    resources: container_image=IMAGE
    wrapper: f"file://{OUTSIDE}/greet"

rule prefixed:
    output: "prefixed.txt"
    params: word="prefixed"
    resources: container_image=IMAGE
    wrapper: "v1.2.3/bio/greet"

rule fetched:
    output: "fetched.txt"
    params: word="fetched"
    resources: container_image=IMAGE
    script: f"{WEB}/wrapper.py"

module of_the_web:
    snakefile: f"{WEB}/Snakefile"
use rule * from of_the_web
"""

REMOTE = """
rule remote:
    output: "remote.txt"
    params: word="remote"
    resources: container_image="/opt/sif/job.sif"
    script: "wrapper.py"

rule noted:
    input: workflow.source_path("note.txt")
    output: "noted.txt"
    params: note=workflow.source_path("note.txt")
    resources: container_image="/opt/sif/job.sif"
    shell: "cat {input} {params.note} > {output}"
"""

FILES = {
    "config.yaml": "greeting: hello\nsamples: tables/samples.tsv\n",
    "tables/samples.tsv": "a\tb\n",
    "in put.txt": "input\n",
    "workflow/lib/of_the_workflow.py": "NUMBER = 7\n",
    "workflow/scripts/helper.py": "WORD = 'helped'\n",
    "workflow/scripts/make.py": r"""
import os
import sys

import of_the_workflow
from helper import WORD
from snakemake.logging import logger
from snakemake.shell import shell

assert os.path.isdir(snakemake.resources.tmpdir) and os.environ["TMPDIR"]
assert os.path.samefile(os.path.dirname(__file__), snakemake.scriptdir)
assert [p for p in sys.path if "site-packages" in p or "dist-packages" in p][0]
with open(snakemake.output[0], "w") as out:
    print(WORD, of_the_workflow.NUMBER, snakemake.wildcards, snakemake.rule, file=out)
    print(repr(snakemake.params.text), snakemake.params["several"], snakemake.params.path, file=out)
    print(snakemake.input, snakemake.input.named[1], snakemake.threads, file=out)
    print(snakemake.config, snakemake.resources.extra, snakemake.bench_iteration, file=out)
    print(os.path.relpath(snakemake.scriptdir), os.path.relpath(__file__), file=out)
    print(os.path.basename(snakemake.params.below), open(snakemake.params.below).read(), file=out)
    print(os.path.samefile(snakemake.params.below, snakemake.input[0]), file=out)
    print(open(snakemake.params.shipped).read(), file=out)
    print(snakemake.log_fmt_shell(stdout=False), file=out)
shell("echo $OMP_NUM_THREADS {snakemake.input:q} >> {snakemake.output}")
shell("echo logged > {snakemake.log:q}")
""",
    "workflow/scripts/one.py": (
        "open(snakemake.output[0], 'w').write(f'{snakemake.rule} {snakemake.wildcards}')\n"
    ),
    "workflow/scripts/sum.py": (
        "open(snakemake.output[0], 'w').write(''.join(open(f).read() for f in snakemake.input))\n"
    ),
    "workflow/scripts/make.sh": (
        'echo "${snakemake_params[several]} ${snakemake_config[greeting]}" > '
        '"${snakemake_output[0]}"\n'
        'cat "${snakemake_config[samples]}" >> "${snakemake_output[0]}"\n'
    ),
    "workflow/scripts/helper.R": "helped <- 'helped'\n",
    "workflow/scripts/make.R": r"""
snakemake@source("helper.R")
writeLines(c(helped, readLines(snakemake@input[[1]]), snakemake@params[["text"]],
             snakemake@config[["greeting"]], as.character(snakemake@params[["n"]] + 1),
             basename(snakemake@scriptdir)), snakemake@output[[1]])
""",
}

WRAPPER = """\
from snakemake.shell import shell
from beside import MARK
shell("echo {snakemake.params.word} {MARK} > {snakemake.output[0]}")
"""


def prepare(folder: Path, outside: Path, web: str) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    given = f"IMAGE, OUTSIDE, WEB = {IMAGE!r}, {str(outside)!r}, {web!r}\nimport os\n"
    (folder / "workflow/Snakefile").write_text(given + SNAKEFILE)
    for place in (folder / "wrappers/greet", outside / "greet", outside / "v1.2.3/bio/greet"):
        place.mkdir(parents=True, exist_ok=True)
        (place / "wrapper.py").write_text(WRAPPER)
        (place / "environment.yaml").write_text("dependencies: [tools]\n")
        (place / "beside.py").write_text(f"MARK = {'!' * len(place.parent.name)!r}\n")


def made(folder: Path) -> dict[str, bytes]:
    names = [*folder.glob("*.txt"), *folder.glob("twice/*"), *folder.glob("logs/*")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in names}


def test_scripts_leave_what_a_local_run_leaves(workflow: Workflow, tmp_path_factory, web):
    (web.folder / "wrapper.py").write_text(WRAPPER.replace("from beside import MARK", "MARK = 1"))
    (web.folder / "Snakefile").write_text(REMOTE)
    (web.folder / "note.txt").write_text("of the web\n")
    outside = tmp_path_factory.mktemp("wrappers")
    options = ["--wrapper-prefix", f"file://{outside}/", "--sdm", "apptainer"]
    local = tmp_path_factory.mktemp("local")
    prepare(local, outside, web.url)
    argv = [sys.executable, "-m", "snakemake", "--cores", "2", *options]
    subprocess.run(argv, cwd=local, check=True)
    prepare(workflow.folder, outside, web.url)
    before = set((workflow.folder / ".snakemake/scripts").glob("*"))
    assert workflow.run(*options) == 0, workflow.said
    assert made(workflow.folder) == made(local)
    assert len(made(local)) == 15
    # nothing is written where scripts of this machine would be
    assert set((workflow.folder / ".snakemake/scripts").glob("*")) == before
    # sources from the web are fetched once, by this machine
    assert web.asked.count("GET /wrapper.py") == 2


def test_a_missing_interpreter_is_named_with_rule_and_image(workflow: Workflow):
    programs = {"xsh": "xonsh", "jl": "julia", "hy": "hy", "rs": "rust-script"}
    rules = [
        f"""
rule of_{suffix}:
    output: "{suffix}"
    resources: container_image="{IMAGE}"
    script: "a.{suffix}"
"""
        for suffix in programs
    ]
    workflow.snakefile(f"rule all:\n    input: {list(programs)}\n{''.join(rules)}")
    for suffix in programs:
        (workflow.folder / f"a.{suffix}").write_text("\n")
    assert workflow.run("--keep-going") == 1
    for suffix, program in programs.items():
        wanted = f"osgpilot: rule of_{suffix}: its image {IMAGE} has no {program};"
        assert wanted in workflow.said


NOTEBOOK = r"""
from helper import WORD
print(WORD, snakemake.params.n)
open(snakemake.output[0], "w").write(f"{WORD} {snakemake.params.n} {snakemake.rule}")
"""


def test_notebooks_run_and_come_back_executed(workflow: Workflow):
    source = notebook(NOTEBOOK)
    (workflow.folder / "notebooks").mkdir()
    (workflow.folder / "notebooks/helper.py").write_text("WORD = 'helped'\n")
    (workflow.folder / "notebooks/a.py.ipynb").write_text(json.dumps(source))
    workflow.snakefile(f"""
rule all:
    input: "kept.txt", "plain.txt"

rule kept:
    output: "kept.txt"
    log: notebook="logs/executed.ipynb"
    params: n=3
    resources: container_image="{RUNTIME}"
    notebook: "notebooks/a.py.ipynb"

rule plain:
    output: "plain.txt"
    params: n=4
    resources: container_image="{RUNTIME}"
    notebook: "notebooks/a.py.ipynb"
""")
    assert workflow.run() == 0, workflow.said
    assert (workflow.folder / "kept.txt").read_text() == "helped 3 kept"
    assert (workflow.folder / "plain.txt").read_text() == "helped 4 plain"
    executed = json.loads((workflow.folder / "logs/executed.ipynb").read_text())
    preamble, own = executed["cells"][-2:]
    assert preamble["metadata"]["tags"] == ["snakemake-job-properties"]
    assert own["outputs"][0]["text"] == ["helped 3\n"]


def test_commands_in_python_find_what_they_find_locally(workflow: Workflow, tmp_path_factory):
    """Without an image, as in a newcomer's workflow: nodes have no `python` and no packages."""
    local = tmp_path_factory.mktemp("local")
    for folder in (local, workflow.folder):
        (folder / "scripts").mkdir()
        (folder / "scripts/mean.py").write_text(
            "import sys, numpy\nprint(numpy.mean([float(line) for line in open(sys.argv[1])]))\n"
        )
        (folder / "scripts/sum").write_text(
            "#!/usr/bin/env python\nimport sys, numpy\n"
            "print(numpy.sum([float(line) for line in open(sys.argv[1])]))\n"
        )
        (folder / "scripts/sum").chmod(0o755)
        (folder / "Snakefile").write_text(r"""
rule all:
    input: "mean", "sum", "version"

rule numbers:
    output: "numbers"
    shell: "seq 4 > {output}"

rule mean:
    input: "numbers"
    output: "mean"
    shell: "python scripts/mean.py {input} > {output}"

rule sum:
    input: "numbers"
    output: "sum"
    shell: "{workflow.basedir}/scripts/sum {input} > {output}"

rule version:
    output: "version"
    shell: "set -u; snakemake --version > {output}"
""")
    here = [sys.executable, "-m", "snakemake", "--cores", "1"]
    subprocess.run(here, cwd=local, check=True)
    assert workflow.run() == 0, workflow.said
    for name in ("mean", "sum", "version"):
        assert (workflow.folder / name).read_text() == (local / name).read_text() != ""
