"""Pickle functions of a Snakefile by value, with what they refer to."""

from __future__ import annotations

import base64
import io
import os
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

import cloudpickle

from ..common.snakemake_compat import plain_files, rule_proxies
from ..common.snakemake_types import Rule, Workflow
from ..errors import InputError
from .module_sources import installed_folders, own_folders
from .path_rewriting import PathRewriter
from .payload import HERE
from .portable_pickle import PortablePickler
from .transfer_policy import is_below

_OF_A_WORKFLOW = (
    *("basedir", "main_snakefile", "workdir_init", "configfiles"),
    *("cores", "nodes", "attempt", "overwrite_config"),
)
"""Attributes of `workflow` that a body may read."""

_NAME = re.compile(r"\{\s*([^\W\d]\w*)")
"""A name in a string that `shell()` or `format()` fill in."""

_DYNAMIC = {"globals", "eval", "exec"}
"""Functions through which a body can use any name of its Snakefile."""


def pickled(value: object, rule: Rule, paths: PathRewriter) -> tuple[str, BodyPickler]:
    """Return `value` as text. Raises `InputError` naming the rule if it cannot travel."""
    buffer = io.BytesIO()
    pickler = BodyPickler(buffer, rule.workflow, paths)
    with _elsewhere_by_value(rule.workflow):
        try:
            pickler.dump(value)
        except Exception as error:
            raise InputError(
                f"rule {rule.name}: its `run:` uses {_culprit(pickler, rule, paths)}, which cannot "
                f"travel to where the job runs ({_line(error)}): make it inside of `run:`, or "
                "make the rule a local rule"
            ) from error
    return base64.b64encode(zlib.compress(buffer.getvalue(), 9)).decode(), pickler


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _culprit(pickler: BodyPickler, rule: Rule, paths: PathRewriter) -> str:
    """Return the name of the first global that cannot be pickled."""
    for name, value in pickler.used.items():
        if isinstance(value, FunctionType):
            continue
        try:
            BodyPickler(io.BytesIO(), rule.workflow, paths).dump(value)
        except Exception:
            return f"`{name}`"
    return "a value"


_NO_FILE = "<dynamic-code>"
"""The file that cloudpickle says code is from."""


class SourceName(str):
    """The name of a Snakefile in code, for messages: there it is in the job's folder."""


class BodyPickler(PortablePickler, cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles functions of a Snakefile by value, and objects of Snakemake as stand-ins.

    The result is the same in every process, as a resumed run compares it.
    `used` are the globals of the functions, `snakefiles` where these are from, `files` those that
    texts name by absolute paths. Stand-ins have persistent ids of two values.
    """

    def __init__(self, file: io.BytesIO, workflow: Workflow, paths: PathRewriter) -> None:
        super().__init__(file, self._named, protocol=5)
        self._workflow, self._paths = workflow, paths
        self._snakemakes: Mapping[str, object] = workflow.vanilla_globals
        self.used: dict[str, object] = {}
        self.snakefiles: dict[str, None] = {}
        self.files: dict[str, None] = {}
        self._stand_ins: dict[int, tuple[object, object]] = {}

    def persistent_id(self, value: object) -> object:
        """Return what stands for `value`, None if it is pickled as it is."""
        kind = type(value)
        if isinstance(value, SourceName):
            return self.parts(moved(value, self._paths))
        if not _is_snakemakes(kind):
            return super().persistent_id(value)
        if id(value) not in self._stand_ins:
            self._stand_ins[id(value)] = (value, _stand_in(value, kind.__name__))
        return self._stand_ins[id(value)][1]

    def _named(self, text: str) -> str:
        there = self._paths.marked(text)
        if there != text:
            self.files |= dict.fromkeys(self._paths.value(text)[1])
        return there

    def reducer_override(self, value: object) -> Any:
        """Return how a function, a class or a path is pickled."""
        if value is os.environ:
            # that of the job; a copy would take along every secret of this process
            return getattr, (os, "environ")
        if (reduced := super().reducer_override(value)) is not NotImplemented:
            return reduced
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, CodeType):
            reducers: Any = self.dispatch_table
            made, given = reducers[CodeType](value)
            # messages name the Snakefile
            name = SourceName(value.co_filename)
            return made, tuple(name if each == _NO_FILE else each for each in given)
        if isinstance(value, type):
            with _without_module(value):
                return _with_stable_id(value, self._by_value(value))
        return self._by_value(value)

    def _by_value(self, value: object) -> Any:
        return cloudpickle.Pickler.reducer_override(self, value)

    def _function(self, function: FunctionType) -> object:
        with _without_module(function):
            reduced = self._by_value(function)
        if reduced is NotImplemented or len(reduced) < 3:
            return reduced
        used = reduced[2][1]["__globals__"]
        if function.__globals__.get("workflow") is self._workflow:
            self.snakefiles[function.__code__.co_filename] = None
            # the module of Snakemake in which Snakefiles are evaluated
            reduced[1][1].pop("__file__", None)
            used |= _mentioned(function, used, self._snakemakes)
        self.used |= used
        return reduced


@contextmanager
def _without_module(definition: object) -> Iterator[None]:
    """Have cloudpickle see that a function or class is from a Snakefile.

    These have no module (Snakemake 9.27.1), and are found in `snakemake.workflow`, whose names
    Snakefiles share: there they would be looked for when the body is loaded.
    """
    if definition.__module__ is not None:
        yield
        return
    definition.__module__ = "__main__"
    try:
        yield
    finally:
        definition.__module__ = None


def _with_stable_id(definition: type, reduced: object) -> object:
    """Return `reduced` with an id of the class that does not change from process to process."""
    if reduced is NotImplemented or not isinstance(reduced, tuple):
        return reduced
    made, arguments, *rest = reduced
    stable = tuple(
        _stable_id(definition)
        if isinstance(each, str) and re.fullmatch("[0-9a-f]{32}", each)
        else each
        for each in arguments
    )
    return (made, stable, *rest)


_stable_ids: WeakKeyDictionary[type, str] = WeakKeyDictionary()
_names_seen: Counter[str] = Counter()


def _stable_id(definition: type) -> str:
    """Return the name of a class, with a number for others of the same name.

    A class that a body and the values of its jobs share has to be one there, too.
    """
    if definition not in _stable_ids:
        name = f"{definition.__module__}.{definition.__qualname__}"
        _stable_ids[definition] = f"{name} {_names_seen[name]}"
        _names_seen[name] += 1
    return _stable_ids[definition]


def _mentioned(
    function: FunctionType, used: Mapping[str, object], snakemakes: Mapping[str, object]
) -> dict[str, object]:
    """Return the globals that strings of a function mention, as in `shell("echo {SAMPLES}")`."""
    there = function.__globals__
    own = {name for name, value in there.items() if snakemakes.get(name, there) is not value}
    own -= {*function.__code__.co_varnames}
    if _DYNAMIC & {*_names(function.__code__)}:
        return {name: there[name] for name in sorted(own) if not name.startswith("__")}
    found: dict[str, object] = {}
    texts = [*_texts(function.__code__), *(v for v in used.values() if isinstance(v, str))]
    while texts:
        for name in _NAME.findall(texts.pop()):
            if name in (own | {"workflow"}) and name not in found and name not in used:
                found[name] = there[name]
                texts += [there[name]] if isinstance(there[name], str) else []
    return found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _names(each)


def _texts(code: CodeType) -> Iterator[str]:
    for each in code.co_consts:
        if isinstance(each, str):
            yield each
        elif isinstance(each, CodeType):
            yield from _texts(each)


def moved(text: str, paths: PathRewriter) -> str:
    """Return `text` with the working folder, and copies of sources, as in the job's folder."""
    text = text.replace(f"{paths.copies}/file/", "/")
    here = str(paths.workdir)
    if is_below(here, paths.shared) or here == "/" or here not in text:
        return text
    return re.sub(rf"(?<![\w./-]){re.escape(here)}(?![\w.-])", HERE, text)


_STAND_INS = {
    ("snakemake.workflow", "Workflow"),
    ("snakemake.common", "Rules"),
    ("snakemake.rules", "RuleProxy"),
    ("snakemake.rules", "Rule"),
    ("snakemake.checkpoints", "Checkpoints"),
    ("snakemake.checkpoints", "CheckpointsProxy"),
    ("snakemake.checkpoints", "Checkpoint"),
    ("snakemake.storage", "StorageRegistry"),
}


def _is_snakemakes(kind: type) -> bool:
    return (kind.__module__, kind.__name__) in _STAND_INS


def _stand_in(value: Any, kind: str) -> tuple[str, dict[str, object]]:
    """Return the name of an object of Snakemake in messages, and what a body may read of it."""
    if kind == "Workflow":
        return "workflow", {name: each for name, each in _settings(value) if _is_plain(each)}
    if kind == "Rules":
        return "rules", rule_proxies(value)
    if kind in ("Checkpoints", "CheckpointsProxy"):
        each = {name: one for name, one in vars(value).items() if hasattr(one, "get")}
        return "checkpoints", {name: one for name, one in each.items() if hasattr(one, "rule")}
    if kind == "StorageRegistry":
        return "storage", {}
    if kind == "Rule":
        return f"rule {value.name}", {"name": value.name}
    rule = value.rule
    if kind == "Checkpoint":
        return f"checkpoints.{rule.name}", {"output": plain_files(rule.output)}
    known = {name: getattr(value, name) for name in ("input", "output", "log", "params")}
    plain = {name: each for name, each in known.items() if _is_known(each)}
    return f"rules.{rule.name}", {
        name: each if name == "params" else plain_files(each) for name, each in plain.items()
    }


def _settings(workflow: object) -> Iterator[tuple[str, object]]:
    for name in _OF_A_WORKFLOW:
        # some raise if the user did not set them
        with suppress(Exception):
            yield name, getattr(workflow, name)


def _is_known(values: Iterable[object]) -> bool:
    """Return True if no value of a rule depends on its jobs."""
    return not any(callable(each) or hasattr(each, "callable") for each in values)


def _is_plain(value: object) -> bool:
    if isinstance(value, Mapping):
        return all(_is_plain(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | float)


@contextmanager
def _elsewhere_by_value(workflow: Workflow) -> Iterator[None]:
    """Pickle by value what modules define that are neither installed nor travel as sources."""
    known = (*installed_folders(), *own_folders(workflow))
    imported = sys.modules
    registered = {}
    for module in _modules_elsewhere(known, len(imported)):
        # a module may be known by another name than its own, and by several
        if module.__name__ not in cloudpickle.list_registry_pickle_by_value():
            with suppress(ValueError):
                cloudpickle.register_pickle_by_value(module)
                registered[module.__name__] = module
    try:
        yield
    finally:
        for module in registered.values():
            cloudpickle.unregister_pickle_by_value(module)


@lru_cache(maxsize=4)
def _modules_elsewhere(known: tuple[str, ...], _count: int) -> list[ModuleType]:
    """Return the modules from other folders than the `known` ones.

    This is looked up for each job, so again only after another module was imported.
    """
    modules = {**sys.modules}
    files = ((name, getattr(module, "__file__", None)) for name, module in sorted(modules.items()))
    return [
        modules[name]
        for name, file in files
        if isinstance(file, str) and name != "__main__" and not is_below(file, known)
    ]
