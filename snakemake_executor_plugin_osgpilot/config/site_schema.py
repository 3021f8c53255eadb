"""Parse a site file, validate it by its JSON Schema, and find the line of each error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from yaml import Node


def schema_path() -> Path:
    """Return the path of the JSON Schema of a site file; editors use it as well."""
    return Path(__file__).with_name("schema.json")


@cache
def schema() -> dict[str, object]:
    """Return the JSON Schema of a site file."""
    loaded: dict[str, object] = json.loads(schema_path().read_text(encoding="utf-8"))
    return loaded


def line_of(path: Path, keys: Iterable[object]) -> int:
    """Return the line of a value in a site file, or of its parent if it is missing, from 1."""
    return _line(read(path)[1], keys)


def read(path: Path) -> tuple[dict[str, Any], Node]:
    """Return content and tree of a YAML file. Raises `InputError` with file and line."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text in UTF-8"
        raise InputError(f"site file {path}: {reason}; `osgpilot site init` writes one") from error
    try:
        tree, content = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "unknown line"
        problem = getattr(error, "problem", None) or "not YAML"
        raise InputError(f"site file {path}, {where}: {problem}") from error
    if not isinstance(content, dict) or tree is None:
        raise InputError(f"site file {path}, line 1: expected `key: value` lines")
    return content, tree


def complaints(path: Path, content: Mapping[str, object], tree: Node) -> list[str]:
    """Return the schema errors of a site file, one line each, the most important first."""
    from jsonschema import Draft202012Validator

    problems = sorted(Draft202012Validator(schema()).iter_errors(content), key=_by_importance)
    found = [_complaint(problem, tree) for problem in problems]
    found += [
        f"line {_line(tree, keys)}: `{'.'.join(map(str, keys))}` has a line break or another "
        "control character in it"
        for keys in _not_plain(content)
    ]
    return [f"site file {path}, {what}" for what in found]


def _not_plain(node: object, keys: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Return the keys of multi-line texts, which only shell lines (`setup`) may be.

    A JSON Schema pattern cannot check that: `$` also matches before a final line break.
    """
    if isinstance(node, str) and _CONTROL.search(node):
        yield keys
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            if key != "setup":
                yield from _not_plain(value, (*keys, key))


_CONTROL = re.compile(r"[\0-\x1f\x7f\x85\u2028\u2029]")


def _by_importance(error: ValidationError) -> tuple[bool, int, str]:
    """Sort errors: unknown keys first, as they explain missing ones."""
    unknown = error.validator == "additionalProperties"
    return not unknown, -len(error.absolute_path), str(error.message)


def _complaint(error: Any, tree: Node) -> str:
    keys = list(error.absolute_path)
    if error.validator == "additionalProperties":
        unknown = sorted(set(error.instance) - set(error.schema.get("properties", {})))
        keys.append(unknown[0])
        message = f"is not known; known here: {', '.join(sorted(error.schema['properties']))}"
    elif error.validator == "required":
        keys.append(next(k for k in error.validator_value if k not in error.instance))
        message = "is missing"
    else:
        message = str(error.message)
        if about := error.schema.get("description"):
            message += f" ({about})"
    dotted = ".".join(map(str, keys))
    return f"line {_line(tree, keys)}: `{dotted}` {message}"


def _line(node: Node, keys: Iterable[object]) -> int:
    """Return the line of the deepest existing node along `keys`, from 1."""
    line: int = node.start_mark.line + 1
    for key in keys:
        if isinstance(node.value, list) and isinstance(key, int):
            node = node.value[key]
            line = node.start_mark.line + 1
            continue
        for name, value in node.value:
            if name.value == key:
                node, line = value, name.start_mark.line + 1
                break
        else:
            break
    return line
