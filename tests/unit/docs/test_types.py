"""Values have types: `Any` stays where a value can be anything."""

from __future__ import annotations

import ast

from documentation import ROOT

PACKAGE = ROOT / "snakemake_executor_plugin_osgpilot"

LINES_MAX = 130
"""Beyond that, look for those that could be a Protocol of `snakemake_types.py`, a TypedDict, or
`object` with a check."""


def lines_with_any(text: str) -> set[int]:
    """Return the lines of a module whose annotations name `Any`."""
    named = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
    return {node.lineno for node in named if node.id == "Any"}


def test_few_values_can_be_anything():
    counts = {path: len(lines_with_any(path.read_text())) for path in PACKAGE.rglob("*.py")}
    most = sorted(counts, key=lambda path: -counts[path])[:5]
    assert sum(counts.values()) <= LINES_MAX, [(path.name, counts[path]) for path in most]


def test_lines_are_counted_once_and_imports_are_not():
    text = "from typing import Any\n\ndef of(one: dict[str, Any]) -> list[Any]: ...\n"
    assert lines_with_any(text) == {3}
