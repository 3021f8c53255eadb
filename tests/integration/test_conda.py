"""Rules with a `conda:` environment: made once here, packed once, sent once to each pilot."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from beside_local import notebook
from conda_channel import PLACEHOLDER, Channel, add_programs, install_conda
from conftest import (
    PATIENCE_S,
    WebServer,
    Workflow,
    jobs_in_queue,
    past_jobs,
    pilots_in_slurm,
    until,
)

RUNTIME = "/opt/sif/runtime.sif"
JOB_IMAGE = "/opt/sif/job.sif"

SNAKEFILE = """
rule all:
    input:
        expand("{kind}/{n}.txt", kind=["r", "python", "wrapped"], n=range(6)),
        expand("shell/{n}.txt", n=range(6)),

rule by_r:
    output: "r/{n}.txt"
    conda: "envs/r.yaml"
    script: "scripts/report.R"

rule by_python:
    output: "python/{n}.txt"
    conda: "envs/python.yaml"
    script: "scripts/report.py"

rule by_wrapper:
    output: "wrapped/{n}.txt"
    wrapper: "file:wrappers/stamp"

rule by_shell:
    output: "shell/{n}.txt"
    conda: "envs/r.yaml"
    shell:
        "Rscript -e 'cat({wildcards.n} * 2)' > {output}; echo >> {output}; "
        "cat $CONDA_PREFIX/share/deployed >> {output}; "
        "[ $CONDA_PREFIX/bin/Rscript = $(command -v Rscript) ]"
"""

FILES = {
    "scripts/report.R": """
        numbers <- c(as.numeric(snakemake@wildcards$n), 2, 3)
        writeLines(c(as.character(mean(numbers)), R.version$major), snakemake@output[[1]])
    """,
    "scripts/report.py": """
        import json, sys
        inside = sys.prefix == __import__("os").environ["CONDA_PREFIX"]
        with open(snakemake.output[0], "w") as file:
            print(json.dumps([snakemake.wildcards.n, inside, sys.version_info[:2]]), file=file)
    """,
    "wrappers/stamp/wrapper.py": """
        from snakemake.shell import shell
        shell("stamp {snakemake.wildcards.n} > {snakemake.output[0]}")
    """,
}

ENVIRONMENTS = {
    "envs/r.yaml": "r=4.5",
    "envs/python.yaml": "python=3.13",
    "wrappers/stamp/environment.yaml": "stamp=1.0, python=3.13",
}


@pytest.fixture(scope="session")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel with R, Python, and a package whose files have the prefix in texts and binaries."""
    folder = tmp_path_factory.mktemp("channel")
    made = Channel(folder / "channel")
    add_programs(made, folder, large=False)
    for version in ("1.0", "2.0", "3.0"):
        made.add("words", version, {"share/words": f"words {version}\n"})
    files = {
        "bin/greet": f'#!/bin/bash\necho "$1"\ncat {PLACEHOLDER}/share/words\n',
        "etc/conda/activate.d/greet.sh": "export GREETING=activated\n",
    }
    made.add("greet", "1.2", files, ("words >=2,<3",))
    return folder / "channel"


@pytest.fixture
def served(channel: Path, web: WebServer) -> str:
    """The URL of the channel on a web server, which notes what is fetched."""
    (web.folder / "channel").symlink_to(channel)
    return f"{web.url}/channel"


@pytest.fixture(autouse=True)
def conda(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a program `conda` on this host, with a cache of packages of its own."""
    folder = tmp_path_factory.mktemp("conda")
    programs = install_conda(folder)
    path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("OSGPILOT_CACHE", str(folder / "cache"))
    return programs


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        indent = re.match(r"\n( *)", text)
        (folder / name).write_text(text.replace(indent[0], "\n") if indent else text)


def prepare(folder: Path, channel: str) -> None:
    write(folder, FILES | {"Snakefile": SNAKEFILE})
    for name, needs in ENVIRONMENTS.items():
        text = f"channels: [{channel}, nodefaults]\ndependencies: [{needs}]\n"
        write(folder, {name: text})
    write(folder, {"envs/r.post-deploy.sh": "echo deployed > $CONDA_PREFIX/share/deployed\n"})


def made(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("*/*.txt")}


def locally(folder: Path) -> dict[str, bytes]:
    """Return the result of a workflow with the local executor."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--sdm", "conda"]
    subprocess.run(command, cwd=folder, check=True)
    return made(folder)


SOME = ["r/3.txt", "python/3.txt", "wrapped/3.txt", "shell/3.txt"]


def planned(workflow: Workflow) -> str:
    """Return what `osgpilot plan` says of environments."""
    argv = ["osgpilot", "plan", "--", *workflow.argv("--sdm", "conda", "--force", *SOME)[3:]]
    said = subprocess.run(
        argv, cwd=workflow.folder, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert said.returncode == 0, said.stderr
    return " ".join(said.stdout.split())


def ads(workflow: Workflow) -> list[dict]:
    (run,) = workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")
    return past_jobs(run.parent.name)


def images(conda: Path) -> list[Path]:
    return sorted((conda.parent.parent / "cache/environments").glob("conda-*.sif"))


def test_each_environment_is_made_once_and_sent_once_to_each_pilot(
    workflow: Workflow, served: str, web: WebServer, conda: Path, tmp_path_factory
):
    folder = workflow.folder
    prepare(folder, served)
    line = "conda environment envs/r.yaml of by_r, by_shell: "
    assert f"{line}to be made and packed at the start" in planned(workflow)
    assert not (folder / ".snakemake/conda").exists()
    assert images(conda) == []
    assert workflow.run("--sdm", "conda") == 0, workflow.said
    outputs = made(folder)
    assert len(outputs) == 24
    assert len(images(conda)) == 3
    assert len([each for each in folder.glob(".snakemake/conda/*_") if each.is_dir()]) == 3
    assert workflow.said.count("Creating conda environment") == 3
    assert workflow.said.count("packing the conda environment") == 3
    assert "needs Snakemake" not in workflow.said

    pilots = defaultdict(set)
    jobs = ads(workflow)
    for ad in jobs:
        pilots[ad["ContainerImage"]].add(ad["LastRemoteHost"].partition("@")[2])
    log = next(folder.glob(".snakemake/osgpilot/*/jobs.log")).read_text()
    sent = log.count("Started transferring common files")
    assert (len(jobs), len(pilots), sent) == (24, 3, sum(map(len, pilots.values())))
    assert max(ad["BytesRecvd"] for ad in jobs) < 1_000_000

    clone = tmp_path_factory.mktemp("local")
    prepare(clone, served)
    assert locally(clone) == outputs

    web.asked.clear()
    assert f"{line}packed, " in planned(workflow)
    assert workflow.run("--sdm", "conda", "--force", *SOME) == 0, workflow.said
    assert made(folder) == outputs
    assert "packing" not in workflow.said
    assert "Creating conda" not in workflow.said
    assert not web.asked


KINDS = """
rule all:
    input:
        "named.txt", "script.txt", "contained.txt", "second.txt", "timed.txt", "greet.given",
        "noted.txt", "pinned.txt",

rule named:
    output: "named.txt"
    conda: "tools"
    shell: "echo $CONDA_DEFAULT_ENV $(said) > {output}"

rule script:
    output: "script.txt"
    conda: "envs/greet.yaml"
    script: "script.py"

rule contained:
    output: "contained.txt"
    conda: "envs/greet.yaml"
    resources: container_image="/opt/sif/job.sif"
    shell: "greet contained > {output}; cat /etc/job-image >> {output}"

rule first:
    output: "first.txt"
    group: "both"
    conda: "envs/greet.yaml"
    shell: "greet first > {output}; [ ! -e $CONDA_PREFIX/bin/stamp ]"

rule second:
    input: "first.txt"
    output: "second.txt"
    group: "both"
    conda: "envs/stamp.yaml"
    shell: "stamp second > {output}; cat {input} >> {output}; [ ! -e $CONDA_PREFIX/bin/greet ]"

rule timed:
    output: "timed.txt"
    benchmark: "timed.tsv"
    conda: "envs/greet.yaml"
    shell: "greet $GREETING > {output}"

rule noted:
    output: "noted.txt"
    log: notebook="ran.ipynb"
    conda: "envs/noted.yaml"
    notebook: "noted.py.ipynb"

rule pinned:
    output: "pinned.txt"
    conda: "envs/pinned.yaml"
    shell: "cat $CONDA_PREFIX/share/words > {output}"

rule by_wildcard:
    output: "{name}.given"
    conda: "envs/{name}.yaml"
    shell: "greet {wildcards.name} > {output}"
"""

SCRIPT = """
        import os, subprocess, sys
        said = subprocess.check_output(["greet", "script"], text=True)
        inside = sys.prefix.startswith(os.environ["CONDA_PREFIX"])
        open(snakemake.output[0], "w").write(f"{said}{inside}\\n")
"""


NOTED = """
import os, sys
inside = sys.prefix == os.environ["CONDA_PREFIX"]
print(inside, snakemake.rule, file=open(snakemake.output[0], "w"))
"""

# a file of a package may be one with that in conda's cache
POST_DEPLOY = """
        cd $CONDA_PREFIX/share
        { cat words; echo and more; } > new && mv new words
"""


def greeting(folder: Path, channel: str) -> None:
    text = f"channels: [{channel}, nodefaults]\ndependencies: "
    write(
        folder,
        {
            "envs/greet.yaml": f"{text}[greet=1.2]\n",
            "envs/greet.post-deploy.sh": POST_DEPLOY,
            "envs/stamp.yaml": f"{text}[stamp=1.0]\n",
            "script.py": SCRIPT,
        },
    )


def test_every_kind_of_environment_is_active_in_its_job(
    workflow: Workflow, channel: Path, conda: Path, shared: Path
):
    folder = workflow.folder
    greeting(folder, f"file://{channel}")
    workflow.snakefile(KINDS)
    text = f"channels: [file://{channel}, nodefaults]\ndependencies: "
    pin = f"@EXPLICIT\nfile://{channel}/noarch/words-1.0-0.conda\n"
    noted = json.dumps(notebook(NOTED))
    write(
        folder,
        {
            "envs/noted.yaml": f"{text}[papermill=2.6]\n",
            "noted.py.ipynb": noted,
            "envs/pinned.yaml": f"{text}[words]\n",
            "envs/pinned.linux-64.pin.txt": pin,
        },
    )
    tools = conda.parent / "envs/tools"
    write(tools, {"bin/said": "#!/bin/sh\necho said\n", "conda-meta/history": ""})
    (tools / "bin/said").chmod(0o700)
    assert workflow.run("--sdm", "conda", "--conda-prefix", str(shared)) == 0, workflow.said
    words = "words 2.0\nand more\n"
    expected = {
        "named.txt": "tools said\n",
        "script.txt": f"script\n{words}False\n",
        "contained.txt": f"contained\n{words}localpool-job\n",
        "second.txt": f"second activated linked\nwords of the package\nfirst\n{words}",
        "timed.txt": f"activated\n{words}",
        "greet.given": f"greet\n{words}",
        "noted.txt": "True noted\n",
        "pinned.txt": "words 1.0\n",
    }
    assert {name: (folder / name).read_text() for name in expected} == expected
    assert (folder / "timed.tsv").read_text().startswith("s\t")
    assert "needs Snakemake" not in workflow.said
    assert not list(folder.glob(".snakemake/conda/*"))
    assert '"execution_count": 1' in (folder / "ran.ipynb").read_text()
    # greet alone, on the job image, on Python, with stamp in the group; tools, noted, pinned
    assert len(images(conda)) == 7

    listed = subprocess.run(["osgpilot", "software", "list"], capture_output=True, text=True)
    assert listed.stdout.count("envs/greet.yaml") == 4
    kept = images(conda)[0]
    subprocess.run(["osgpilot", "software", "prune", "--days", "0"], check=True)
    assert (images(conda), kept.exists()) == ([], False)


def test_pilots_fetch_an_image_from_where_it_was_pushed_to(
    workflow: Workflow, channel: Path, conda: Path, web: WebServer
):
    folder = workflow.folder
    greeting(folder, f"file://{channel}")
    workflow.snakefile("""
rule all:
    input: expand("{n}.txt", n=range(3))

rule made:
    output: "{n}.txt"
    conda: "envs/greet.yaml"
    shell: "greet {wildcards.n} > {output}"
""")
    assert workflow.run("--sdm", "conda") == 0, workflow.said
    assert workflow.record()["transfers"]["images"] >= 1
    (image,) = images(conda)
    push = ["osgpilot", "software", "push", image.stem, str(web.folder), "--url", web.url]
    subprocess.run(push, check=True)
    for number in range(3):
        (folder / f"{number}.txt").unlink()
    web.asked.clear()
    assert workflow.run("--sdm", "conda") == 0, workflow.said
    assert f"is fetched by pilots from {web.url}/{image.name}" in workflow.said
    assert (folder / "2.txt").read_text() == "2\nwords 2.0\nand more\n"
    fetched = [each for each in web.asked if each == f"GET /{image.name}"]
    record = workflow.record()
    assert 1 <= len(fetched) <= record["transfers"]["pilots"]
    assert record["transfers"]["images"] == 0


AFTER_ANOTHER = """
rule fine:
    output: "fine"
    shell: "true > {output}"

rule made:
    input: "fine"
    output: "{name}.out"
    conda: "envs/{name}.yaml"
    shell: "true > {output}"
"""
"""A rule with an environment, after one without."""

BROKEN = {
    "conflict": ("[greet=1.2, words=1.0]", "words"),
    "missing": ("[nowhere]", "nowhere"),
    "broken": ("[greet=1.2", "expected"),
}


def test_an_environment_that_cannot_be_made_is_named_before_anything_is_submitted(
    workflow: Workflow, channel: Path, conda: Path
):
    text = f"channels: [file://{channel}, nodefaults]\ndependencies: "
    for name, (needs, _) in BROKEN.items():
        write(workflow.folder, {f"envs/{name}.yaml": f"{text}{needs}\n"})
    write(workflow.folder, {"envs/deployed.yaml": f"{text}[greet=1.2]\n"})
    write(workflow.folder, {"envs/deployed.post-deploy.sh": "echo no luck; exit 3\n"})
    workflow.snakefile(AFTER_ANOTHER)
    for name, said in {**{n: s for n, (_, s) in BROKEN.items()}, "deployed": "no luck"}.items():
        assert workflow.run("--sdm", "conda", "--", f"{name}.out") != 0
        line = f"rule made: its conda environment envs/{name}.yaml cannot be made; conda said:"
        assert workflow.said.count(line) == 1, workflow.said
        assert said in workflow.said.partition(line)[2]
        assert not (workflow.folder / "fine").exists()
        assert not jobs_in_queue()
        assert not pilots_in_slurm()
        assert not [each for each in workflow.folder.glob(".snakemake/conda/*_") if each.is_dir()]
    assert images(conda) == []


HANGS = """#!/bin/sh
for each; do case $each in *.sif) image=$each ;; esac; done
echo half > "$image"
while [ -e "$image" ]; do sleep 0.2; done
"""


def hanging_apptainer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an Apptainer that begins an image, and ends when that was removed."""
    programs = tmp_path_factory.mktemp("hangs")
    (programs / "apptainer").write_text(HANGS)
    (programs / "apptainer").chmod(0o755)
    return programs


def test_what_a_killed_run_left_half_made_is_never_used(
    workflow: Workflow, served: str, web: WebServer, conda: Path, monkeypatch, tmp_path_factory
):
    folder = workflow.folder
    greeting(folder, served)
    workflow.snakefile("""
rule made:
    output: "made"
    conda: "envs/greet.yaml"
    shell: "greet made > {output}"
""")
    web.open.clear()
    workflow.start("--sdm", "conda", "--nolock")
    until(lambda: web.begun, "the download to begin")
    workflow.stop()
    web.open.set()
    assert images(conda) == []

    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(hanging_apptainer(tmp_path_factory)), prepend=os.pathsep)
        workflow.start("--sdm", "conda", "--nolock")
    cache = conda.parent.parent / "cache/environments"
    until(lambda: list(cache.glob(".part-*/image.sif")), "Apptainer to build")
    workflow.stop()
    assert images(conda) == []

    assert workflow.run("--sdm", "conda", "--nolock") == 0, workflow.said
    assert (folder / "made").read_text() == "made\nwords 2.0\nand more\n"
    assert not list(cache.glob(".part-*"))


@pytest.fixture
def container(conda: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unpacked image with conda."""
    image = tmp_path_factory.mktemp("image") / "tree"
    unpack = ["apptainer", "build", "--sandbox", str(image), "/opt/sif/runtime.sif"]
    subprocess.run(unpack, check=True, capture_output=True)
    (image / "usr/local/bin/conda").write_text((conda / "conda").read_text())
    (image / "etc/of-image").write_text("of the image\n")
    return image


def test_an_environment_for_a_container_is_made_and_used_in_it(
    workflow: Workflow, served: str, conda: Path, container: Path
):
    folder = workflow.folder
    greeting(folder, served)
    (folder / "envs/greet.post-deploy.sh").unlink()
    workflow.snakefile(f"""
rule made:
    output: "made.txt"
    container: "{container}"
    conda: "envs/greet.yaml"
    shell: "greet made > {{output}}; cat /etc/of-image >> {{output}}; echo $GREETING >> {{output}}"
""")
    assert workflow.run("--sdm", "conda", "apptainer") == 0, workflow.said
    expected = "made\nwords 2.0\nof the image\nactivated\n"
    assert (folder / "made.txt").read_text() == expected
    assert len(images(conda)) == 1


def test_a_containerized_workflow_uses_the_environments_of_its_image(
    workflow: Workflow, conda: Path, container: Path
):
    text = "dependencies: [tool]\n"
    place = container / "conda-envs" / hashlib.md5(text.encode()).hexdigest()
    write(place, {"bin/said": "#!/bin/sh\necho said\n", "conda-meta/history": ""})
    (place / "bin/said").chmod(0o755)
    write(workflow.folder, {"envs/tool.yaml": text})
    # HTCondor transfers no image that is a folder with links to folders
    image = workflow.folder / "image.sif"
    pack = ["apptainer", "build", "--mksquashfs-args", "-comp gzip -Xcompression-level 1"]
    subprocess.run([*pack, str(image), str(container)], check=True, capture_output=True)
    workflow.snakefile(f"""
containerized: "{image}"

rule made:
    output: "made.txt"
    conda: "envs/tool.yaml"
    shell: "said > {{output}}; cat /etc/of-image >> {{output}}"
""")
    assert workflow.run("--sdm", "conda", "apptainer") == 0, workflow.said
    assert (workflow.folder / "made.txt").read_text() == "said\nof the image\n"
    assert images(conda) == []


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_image_that_vanishes_before_it_was_sent_is_named(
    workflow: Workflow, channel: Path, conda: Path, full_cluster: Callable[[], None], jobs: int
):
    greeting(workflow.folder, f"file://{channel}")
    workflow.snakefile(f"""
rule all:
    input: expand("{{n}}.txt", n=range({jobs}))

rule made:
    output: "{{n}}.txt"
    conda: "envs/greet.yaml"
    shell: "greet {{wildcards.n}} > {{output}}"
""")
    run = workflow.start("--sdm", "conda", "--keep-going")
    until(jobs_in_queue, "jobs in the queue")
    (image,) = images(conda)
    image.unlink()
    full_cluster()
    assert run.wait(PATIENCE_S) == 1
    failed = [line for line in workflow.said.splitlines() if "FAILED rule" in line]
    why = f"reading from file {image}: (errno 2) No such file or directory"
    assert sum("an input could not be read on the access point" in line for line in failed) == jobs
    assert workflow.said.count(why) == jobs, workflow.said


@pytest.fixture(scope="session")
def builder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image with conda."""
    folder = tmp_path_factory.mktemp("builder")
    unpack = ["apptainer", "build", "--sandbox", str(folder / "tree"), RUNTIME]
    subprocess.run(unpack, check=True, capture_output=True)
    program = install_conda(folder) / "conda"
    (folder / "tree/usr/local/bin/conda").write_text(program.read_text())
    pack = ["apptainer", "build", "--mksquashfs-args", "-comp gzip -Xcompression-level 1"]
    image = folder / "builder.sif"
    subprocess.run([*pack, str(image), str(folder / "tree")], check=True, capture_output=True)
    return image


@pytest.fixture
def without_conda(conda: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host without a program `conda`."""
    found = os.environ["PATH"].split(":")
    monkeypatch.setenv("PATH", ":".join(each for each in found if each != str(conda)))


IN_PILOTS = """
rule all:
    input: "shell.txt", "wrapped/1.txt", "pinned.txt", "contained.txt"

rule by_shell:
    output: "shell.txt"
    conda: "envs/greet.yaml"
    shell: "greet $GREETING > {output}"

rule by_wrapper:
    output: "wrapped/{n}.txt"
    wrapper: "file:wrappers/stamp"

rule pinned:
    output: "pinned.txt"
    conda: "envs/pinned.yaml"
    shell: "cat $CONDA_PREFIX/share/words > {output}"

rule contained:
    output: "contained.txt"
    container: "BUILDER"
    conda: "envs/greet.yaml"
    shell: "greet $GREETING > {output}; command -v conda >> {output}"
"""


def prepare_for_pilots(workflow: Workflow, channel: str, builder: Path) -> None:
    workflow.snakefile(IN_PILOTS.replace("BUILDER", str(builder)))
    greeting(workflow.folder, channel)
    text = f"channels: [{channel}, nodefaults]\ndependencies: "
    pin = f"@EXPLICIT\n{channel}/noarch/words-1.0-0.conda\n"
    write(
        workflow.folder,
        {
            "wrappers/stamp/wrapper.py": FILES["wrappers/stamp/wrapper.py"],
            "wrappers/stamp/environment.yaml": f"{text}[stamp=1.0, python=3.13]\n",
            "envs/pinned.yaml": f"{text}[words]\n",
            "envs/pinned.linux-64.pin.txt": pin,
        },
    )


def builds(workflow: Workflow) -> int:
    """Return how many jobs of the latest run made an environment."""
    rule = workflow.record()["rules"].get("conda-environment")
    return rule["done"] if rule else 0


def test_pilots_make_the_environments_where_there_is_no_conda(
    workflow: Workflow, served: str, web: WebServer, conda: Path, builder: Path, without_conda
):
    folder = workflow.folder
    prepare_for_pilots(workflow, served, builder)
    options = ["--sdm", "conda", "apptainer", "--osgpilot-conda-image", str(builder)]
    argv = ["osgpilot", "plan", "--", *workflow.argv(*options)[3:]]
    plan = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S)
    line = "conda environment envs/greet.yaml of by_shell: to be made in a pilot"
    assert line in " ".join(plan.stdout.split()), plan.stderr
    assert workflow.run(*options) == 0, workflow.said
    expected = {
        "shell.txt": "activated\nwords 2.0\nand more\n",
        "wrapped/1.txt": "1 activated linked\nwords of the package\n",
        "pinned.txt": "words 1.0\n",
        "contained.txt": "activated\nwords 2.0\nand more\n/usr/local/bin/conda\n",
    }
    assert {name: (folder / name).read_text() for name in expected} == expected
    assert builds(workflow) == 4
    assert not list(folder.glob(".snakemake/conda/*"))
    assert len(images(conda)) == 4

    for name in expected:
        (folder / name).unlink()
    web.asked.clear()
    assert workflow.run(*options) == 0, workflow.said
    assert {name: (folder / name).read_text() for name in expected} == expected
    assert builds(workflow) == 0
    assert not web.asked


def test_an_environment_that_a_pilot_cannot_make_is_named_before_any_rule_runs(
    workflow: Workflow, served: str, conda: Path, builder: Path, without_conda
):
    text = f"channels: [{served}, nodefaults]\ndependencies: "
    write(workflow.folder, {"envs/conflict.yaml": f"{text}[greet=1.2, words=1.0]\n"})
    write(workflow.folder, {"envs/broken.yaml": f"{text}[greet=1.2\n"})
    workflow.snakefile(AFTER_ANOTHER)
    options = ["--sdm", "conda", "--osgpilot-conda-image", str(builder)]
    for name, said in {"broken": "line", "conflict": "words"}.items():
        assert workflow.run(*options, "--", f"{name}.out") != 0
        line = f"rule made: its conda environment envs/{name}.yaml cannot be made: "
        assert workflow.said.count(line) == 1, workflow.said
        assert said in workflow.said.partition(line)[2]
        assert ("in pilots" in workflow.said) == (name == "conflict")
        assert not (workflow.folder / "fine").exists()
        assert not jobs_in_queue()
        assert not pilots_in_slurm()
    assert images(conda) == []


@pytest.mark.parametrize("killed", ["Snakemake", "pilot"])
def test_an_environment_is_made_in_a_pilot_once_whatever_is_killed(
    workflow: Workflow, served: str, web: WebServer, conda: Path, builder: Path, without_conda,
    killed: str,
):  # fmt: skip
    folder = workflow.folder
    greeting(folder, served)
    workflow.snakefile("""
def after(wildcards):
    with open(checkpoints.first.get().output[0]) as file:
        return expand("{n}.txt", n=file.read().split())

rule all:
    input: after

checkpoint first:
    output: "first"
    shell: "echo 1 2 3 > {output}"

rule made:
    output: "{n}.txt"
    conda: "envs/greet.yaml"
    shell: "greet {wildcards.n} > {output}"
""")
    options = ["--sdm", "conda", "--nolock", "--osgpilot-conda-image", str(builder)]
    web.open.clear()
    run = workflow.start(*options)
    until(lambda: web.begun, "the download to begin in a pilot")
    if killed == "pilot":
        (pilot,) = pilots_in_slurm()
        subprocess.run(["scancel", pilot.split()[0]], check=True)
        until(lambda: pilot not in pilots_in_slurm(), "the pilot to end")
    else:
        workflow.stop()
        run = workflow.start(*options)
    assert images(conda) == []
    web.open.set()
    assert run.wait(PATIENCE_S) == 0, workflow.said
    assert ("resuming run" in workflow.said) == (killed == "Snakemake")
    for number in "123":
        assert (folder / f"{number}.txt").read_text() == f"{number}\nwords 2.0\nand more\n"
    assert builds(workflow) == 1
