"""Patches of Snakemake and uses of its private parts stay in one module."""

import ast
import logging
import os
import threading
from pathlib import Path, PurePath
from types import SimpleNamespace
from typing import ClassVar

import pytest
from dags import workflow_of
from snakemake.deployment.conda import Conda
from snakemake.scheduling.job_scheduler import JobScheduler

import snakemake_executor_plugin_osgpilot
from snakemake_executor_plugin_osgpilot.common import snakemake_compat
from snakemake_executor_plugin_osgpilot.common.snakemake_compat import (
    forget_running,
    keep_groups_apart,
    need_no_conda,
    settings_given,
)

PACKAGE = Path(snakemake_executor_plugin_osgpilot.__file__).parent
MARKED = {"common/snakemake_compat.py", "staging/run_entry.py"}
"""The second runs on the execution point and cannot import the first."""

NAMED_TUPLE = {"_asdict", "_fields", "_make", "_replace"}


def breaches(text: str) -> list[str]:
    """Return the lines of a module that patch Snakemake, or use private parts of other objects."""
    tree = ast.parse(text)
    imported = set(_imported(tree))
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    own |= {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute) and _root(n) == "self"}
    found = [node for node in ast.walk(tree) if _patches(node, imported) or _pries(node, own)]
    lines = text.splitlines()
    return [lines[number - 1].strip() for number in sorted({node.lineno for node in found})]


def _imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                if _is_snakemakes(name.name):
                    yield name.asname or name.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and _is_snakemakes(node.module or ""):
            yield from (name.asname or name.name for name in node.names)


def _is_snakemakes(module):
    ours = module.startswith("snakemake_executor_plugin_osgpilot")
    return module.startswith("snakemake") and not ours


def _root(node):
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _patches(node, imported):
    if isinstance(node, ast.Assign | ast.Delete):
        return any(_root(t) in imported and not isinstance(t, ast.Name) for t in node.targets)
    if isinstance(node, ast.AugAssign | ast.AnnAssign):
        return _root(node.target) in imported and not isinstance(node.target, ast.Name)
    if not isinstance(node, ast.Call):
        return False
    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
    if name in ("setattr", "delattr"):
        return _root(node.args[0]) in imported
    # a stream of a logger, modules that were imported by Snakemake
    return name == "setStream" or "sys.modules" in ast.unparse(node)


def _pries(node, own):
    if isinstance(node, ast.Attribute):
        private = _is_private(node.attr) or node.attr == "plugins"
        known = _root(node.value) in ("self", "cls", "os") or node.attr in own | NAMED_TUPLE
        return private and not known
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr"):
        name = node.args[1]
        return isinstance(name, ast.Constant) and _is_private(name.value)
    return False


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize(
    "text",
    [
        "from snakemake import cli\ncli.main = print",
        "import snakemake.io as io\nsetattr(io, 'x', 1)",
        "from snakemake.shell import shell\nshell._process_suffix",
        "from snakemake_interface_executor_plugins.registry import R\nR().plugins['x'] = 1",
        "plugins = registry.plugins\nplugins['x'] = 1",
        "import sys\nvars(sys.modules['snakemake.io'])['x'] = 1",
        "script._execute_cmd = print",
        "getattr(job, '_evaluator', None)",
        "handler.setStream(mine)",
    ],
)
def test_search_finds_patches_and_private_names(text):
    assert breaches(text)


def test_search_ignores_ordinary_code():
    assert not breaches("from snakemake import cli\nx = cli.main()\nself._a._b = x._replace(y=1)")


def test_only_the_marked_modules_patch_snakemake():
    modules = {p.relative_to(PACKAGE).as_posix(): p.read_text() for p in PACKAGE.rglob("*.py")}
    assert {name for name, text in modules.items() if breaches(text)} == MARKED


def test_a_script_without_execute_cmd_is_never_started():
    started = []
    script = SimpleNamespace(
        get_preamble=str, write_script=lambda *_: None, execute_script=started.append
    )
    with pytest.raises(AttributeError, match="unsupported Snakemake version"):
        snakemake_compat.rendered_script(script, "path")
    assert started == []


def test_a_preamble_of_another_snakemake_is_refused():
    preamble = "import sys; sys.path.extend([]); snakemake = load(b'')"
    with pytest.raises(ValueError, match="unsupported Snakemake version"):
        snakemake_compat.relocated_preamble(preamble, [], repr)


def test_a_preamble_keeps_its_lines_and_other_text():
    preamble = (
        "# ü\nimport sys;sys.path.extend(['ü', \"it's\"]);s = pickle.loads(b'I1\\n.');y\n# end"
    )
    moved = snakemake_compat.relocated_preamble(preamble, ["/a"], lambda value: f"load({value})")
    assert moved == "# ü\nimport sys;sys.path.extend(['/a']);s = load(1);y\n# end"


def test_a_logger_that_does_not_write_to_a_terminal_stays_as_it_is(tmp_path):
    logger = logging.Logger("test")
    with (tmp_path / "log").open("w") as stream:
        logger.addHandler(logging.StreamHandler(stream))
        assert snakemake_compat.wrap_terminal_stream(logger, list) is None
        assert logger.handlers[0].stream is stream


class OtherPlugin:
    """Another executor plugin, as far as its settings are read."""

    settings_cls = dict

    def get_settings(self, args):
        return {"given": args}


def test_settings_of_another_plugin_are_those_of_the_command_line():
    place = {"__name__": "snakemake.cli", "ask": lambda: settings_given(OtherPlugin())}
    exec("def args_to_api(args, parser):\n    return ask()", place)
    assert place["args_to_api"]("theirs", None) == {"given": "theirs"}


def test_without_a_command_line_another_plugin_has_its_defaults():
    assert settings_given(OtherPlugin()) == {}


def test_snakemake_still_has_the_arguments_where_they_are_looked_for():
    from snakemake import cli

    assert "args" in cli.args_to_api.__code__.co_varnames


GROUPED = """
rule all:
    input: expand("out/{n}", n=range(4))
rule one:
    output: "out/{n}"
    group: "g"
    shell: "touch {output}"
"""


@pytest.fixture
def dag(tmp_path, monkeypatch):
    """Return Snakemake's own DAG of a workflow with groups."""
    monkeypatch.chdir(tmp_path)
    with workflow_of(GROUPED, group_components={"g": 2}) as workflow:
        yield workflow.dag


def made_again(dag):
    dag.update_groups()
    dag.update_ready()


def groups_of(dag):
    """Return the members of each group that is ready, by jobid."""
    return sorted(
        sorted(job.jobid for job in each.jobs) for each in dag.ready_jobs if each.is_group()
    )


def test_groups_are_not_merged_while_they_are_ready(dag):
    keep_groups_apart(dag)
    before = groups_of(dag)
    for _ in range(3):
        made_again(dag)
    assert groups_of(dag) == before
    assert list(map(len, before)) == [2, 2]


def test_groups_that_were_merged_before_are_made_from_scratch(dag):
    for _ in range(3):
        made_again(dag)
    assert max(map(len, groups_of(dag))) > 2, (
        "Snakemake separates groups itself: the workaround is not needed"
    )
    keep_groups_apart(dag)
    assert list(map(len, groups_of(dag))) == [2, 2]
    assert all(job in dag.ready_jobs for job in list(dag.ready_jobs))


def test_jobs_that_a_checkpoint_adds_are_not_grouped_with_those_that_run(dag):
    added = sorted(dag._needrun, key=lambda job: str(job.output))[-2:]
    with_added(dag, added)
    assert groups_of(dag) == [sorted(job.jobid for job in added)]


def test_a_job_that_a_checkpoint_adds_waits_for_one_of_its_group_that_runs(dag):
    first, *_, added = sorted(dag._needrun - dag.targetjobs, key=lambda job: str(job.output))
    dag._dependencies[added][first].update(first.output)
    with_added(dag, [added])
    assert groups_of(dag) == []
    assert [job.jobid for job in dag.get_job_group(added)] == [added.jobid]


def with_added(dag, added):
    """Let groups run, and have jobs needed that were not."""
    dag._needrun.difference_update(added)
    dag._ready_jobs.clear()
    keep_groups_apart(dag)
    running = {job for job in dag.ready_jobs if job.is_group()}
    assert running
    dag.register_running(running)
    dag._needrun.update(added)
    for job in added:
        dag._n_until_ready[job] = len(dag._dependencies[job])
    for _ in range(3):
        made_again(dag)
    assert all(dag.get_job_group(job) is group for group in running for job in group)


def test_a_job_that_was_handed_over_again_is_forgotten_and_frees_its_resources():
    scheduler = object.__new__(JobScheduler)
    scheduler.running, scheduler.resources = {"first", "again"}, {"_cores": 3}
    scheduler._lock, scheduler._open_jobs = threading.RLock(), threading.Semaphore(0)
    again = Again("again")
    workflow = SimpleNamespace(scheduler=scheduler, dag=SimpleNamespace(_running={"first", again}))
    forget_running(workflow, [again])
    assert scheduler.running == workflow.dag._running == {"first"}
    assert scheduler.resources == {"_cores": 5}
    assert scheduler._open_jobs.acquire(blocking=False)


class Again(str):
    """A job that takes two cores."""

    __slots__ = ()
    scheduler_resources: ClassVar = {"_cores": 2}


def test_snakemake_does_without_conda(monkeypatch):
    monkeypatch.setattr(Conda, "instances", {})
    monkeypatch.setenv("PATH", "/nowhere")
    need_no_conda()
    assert Conda(check=True).platform in ("linux-64", f"linux-{os.uname().machine}")
    # a workflow asks before each local rule
    assert Conda().prefix_path
    image = PurePath("nowhere.sif")
    need_no_conda(SimpleNamespace(_container_img=image))
    assert Conda(container_img=image, check=True).platform == Conda().platform


def test_the_conda_of_this_machine_is_asked_if_there_is_one(monkeypatch, tmp_path):
    (tmp_path / "conda").write_text("#!/bin/sh\n")
    (tmp_path / "conda").chmod(0o755)
    monkeypatch.setattr(Conda, "instances", {})
    monkeypatch.setenv("PATH", str(tmp_path))
    need_no_conda()
    assert Conda.instances == {}
