"""Rules with a `run:`, without an image that anybody named: the body travels, and once for each
pilot the Python environment of Snakemake.
"""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Workflow, until

SNAKEFILE = r"""
import sys, os
from pathlib import Path
sys.path.insert(0, str(Path(workflow.basedir) / "lib"))
import helper
from helper import twice
from snakemake.utils import format as filled

configfile: "config/config.yaml"
shell.prefix("set -eu; export FROM_PREFIX=yes; ")
envvars: "GREETING"
localrules: all
SAMPLES = sorted(glob_wildcards("in/{sample}.txt").sample)
PEOPLE = {"ann", "bob", "cyd"}
TOP = "top"
COMMAND = "echo {TOP} {SAMPLES} $FROM_PREFIX >> {output}"
WHERE = os.getcwd()
TABLE = Path("in").absolute()
CALLS = 0

class Thing:
    def __init__(self, value):
        self.value = value
    def show(self):
        return f"<{self.value} {TOP}>"

def fact(n):
    return 1 if n < 2 else n * fact(n - 1)

def counted():
    global CALLS
    CALLS += 1
    return CALLS

THING = Thing(3)
include: "rules/more.smk"
module other:
    snakefile: "modules/other.smk"
    config: config["other"]
use rule * from other as other_*

rule all:
    default_target: True
    input:
        "out.txt", expand("many/{n}.txt", n=range(6)), "included", "other", "timed", "shadowed",
        "table.txt",
        "folder", "flag", "sum.txt", "pair2", "ro"

rule table:
    output: "table.txt"
    run: open(output[0], "w").write(f"{TABLE}/a.txt")

rule first:
    output: "first_{x}.txt"
    shell: "echo first > {output}"

rule out:
    input: one="first_1.txt", parts=expand("in/{s}.txt", s=SAMPLES)
    output: "out.txt", twin="sub/twin.txt"
    params: n=[1, 2], from_input=lambda wildcards, input: input.one, thing=THING
    log: "logs/out.log"
    threads: 4
    run:
        from lazy import lazily
        with open(output[0], "w") as out:
            print(SAMPLES, sorted(PEOPLE), TOP, helper.VALUE, twice(4), helper.DATA, file=out)
            print(config["name"], config["list"], fact(5), counted(), counted(), file=out)
            print(THING.show(), params.thing.show(), Thing(9).show(), lazily(), file=out)
            print(params.n, params.from_input, threads, rule, input.parts, log[0], file=out)
            same = [os.path.samefile(*pair) for pair in ((WHERE, "."), (TABLE, "in"))]
            print(rules.first.output[0], same, os.path.basename(TABLE), file=out)
            same = os.path.samefile(workflow.basedir, "workflow")
            print(same, isinstance(params.thing, Thing), file=out)
            print(os.environ["GREETING"], filled("{TOP} {threads}"), file=out)
            print(open(workflow.source_path("lib/data.txt")).read(), file=out)
            assert Path(resources.tmpdir).is_dir()
        shell("mkdir -p sub; echo {threads} $OMP_NUM_THREADS {config[name]:q} > {output.twin}")
        shell(COMMAND)
        for line in shell("seq 2; basename $(dirname $TMPDIR) > /dev/null", iterable=True):
            print(line, file=open(log[0], "a"))

rule many:
    output: "many/{n}.txt"
    run:
        import time
        Path(output[0]).write_text(wildcards.n * 3)
        time.sleep(1)

rule timed:
    output: "timed"
    benchmark: "bench/timed.tsv"
    run: Path(output[0]).write_text("timed")

rule shadowed:
    output: "shadowed"
    shadow: "minimal"
    run:
        Path("litter").touch()
        Path(output[0]).write_text("shadowed")

rule folder:
    output: directory("folder")
    run:
        Path(output[0], "a").mkdir(parents=True)
        Path(output[0], "a/b").write_text("b")

rule flag:
    output: touch("flag")
    run: pass

rule protected:
    output: protected("ro")
    run: Path(output[0]).write_text("ro")

rule pair1:
    output: temp("pair1")
    group: "pair"
    run: Path(output[0]).write_text("one")

rule pair2:
    input: "pair1"
    output: "pair2"
    group: "pair"
    shell: "cat {input} > {output}; echo two >> {output}"

checkpoint names:
    input: "seed.txt"
    output: "names.txt"
    shell: "cp {input} {output}"

rule part:
    output: "part/{n}"
    shell: "echo > {output}"

def parts(wildcards):
    return [f"part/{n}" for n in open(checkpoints.names.get().output[0]).read().split()]

rule sum:
    input: parts
    output: "sum.txt"
    run: open(output[0], "w").write(str(input))
"""

FILES = {
    "workflow/Snakefile": SNAKEFILE,
    "workflow/rules/more.smk": """
rule included:
    input: note=workflow.source_path("../lib/data.txt")
    output: "included"
    params: same=workflow.source_path("../lib/data.txt")
    run:
        files = ("config/config.yaml", input.note, params.same)
        Path(output[0]).write_text(TOP + "".join(Path(file).read_text() for file in files))
""",
    "workflow/modules/other.smk": """
TOP = "another top"
rule other:
    input: workflow.source_path("../lib/data.txt")
    output: "other"
    run:
        with open(input[0]) as given, open(output[0], "w") as out:
            print(TOP, config["name"], given.read(), file=out)
""",
    "workflow/lib/helper.py": """
from pathlib import Path
VALUE = 7
DATA = Path(__file__).with_name("data.txt").read_text()
def twice(value):
    return 2 * value
""",
    "workflow/lib/lazy.py": "def lazily():\n    return 'lazy'\n",
    "workflow/lib/data.txt": "data",
    "config/config.yaml": 'name: it\'s "c"\nlist: [a, b]\nother: {name: theirs}\n',
    "in/a.txt": "a\n",
    "in/b ü.txt": "b\n",
    "seed.txt": "x y\n",
}

OUTPUTS = (
    *("out.txt", "sub/twin.txt", "logs/out.log", *(f"many/{n}.txt" for n in range(6))),
    *("included", "other", "timed", "shadowed", "folder/a/b", "flag", "ro", "pair2", "sum.txt"),
)


def prepare(folder: Path) -> None:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(autouse=True)
def greeting(monkeypatch):
    monkeypatch.setenv("GREETING", 'it\'s "fine" $(true)')


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the result of the same workflow with the local executor.

    Without threads, it starts `run:` by a shell that loses quotes of variables.
    """
    folder = tmp_path_factory.mktemp("local")
    prepare(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GREETING", 'it\'s "fine" $(true)')
        done = subprocess.run(
            [sys.executable, "-m", "snakemake", "--cores", "4", "--force-use-threads"],
            cwd=folder, check=False, capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: (folder / name).read_bytes() for name in OUTPUTS}


def images() -> list[Path]:
    return sorted((Path.home() / ".cache/osgpilot/environments").glob("python-*.sif"))


def test_bodies_run_as_locally_in_the_environment_that_is_sent_once(workflow: Workflow, expected):
    prepare(workflow.folder)
    assert workflow.run() == 0, workflow.said
    assert {name: (workflow.folder / name).read_bytes() for name in OUTPUTS} == expected
    assert (workflow.folder / "ro").stat().st_mode & 0o222 == 0
    assert not (workflow.folder / "litter").exists()
    # paths that a body writes are those of this machine
    assert (workflow.folder / "table.txt").read_text() == f"{workflow.folder}/in/a.txt"
    columns = (workflow.folder / "bench/timed.tsv").read_text().splitlines()[0].split("\t")
    assert columns[:3] == ["s", "h:m:s", "max_rss"]

    ads = workflow.past_jobs()
    bodies = [ad for ad in ads if ad.get("ContainerImage")]
    many = [ad for ad in bodies if ad["TotalSubmitProcs"] > 1]
    # a pilot may have run a single one
    pilots = {ad["LastRemoteHost"].partition("@")[2] for ad in bodies}
    log = next(workflow.folder.glob(".snakemake/osgpilot/*/jobs.log")).read_text()
    assert log.count("Started transferring common files") == len(pilots) < len(many)
    assert max(ad["BytesRecvd"] for ad in many) < 1_000_000

    made = images()
    (workflow.folder / "out.txt").unlink()
    assert workflow.run() == 0, workflow.said
    assert "packing the Python environment" not in workflow.said
    assert (workflow.folder / "out.txt").read_bytes() == expected["out.txt"]
    assert images() == made


def test_a_failing_body_says_why_with_the_line_of_the_snakefile(workflow: Workflow):
    workflow.snakefile("""
def deep(text):
    raise ValueError(text)

rule all:
    output: "out"
    log: "log.txt"
    run:
        print("before it failed", flush=True)
        open(log[0], "w").write("was here")
        deep("the moon is full")
""")
    assert workflow.run() == 1
    snakefile = workflow.folder / "Snakefile"
    assert f'ValueError in file "{snakefile}", line 3:\nthe moon is full' in workflow.said
    assert f'File "{snakefile}", line 11, in __rule_all' in workflow.said
    assert "before it failed" in workflow.said
    assert (workflow.folder / "log.txt").read_text() == "was here"
    assert not (workflow.folder / "out").exists()


def test_what_cannot_travel_is_named_before_any_job_runs(workflow: Workflow):
    workflow.snakefile("""
import threading
LOCK = threading.Lock()
rule all:
    output: "out"
    run:
        with LOCK: open(output[0], "w").write("x")
""")
    assert workflow.run() == 1
    assert "rule all: its `run:` uses `LOCK`, which cannot travel" in workflow.said
    assert not re.search("pilot.*submitted", workflow.said)


def test_a_run_that_is_killed_while_it_packs_leaves_nothing_that_is_used(
    workflow: Workflow, tmp_path_factory, monkeypatch
):
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("OSGPILOT_CACHE", str(cache))
    workflow.snakefile("""
rule all:
    output: "out"
    run: open(output[0], "w").write("made")
""")
    workflow.start()
    until(lambda: list(cache.glob("environments/.part-*/build-temp-*")), "Apptainer to build")
    workflow.stop()
    assert not list(cache.glob("environments/*.sif"))
    assert workflow.run("--nolock") == 0, workflow.said
    assert (workflow.folder / "out").read_text() == "made"
    assert workflow.said.count("packing the Python environment of Snakemake") == 1
    assert len(list(cache.glob("environments/*.sif"))) == 1


def test_a_resumed_run_knows_the_jobs_of_its_bodies(workflow: Workflow, shared: Path):
    workflow.snakefile(f"""
import enum, time
from pathlib import Path
class Place(enum.Enum):
    HERE = "{shared}"
NAMES = {{"ran", "go", "other", "another"}}
rule all:
    output: "out"
    run:
        with Path(Place.HERE.value, "ran").open("a") as ran:
            print(sorted(NAMES), file=ran)
        while not Path(Place.HERE.value, "go").exists():
            time.sleep(0.2)
        Path(output[0]).write_text("made")
""")
    options = ("--osgpilot-shared-prefixes", str(shared), "--nolock", "--rerun-incomplete")
    process = workflow.start(*options)
    until((shared / "ran").exists, "the job to run")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (shared / "go").touch()
    assert workflow.run(*options) == 0, workflow.said
    assert "resumed tracking 1 job of the previous session" in workflow.said
    assert (workflow.folder / "out").read_text() == "made"
    assert len((shared / "ran").read_text().splitlines()) == 1
