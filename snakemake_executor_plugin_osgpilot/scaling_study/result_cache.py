"""Cache of earlier runs, so that a long comparison can be resumed.

What a run came to depends on the task and on the code. Of the code only those modules count that
the run imports, so that a change of our planner leaves the peers' runs as they are.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import Any

from .compare import Measured, Task
from .policies.registry import OURS, RULES, Choice
from .scenarios import scenario

_PACKAGE = __package__.partition(".")[0]
_WORLD = f"{_PACKAGE}.simulator.world"
_WORKLOADS = f"{__package__}.scenarios"


class ResultCache:
    """Runs in a file of JSON lines, to which every new one is added.

    A line that is cut short, as by a kill, counts as none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._runs = dict(_read(path))
        path.parent.mkdir(parents=True, exist_ok=True)

    def get(self, task: Task) -> Measured | None:
        """Return what a task came to, with the code as it is."""
        return self._runs.get(_key(task))

    def add(self, run: Measured) -> None:
        """Remember a run."""
        key = _key(run.task)
        self._runs[key] = run
        figures = {name: value for name, value in run._asdict().items() if name != "task"}
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps({"key": key, "task": run.task, "figures": figures}) + "\n")


def _read(path: Path) -> Iterator[tuple[str, Measured]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            record = json.loads(line)
            yield record["key"], Measured(_task(*record["task"]), **record["figures"])
        except (ValueError, TypeError, KeyError):
            continue


def _task(scenario: str, choice: Any, seed: int, jobs: int | None) -> Task:
    rule, knobs = choice
    return Task(scenario, Choice(rule, tuple((name, value) for name, value in knobs)), seed, jobs)


def _key(task: Task) -> str:
    key = json.dumps([digest(task.choice.rule), scenario(task.scenario).stamp, *task])
    return hashlib.sha256(key.encode()).hexdigest()


@cache
def digest(rule: str) -> str:
    """Return a digest of the code that a run by this rule depends on."""
    found = hashlib.sha256()
    for name, source in sorted(modules(rule).items()):
        found.update(name.encode() + b"\0" + source + b"\0")
    return found.hexdigest()


def modules(rule: str) -> dict[str, bytes]:
    """Return the modules of the package that a run by this rule imports, with their sources."""
    planner = f"{_PACKAGE}.scaling.planner.planner" if rule == OURS else RULES[rule].__module__
    found: dict[str, bytes] = {}
    for module in (_WORLD, _WORKLOADS, planner):
        _collect(module, found)
    return found


def _collect(module: str, found: dict[str, bytes]) -> None:
    """Add the source of a module and of all that it imports of this package."""
    if module in found or not module.startswith(f"{_PACKAGE}."):
        return
    try:
        spec = find_spec(module)
    except ModuleNotFoundError:
        spec = None  # a name within a module
    if spec is None or spec.origin is None:
        return
    found[module] = Path(spec.origin).read_bytes()
    for node in ast.walk(ast.parse(found[module])):
        if isinstance(node, ast.ImportFrom):
            named = resolve_name("." * node.level + (node.module or ""), spec.parent)
            for imported in (named, *(f"{named}.{name.name}" for name in node.names)):
                _collect(imported, found)
