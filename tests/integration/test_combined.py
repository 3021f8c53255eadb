"""Directives, kinds of rules and groups together, compared with the local executor."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow

IMAGE = "/opt/sif/job.sif"
"""Has Python 3 and no Snakemake."""

WORKFLOW = f"""
from pathlib import Path
from snakemake.utils import format as filled

WORD = "it's"
localrules: all
rule all:
    input: "joined", "twice", "body", "wrapped", "sum", "versions"

rule by_script:
    output: temp("script_{{n}}")
    params: word=WORD
    group: "g"
    script: "scripts/write.py"

rule by_body:
    input: "script_{{n}}"
    output: temp("body_{{n}}"), kept="kept_{{n}}"
    benchmark: "bench/body_{{n}}.tsv"
    shadow: "minimal"
    group: "g"
    run:
        Path("litter").touch()
        text = Path(input[0]).read_text()
        Path(output[0]).write_text(text + filled("{{WORD}} {{wildcards.n}} {{rule}}\\n"))
        shell("wc -l < {{input}} > {{output.kept}}")

rule by_command:
    input: expand("body_{{n}}", n=range(3)), "kept_1"
    output: "joined"
    group: "g"
    shell: "cat {{input}} > {{output}}"

rule twice:
    output: "twice"
    benchmark: repeat("bench/twice.tsv", 2)
    script: "scripts/twice.py"

rule body:
    output: "body"
    benchmark: "bench/body.tsv"
    shadow: "minimal"
    run:
        Path("litter").touch()
        held = bytearray(100_000_000)
        Path(output[0]).write_text(str(len(held)))

rule wrapped:
    output: ensure("wrapped", non_empty=True)
    params: word=WORD
    wrapper: "file:wrappers/greet"

checkpoint names:
    output: directory("names")
    shell: "mkdir {{output}}; touch {{output}}/a {{output}}/b"

rule part:
    output: "part/{{n}}"
    shell: "echo {{wildcards.n}} > {{output}}"

def parts(wildcards):
    return [f"part/{{p.name}}" for p in sorted(Path(checkpoints.names.get().output[0]).iterdir())]

rule sum:
    input: parts
    output: "sum"
    container: "{IMAGE}"
    script: "scripts/sum.py"

rule versions:
    output: "versions"
    script: "scripts/versions.py"
"""

FILES = {
    "scripts/write.py": """
with open(snakemake.output[0], "w") as out:
    print(snakemake.rule, snakemake.wildcards.n, snakemake.params.word, file=out)
""",
    "scripts/twice.py": """
with open(snakemake.output[0], "a") as out:
    print("iteration", snakemake.bench_iteration, file=out)
""",
    "scripts/sum.py": """
with open(snakemake.output[0], "w") as out:
    out.write("".join(open(path).read() for path in snakemake.input))
""",
    "scripts/versions.py": """
import sys
from importlib.metadata import version
import psutil
with open(snakemake.output[0], "w") as out:
    print(sys.version_info[:3], version("snakemake"), version("yte"), psutil.__version__, file=out)
""",
    "wrappers/greet/environment.yaml": "dependencies: [tools]\n",
    "wrappers/greet/wrapper.py": """
from snakemake.shell import shell
shell("echo {snakemake.params.word:q} {snakemake.threads} > {snakemake.output[0]}")
""",
}


def prepare(folder: Path, text: str) -> None:
    for name, content in {"Snakefile": text, **FILES}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def made(folder: Path) -> dict[str, bytes]:
    """Return what a run left behind, apart from its own files and what differs by nature."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = ((str(path.relative_to(folder)), path) for path in paths)
    own = (".snakemake", "said", "site.yaml", "bench/")
    return {name: path.read_bytes() for name, path in named if not name.startswith(own)}


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))


def test_kinds_and_directives_combine_as_locally(workflow: Workflow, tmp_path_factory):
    """No rule but one names an image, so that all Python runs in the packed environment."""
    local = tmp_path_factory.mktemp("local")
    for folder in (local, workflow.folder):
        prepare(folder, WORKFLOW)
    # there is no `python` in the image, by which name Snakemake calls it
    argv = [sys.executable, "-m", "snakemake", "--cores", "2"]
    done = subprocess.run(argv, cwd=local, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert workflow.run("--sdm", "apptainer") == 0, workflow.said
    assert made(workflow.folder) == made(local)
    assert {"joined", "kept_2", "twice", "wrapped", "sum", "versions"} <= made(local).keys()
    for name, rows in (("twice", 2), ("body", 1), ("body_1", 1)):
        here, there = (table(folder / f"bench/{name}.tsv") for folder in (local, workflow.folder))
        assert [list(row) for row in there] == [list(row) for row in here]
        assert len(there) == rows
        assert all(float(row["max_rss"]) > 0 for row in there)


def test_a_wrapper_whose_output_is_not_as_ensured_fails(workflow: Workflow):
    prepare(workflow.folder, WORKFLOW)
    (workflow.folder / "wrappers/greet/wrapper.py").write_text(
        "open(snakemake.output[0], 'w').close()\n"
    )
    assert workflow.run("--nocolor", "wrapped") == 1
    assert "Detected unexpected empty output files" in workflow.said
    assert not (workflow.folder / "wrapped").exists()


def test_an_environment_in_a_shared_folder_is_read_in_place(
    workflow: Workflow, shared: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OSGPILOT_CACHE", str(shared / "cache"))
    prepare(workflow.folder, WORKFLOW)
    options = ("--osgpilot-shared-prefixes", str(shared))
    assert workflow.run(*options, "--nocolor", "body", "versions") == 0, workflow.said
    assert f"image {shared}/cache/environments/python-" in workflow.said
    assert "is read where it is" in workflow.said
    ads = workflow.past_jobs()
    assert len(ads) == 2
    assert max(ad["BytesRecvd"] for ad in ads) < 2_000_000


def test_without_apptainer_a_script_runs_with_the_python_of_the_node(
    workflow: Workflow, tmp_path_factory, monkeypatch: pytest.MonkeyPatch
):
    programs, cache = tmp_path_factory.mktemp("bin"), tmp_path_factory.mktemp("cache")
    here = {path.name: path for path in (*Path("/usr/sbin").iterdir(), *Path("/usr/bin").iterdir())}
    for name in here.keys() - {"apptainer", "singularity"}:
        (programs / name).symlink_to(here[name])
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{programs}")
    monkeypatch.setenv("OSGPILOT_CACHE", str(cache))
    prepare(workflow.folder, WORKFLOW)
    assert workflow.run("--nocolor", "twice", "wrapped") == 0, workflow.said
    assert workflow.said.count("run with the Python of the nodes") == 1
    assert (workflow.folder / "twice").read_text() == "iteration 0\niteration 1\n"
    assert (workflow.folder / "wrapped").read_text() == "it's 1\n"
    assert workflow.run("--nocolor", "body") == 1
    assert "which is not on this machine" in workflow.said
