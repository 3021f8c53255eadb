"""Snakemake's cache between workflows (`--cache`): results are taken from it and put into it."""

import json
from pathlib import Path

import pytest
from beside_local import IN_IMAGE, prepare, run_locally
from conftest import Workflow

CACHED = """
rule all:
    input: "made.txt"

rule index:
    input: "genome.txt"
    output: directory("index")
    cache: True
    shell:
        "mkdir -p {output}/deep; sort {input} > {output}/deep/sorted; cat {input} > {output}/whole"

rule pair:
    input: "index"
    output: multiext("pair", ".a", ".b")
    params: word="it's"
    cache: True
    shell: "cat {input}/deep/sorted > {output[0]}; echo {params.word:q} > {output[1]}"

rule made:
    input: "pair.a", "pair.b", "index"
    output: "made.txt"
    shell: "cat {input[0]} {input[1]} {input[2]}/whole > {output}"
"""


def left(folder: Path) -> dict[str, str]:
    """Return the files in a folder, and the targets of links to a cache next to it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name.startswith((".snakemake/", "said", "site.yaml")) or path.is_dir():
            continue
        text = path.read_text()
        found[name] = f"{path.readlink().name}: {text}" if path.is_symlink() else text
    return found


def test_outputs_are_shared_with_other_workflows_by_the_cache(
    workflow: Workflow, local: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch
):
    caches = [tmp_path_factory.mktemp("cache") for _ in range(2)]
    fresh = tmp_path_factory.mktemp("fresh")
    prepare(workflow, local, CACHED, **{"genome.txt": "b\na\n"})

    def use(cache: Path) -> None:
        monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(cache))

    use(caches[0])
    run_locally(local, "--cache")
    use(caches[1])
    assert workflow.run("--cache", *IN_IMAGE) == 0, workflow.said
    # the files that the local executor stores and leaves behind
    assert left(caches[1]) == left(caches[0])
    assert left(workflow.folder) == left(local)
    assert (workflow.folder / "index").readlink().parent == caches[1]

    # taken from there, and not made again
    use(caches[0])
    other = Workflow(tmp_path_factory.mktemp("other"))
    prepare(other, fresh, CACHED, **{"genome.txt": "b\na\n"})
    assert other.run("--cache", *IN_IMAGE) == 0, other.said
    record = next(other.folder.glob(".snakemake/osgpilot/*/record.json"))
    rules = json.loads(record.read_text())["rules"]
    assert {rule for rule, counts in rules.items() if counts["jobs"]} == {"made"}
    run_locally(fresh, "--cache")
    assert left(other.folder) == left(fresh)
