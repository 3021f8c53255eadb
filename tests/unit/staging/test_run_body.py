"""Bodies of `run:` are called elsewhere with what they had here, and no Snakefile is read there."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import zlib
from base64 import b64decode, b64encode
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import cloudpickle
import pytest

from snakemake_executor_plugin_osgpilot.staging import run_entry
from snakemake_executor_plugin_osgpilot.staging.body_pickler import pickled
from snakemake_executor_plugin_osgpilot.staging.module_sources import module_files, own_folders
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import HERE, ROOT_MARK
from snakemake_executor_plugin_osgpilot.staging.run_body import FILE

SNAKEFILE = r"""
import collections, enum, os, random, re, sys, threading
from dataclasses import dataclass
from pathlib import Path
sys.path.insert(0, "lib")
sys.path.insert(0, str(Path(workflow.basedir).parent / "beside"))
import near, far
from os import environ

configfile: "config.yaml"
SAMPLES = sorted(glob_wildcards("in/{s}.txt").s)
NAMES = {"ann", "bob", "cyd", "dan"}
FROZEN = frozenset(NAMES)
DEFAULTS = collections.defaultdict(list, a=[1])
PATTERN = re.compile("a+")
WHERE = os.getcwd()
PLACE = Path("in").absolute()
NESTED = {"place": [PLACE, f"--to={os.getcwd()}/x y"]}
INNER = "inner"
COMMAND = "echo {INNER} {SAMPLES}"
numbers = random.Random(1)
TABLE = [numbers.random() for _ in range(60_000)]
LOCK = threading.Lock()

class Colour(enum.Enum):
    RED = 1

@dataclass
class Point:
    x: int
    names = {"q", "r", "s", "t"}

class Child(Point):
    def shown(self):
        return super().__repr__()

def kind(word):
    class Kind:
        said = word
    return Kind

KINDS = [kind("a"), kind("b")]

def even(n): return n == 0 or odd(n - 1)
def odd(n): return n != 0 and even(n - 1)

rule first:
    output: "{x}.first", log="{x}.log"
    params: 3
    shell: "touch {output}"

rule good:
    output: "good"
    params: point=Point(4), colour=Colour.RED, place=PLACE, computed=lambda wildcards: {"b", "a"}
    threads: 4
    run:
        if threads in {4, 5, 6, 7}:
            print(SAMPLES, sorted(NAMES | FROZEN), dict(DEFAULTS), PATTERN.sub("-", "baab"))
        print(os.path.relpath(WHERE), os.path.relpath(PLACE), os.path.relpath(params.place))
        print(os.path.relpath(NESTED["place"][0]), NESTED["place"][1] == f"--to={os.getcwd()}/x y")
        print(Child(2).shown(), params.point.x, isinstance(params.point, Point), params.colour)
        print(Colour.RED is params.colour, sorted(params.computed), even(10), config, rule, threads)
        print(near.VALUE, far.VALUE, __import__("later").VALUE, resources.tmpdir == WHERE + "/t")
        print(rules.first.output[0], rules.first.output.log, rules.first.params[0])
        print(checkpoints.point.get(y="7").output[0], workflow.basedir == WHERE + "/workflow")
        print([word for word in shell(COMMAND, iterable=True)], flush=True)
        print([each.said for each in KINDS])
        print(environ is os.environ, "SECRET" in environ)
        shell("echo {threads} $OMP_NUM_THREADS {config[k]} {rules.first.output.log}")

checkpoint point:
    output: "{y}.point"
    shell: "touch {output}"

rule large:
    output: "large"
    run: print(len(TABLE))

rule fails:
    output: "fails"
    run:
        near.fail()

rule asks:
    output: "asks"
    run:
        print(workflow.scheduler)

rule locked:
    output: "locked"
    run:
        with LOCK: pass

rule exits:
    output: "exits"
    run: sys.exit(3)
"""

FILES = {
    "workflow/Snakefile": SNAKEFILE,
    "config.yaml": "k: v\n",
    "in/a.txt": "",
    "in/b.txt": "",
    "lib/near.py": "VALUE = 'near'\ndef fail():\n    raise KeyError('no such moon')\n",
    "lib/later.py": "VALUE = 'later'\n",
    "beside/far.py": "VALUE = 'far'\n",
}

PREPARE = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.dag import DAG
from snakemake.settings.types import DAGSettings, OutputSettings, Quietness, ResourceSettings
from snakemake_executor_plugin_osgpilot.errors import InputError
from snakemake_executor_plugin_osgpilot.staging.module_sources import module_files, own_folders
from snakemake_executor_plugin_osgpilot.staging.path_rewriting import PathRewriter
from snakemake_executor_plugin_osgpilot.staging.payload import HERE
from snakemake_executor_plugin_osgpilot.staging.run_body import Bodies

texts = {}

async def prepare(dag):
    bodies = Bodies(dag.workflow, Path.cwd() / "run")
    paths = PathRewriter(Path.cwd(), "/no/cache", (str(Path.cwd()),), sources=(str(Path.cwd()),))
    for job in dag.jobs:
        resources = type(job.resources)(fromdict={**job.resources, "tmpdir": HERE + "/t"})
        try:
            texts[str(job.rule)] = bodies.lines(job, resources, paths, packed=True)
        except InputError as error:
            texts[str(job.rule)] = str(error), ()
    files = module_files(own_folders(dag.workflow), Path.cwd())
    print(json.dumps([texts, {name: path.read_text() for name, path in files.items()}]))
    raise SystemExit

DAG.check_incomplete = prepare
with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    workflow = api.workflow(ResourceSettings(cores=4), snakefile=Path("workflow/Snakefile"))
    workflow.dag(DAGSettings(targets=set(sys.argv[1:]))).execute_workflow("local")
"""


def prepared(folder: Path, *wanted: str, seed: str = "0"):
    """The scripts of jobs with the files they need, by rule, and the modules that travel."""
    (folder / "run").mkdir(exist_ok=True)
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE, *wanted],
        cwd=folder, env={**os.environ, "PYTHONHASHSEED": seed, "SECRET": "s3cr3t"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


WANTED = ("good", "large", "fails", "asks", "locked", "exits")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    return tmp_path_factory.mktemp("here")


@pytest.fixture(scope="module")
def texts(here):
    return prepared(here, *WANTED)


def call(texts, rule, here, root, *given):
    """Run a job's script as wrapper.sh does where `root` stands for `/`, with the files `given`."""
    folder = Path(f"{root}{here}")
    for name, text in {**texts[1], **dict(given)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    script = texts[0][rule][0].replace(HERE, str(folder)).replace(ROOT_MARK, str(root))
    return subprocess.run(
        ["/bin/sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_a_body_sees_what_it_sees_here(texts, here, tmp_path):
    done = call(texts, "good", here, tmp_path)
    assert done.returncode == 0, done.stderr
    local = subprocess.run(
        [sys.executable, "-m", "snakemake", "-c4", "-q", "--force-use-threads", "good"],
        cwd=here, capture_output=True, text=True,
    )  # fmt: skip
    lines, theirs = done.stdout.splitlines(), local.stdout.splitlines()
    assert "7.point" not in local.stdout, "the checkpoint has not run, and fails the body locally"
    assert lines[:5] == theirs[:5]
    assert len(theirs) >= 5, local.stderr
    assert lines[5:8] == ["near far later True", "{x}.first {x}.log 3", "7.point True"]
    assert lines[8:] == ["['inner a b']", "['a', 'b']", "True False", "4 4 v {x}.log"]


def test_a_large_body_is_one_file_for_all_jobs(texts, here, tmp_path):
    script, (name,) = texts[0]["large"]
    assert len(script) < 100_000 < (here / name).stat().st_size
    assert (here / name).stat().st_mode & 0o777 == 0o600
    done = call(texts, "large", here, tmp_path, (name, (here / name).read_text()))
    assert done.stdout == "60000\n", done.stderr
    assert texts[0]["good"][1] == []


def test_a_body_is_pickled_alike_in_every_process(texts, here):
    assert prepared(here, *WANTED, seed="7") == texts


def test_no_snakefile_and_no_data_travels_with_the_modules(texts):
    assert sorted(texts[1]) == ["beside/far.py", "lib/later.py", "lib/near.py"]


def test_modules_beside_a_workflow_elsewhere_travel(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "pipeline"
    for name in ("a.py", "sub/b.py", ".hidden/c.py", "data.txt"):
        for folder in (here, there / "lib", tmp_path / "other"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()
    (here / "package").mkdir()
    (here / "package" / "__init__.py").touch()
    monkeypatch.chdir(here)
    paths = [str(folder) for folder in (there / "lib", here, tmp_path / "other")]
    monkeypatch.setattr(sys, "path", [*paths, *sys.path])
    workflow = SimpleNamespace(included=[str(there / "workflow" / "Snakefile")])
    assert own_folders(workflow) == paths[:2]
    assert sorted(module_files(own_folders(workflow), here)) == [
        *("a.py", "osgpilot-modules/0/a.py", "osgpilot-modules/0/sub/b.py"),
        "package/__init__.py",
    ]


def test_a_module_from_elsewhere_may_have_several_names(tmp_path, monkeypatch):
    """And modules that the user had cloudpickle pickle by value stay registered."""
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("several", "chosen"):
        (tmp_path / f"{name}.py").write_text("def value():\n    return 7\n")
    several, chosen = import_module("several"), import_module("chosen")
    for name, module in (("several", several), ("other_name", several), ("chosen", chosen)):
        monkeypatch.setitem(sys.modules, name, module)
    cloudpickle.register_pickle_by_value(chosen)
    workflow = SimpleNamespace(included=(), vanilla_globals={})
    rule = SimpleNamespace(name="r", workflow=workflow)
    text, _ = pickled(several.value, rule, PathRewriter(tmp_path, "/no/cache"))
    assert b"_make_function" in zlib.decompress(b64decode(text))
    assert cloudpickle.list_registry_pickle_by_value() == {"chosen"}
    cloudpickle.unregister_pickle_by_value(chosen)


def test_an_exception_has_the_line_of_the_snakefile(texts, here, tmp_path):
    done = call(texts, "fails", here, tmp_path)
    assert done.returncode == 1
    lines = SNAKEFILE.splitlines()
    line = lines.index("        near.fail()") + 1
    where = f'"{here}/workflow/Snakefile", line {line}'
    assert f"KeyError in file {where}:\n'no such moon'" in done.stderr
    assert f"  File {where}, in __rule_fails" in done.stderr


def test_what_is_not_known_there_is_named(texts, here, tmp_path):
    done = call(texts, "asks", here, tmp_path)
    assert done.returncode == 1
    assert "workflow has no 'scheduler' where the job runs" in done.stderr


def test_a_global_that_cannot_travel_is_named(texts):
    assert texts[0]["locked"][0].startswith(
        "rule locked: its `run:` uses `LOCK`, which cannot travel to where the job runs (cannot "
        "pickle '_thread.lock' object): "
    )


def test_the_exit_status_of_a_body_counts(texts, here, tmp_path):
    assert call(texts, "exits", here, tmp_path).returncode == 3


def content(script):
    return json.loads(next(word for word in shlex.split(script) if word.startswith('{"')))


def test_another_python_is_refused_in_one_line(texts, tmp_path):
    mine = content(texts[0]["good"][0])
    (tmp_path / FILE).write_text(json.dumps({**mine, "python": "2.7"}))
    text = files("snakemake_executor_plugin_osgpilot.staging").joinpath("run_entry.py").read_text()
    done = subprocess.run(
        [sys.executable, "-c", text, FILE], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert re.fullmatch(
        r"osgpilot: rule good: its image has Python \d\.\d+, and Snakemake was started with 2\.7: "
        r"name an image made by `osgpilot runtime build`, or none\n",
        done.stderr,
    )


def test_cloudpickle_is_made_from_its_source_where_it_is_missing(monkeypatch):
    source = Path(cloudpickle.__file__).with_name("cloudpickle.py").read_bytes()
    names = ("cloudpickle", "cloudpickle.cloudpickle")
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(run_entry, "find_spec", lambda name: None)
    run_entry.have_cloudpickle(b64encode(zlib.compress(source)).decode())
    made = sys.modules["cloudpickle.cloudpickle"]
    assert made.subimport("os") is os
    assert made is not cloudpickle.cloudpickle


def test_the_entry_contains_nothing_that_the_wrapper_replaces():
    text = files("snakemake_executor_plugin_osgpilot.staging").joinpath("run_entry.py").read_text()
    assert HERE not in text
    assert ROOT_MARK not in text
    assert ast.parse(text)


def test_pickles_have_nothing_of_the_environment(texts):
    found = content(texts[0]["good"][0])
    for name in ("body", "job", "linemaps"):
        assert b"s3cr3t" not in zlib.decompress(b64decode(found[name]))


def test_a_body_without_absolute_paths_asks_for_none(texts):
    """Names of Snakefiles, for messages, need no absolute path."""
    assert ROOT_MARK in texts[0]["good"][0]
    assert ROOT_MARK not in texts[0]["fails"][0]
    assert HERE in content(texts[0]["fails"][0])["marks"]
