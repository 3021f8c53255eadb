"""Patches of Snakemake and uses of its private parts stay in one module."""

import ast
import logging
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.scheduling.job_scheduler import JobScheduler

import snakemake_executor_plugin_osgpilot
from snakemake_executor_plugin_osgpilot.common import snakemake_compat
from snakemake_executor_plugin_osgpilot.common.snakemake_compat import (
    forget_running,
    reindex_running,
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


class Group:
    """A group of jobs that, as Snakemake's, may be merged with another while it runs."""

    def __init__(self, *jobs):
        self.jobs = set(jobs)

    def __hash__(self):
        return hash(frozenset(self.jobs))

    def __eq__(self, other):
        return self.jobs == other.jobs


@pytest.fixture
def scheduling():
    """Return a workflow with Snakemake's own scheduler, but no loop that drives it."""
    scheduler = object.__new__(JobScheduler)
    scheduler.running, scheduler.freed = set(), []
    scheduler._lock, scheduler._open_jobs = threading.RLock(), threading.Semaphore(0)
    scheduler._free_resources = scheduler.freed.append
    return SimpleNamespace(scheduler=scheduler, dag=SimpleNamespace(_running=set()))


def start(workflow, job):
    workflow.scheduler.running.add(job)
    workflow.dag._running.add(job)


def test_a_group_that_was_merged_while_it_ran_is_found_when_it_ends(scheduling):
    group = Group("a")
    start(scheduling, group)
    group.jobs.add("b")
    reindex_running(scheduling, group)
    scheduling.scheduler.running.remove(group)
    scheduling.dag._running.remove(group)
    assert not scheduling.scheduler.running
    assert not scheduling.dag._running


@pytest.mark.parametrize("forgets_first", [True, False])
def test_a_group_handed_over_twice_ends_once(scheduling, forgets_first):
    first, again = Group("a"), Group("a", "b")
    start(scheduling, first)
    first.jobs.add("b")
    start(scheduling, again)
    if forgets_first:
        forget_running(scheduling, [again])
    reindex_running(scheduling, first)
    scheduling.scheduler.running.remove(first)
    scheduling.dag._running.remove(first)
    if not forgets_first:
        forget_running(scheduling, [again])
    assert not scheduling.scheduler.running
    assert not scheduling.dag._running
    assert scheduling.scheduler.freed == [again]
