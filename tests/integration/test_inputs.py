"""Files that do not travel with the job: in shared folders, in storage, behind URLs."""

import hashlib
import os
import shutil
from pathlib import Path

from conftest import WebServer, Workflow

RUNTIME = "/opt/sif/runtime.sif"
JOB_IMAGE = "/opt/sif/job.sif"
BIG = b"0123456789abcdef" * 65536


def transfers(workflow: Workflow) -> list[dict[str, int]]:
    """Return what the jobs received, by the protocol that brought it, as HTCondor counts."""
    return [ad["TransferInputStats"] for ad in workflow.past_jobs()]


def test_a_url_goes_to_the_execution_point_and_not_through_the_access_point(
    workflow: Workflow, web: WebServer, shared: Path
):
    """Also in a container, and for the body of a `run:`."""
    (web.folder / "big.bin").write_bytes(BIG)
    (shared / "in.txt").write_text("from the store\n")
    workflow.snakefile(f"""
rule all:
    input: "sum.txt", "in_image.txt", "by_body.txt", "back.txt"

rule direct:
    input: storage.http("{web.url}/big.bin"), "Snakefile"
    output: "sum.txt"
    shell: "sha256sum < {{input[0]}} > {{output}}; test -s {{input[1]}}"

rule in_image:
    input: storage.http("{web.url}/big.bin")
    output: "in_image.txt"
    resources: container_image="{JOB_IMAGE}"
    shell: "sha256sum < {{input}} > {{output}}; bowtie2 --version > /dev/null"

rule by_body:
    input: storage.http("{web.url}/big.bin")
    output: "by_body.txt"
    run: shell("sha256sum < {{input}} > {{output}}")

rule sharedd:
    input: storage.fs("{shared}/in.txt")
    output: storage.fs("{shared}/out.txt")
    shell: "tr a-z A-Z < {{input}} > {{output}}"

rule back:
    input: storage.fs("{shared}/out.txt")
    output: "back.txt"
    shell: "cp {{input}} {{output}}"
""")
    options = ["--osgpilot-runtime-image", RUNTIME, "--osgpilot-shared-prefixes", str(shared)]
    assert workflow.run(*options) == 0, workflow.said
    expected = hashlib.sha256(BIG).hexdigest() + "  -\n"
    for name in ("sum.txt", "in_image.txt", "by_body.txt"):
        assert (workflow.folder / name).read_text() == expected, name
    assert (shared / "out.txt").read_text() == "FROM THE STORE\n"
    assert (workflow.folder / "back.txt").read_text() == "FROM THE STORE\n"
    assert web.asked.count("GET /big.bin") == 3
    assert not list(workflow.folder.glob(".snakemake/storage/**/big.bin"))
    by_url = [stats for stats in transfers(workflow) if stats.get("HTTPFilesCountTotal")]
    assert [stats["HTTPSizeBytesTotal"] for stats in by_url] == [len(BIG)] * 3


def test_with_local_copies_shared_the_main_snakemake_fetches_and_stores(
    workflow: Workflow, web: WebServer, shared: Path
):
    (web.folder / "a.txt").write_text("web\n")
    workflow.snakefile(f"""
rule all:
    input: storage.fs("{shared}/direct.txt")

rule direct:
    input: storage.http("{web.url}/a.txt")
    output: storage.fs("{shared}/direct.txt")
    shell: "cp {{input}} {{output}}"
""")
    copies = ["--shared-fs-usage", "storage-local-copies", "input-output"]
    assert workflow.run(*copies) == 0, workflow.said
    assert (shared / "direct.txt").read_text() == "web\n"
    assert web.asked.count("GET /a.txt") == 1


def test_files_below_shared_prefixes_stay_where_they_are(workflow: Workflow, shared: Path):
    (shared / "in.txt").write_text("shared\n")
    (shared / "old").mkdir()
    (shared / "old" / "stale").touch()
    (workflow.folder / "own.txt").write_text("own\n")
    shutil.copy(JOB_IMAGE, shared / "tools.sif")
    workflow.snakefile(f"""
rule all:
    input: "own_out.txt", "{shared}/new/direct.txt", "{shared}/old", "{shared}/image.txt",
        "{shared}/body.txt"

rule direct:
    input: "{shared}/in.txt", "own.txt"
    output: "{shared}/new/direct.txt", directory("{shared}/old"), "own_out.txt"
    log: "{shared}/logs/direct.log"
    shell:
        "cat {{input}} > {{output[0]}}; mkdir {{output[1]}}; touch {{output[1]}}/fresh; "
        "cp {{input[1]}} {{output[2]}}; echo logged > {{log}}"

rule image:
    input: "{shared}/in.txt"
    output: "{shared}/image.txt"
    resources: container_image="{shared}/tools.sif"
    shell: "bowtie2 --version > /dev/null; cp {{input}} {{output}}"

rule by_body:
    input: "{shared}/in.txt"
    output: "{shared}/body.txt"
    run:
        open(output[0], "w").write(open(input[0]).read())
""")
    profile = workflow.folder / "profile"
    profile.mkdir()
    # in a profile, a list does as well as text with commas
    (profile / "profile.v9+.yaml").write_text(f"osgpilot-shared-prefixes: [/home, {shared}]")
    options = ["--profile", str(profile), "--osgpilot-runtime-image", RUNTIME]
    assert workflow.run(*options) == 0, workflow.said
    assert (shared / "new/direct.txt").read_text() == "shared\nown\n"
    assert {path.name for path in (shared / "old").iterdir()} == {".snakemake_timestamp", "fresh"}
    assert (shared / "logs/direct.log").read_text() == "logged\n"
    assert (shared / "image.txt").read_text() == "shared\n"
    assert f"image {shared}/tools.sif is read where it is" in workflow.said
    received = [stats["CedarSizeBytesTotal"] for stats in transfers(workflow)]
    assert max(received) < (shared / "tools.sif").stat().st_size
    assert (shared / "body.txt").read_text() == "shared\n"
    assert (workflow.folder / "own_out.txt").read_text() == "own\n"


def test_with_a_default_storage_everything_is_fetched_and_stored_there(
    workflow: Workflow, shared: Path
):
    (shared / "in.txt").write_text("in\n")
    workflow.snakefile("""
rule all:
    input: "out.txt"

rule first:
    input: "in.txt"
    output: temp("between.txt")
    log: "first.log"
    benchmark: "first.tsv"
    shell: "cp {input} {output}; echo logged > {log}"

rule second:
    input: "between.txt"
    output: "out.txt"
    shell: "cp {input} {output}"
""")
    storage = ["--default-storage-provider", "fs", "--default-storage-prefix", str(shared)]
    options = ["--osgpilot-shared-prefixes", str(shared), "--osgpilot-runtime-image", RUNTIME]
    assert workflow.run(*storage, *options) == 0, workflow.said
    assert (shared / "out.txt").read_text() == "in\n"
    assert (shared / "first.log").read_text() == "logged\n"
    assert (shared / "first.tsv").read_text().startswith("s\t")
    assert not (shared / "between.txt").exists()


STORED = """
rule all:
    input: "out.txt", "flag", "summed", "sure", local("fetched")

rule first:
    input: "in.txt"
    output: temp("between.txt"), directory("folder"), touch("flag")
    log: "first.log"
    benchmark: "first.tsv"
    shell:
        "cp {{input}} {{output[0]}}; mkdir {{output[1]}}; touch {{output[1]}}/x; echo l > {{log}}"

rule second:
    input: "between.txt", "folder"
    output: "out.txt"
    group: "g"
    script: "second.py"

rule third:
    input: "out.txt"
    output: "summed"
    group: "g"
    benchmark: "third.tsv"
    run: open(output[0], "w").write(open(input[0]).read() + "third")

rule registry:
    output: update("registry"), ensure("sure", non_empty=True)
    shell: "echo new >> {{output[0]}}; echo x > {{output[1]}}"

rule empty:
    output: ensure("empty", non_empty=True)
    shell: "touch {{output}}"

rule fetched:
    input: storage.http("{url}/data.bin?version=1")
    output: local("fetched")
    shell: "cp {{input}} {{output}}"

rule fails:
    output: "fails"
    log: "fails.log"
    shell: "echo why > {{log}}; touch {{output}}; false"
"""


def test_what_only_a_plugin_transfers_needs_no_snakefile_there(
    workflow: Workflow, shared: Path, web: WebServer
):
    (shared / "in.txt").write_text("in\n")
    (shared / "registry").write_text("from before\n")
    os.utime(shared / "registry", (1, 1))
    (web.folder / "data.bin").write_text("fetched\n")
    workflow.snakefile(STORED.format(url=web.url))
    (workflow.folder / "second.py").write_text(
        "import glob\n"
        "text = open(snakemake.input[0]).read() + str(len(glob.glob(snakemake.input[1] + '/*')))\n"
        "open(snakemake.output[0], 'w').write(text)\n"
    )
    options = [
        *("--default-storage-provider", "fs", "--default-storage-prefix", str(shared)),
        *("--osgpilot-shared-prefixes", str(shared), "--osgpilot-runtime-image", RUNTIME),
    ]
    assert workflow.run(*options) == 0, workflow.said
    assert (shared / "summed").read_text() == "in\n1third"
    assert (shared / "flag").exists()
    assert (shared / "first.log").read_text() == "l\n"
    assert (workflow.folder / "fetched").read_text() == "fetched\n"
    assert not (shared / "between.txt").exists()
    assert (shared / "registry").read_text() == "from before\nnew\n"
    assert (shared / "sure").read_text() == "x\n"
    for name in ("first", "third"):
        assert (shared / f"{name}.tsv").read_text().startswith("s\t")
    assert workflow.run(*options, "--keep-going", "fails", "empty") == 1
    assert "Detected unexpected empty output files" in workflow.said
    assert not (shared / "empty").exists()
    assert (shared / "fails.log").read_text() == "why\n"
    assert not (shared / "fails").exists()
