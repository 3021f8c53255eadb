"""Print the tests that a change concerns, one path a line.

Those are the tests that changed, and those that import a module that changed. It compares the
checkout with `main`, or with the last commit on `main` itself.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

PACKAGE = "snakemake_executor_plugin_osgpilot"


def changed_files() -> set[str]:
    """Return the paths that differ from where this branch left `main`, or are new."""
    at, main = (_git("rev-parse", name).strip() for name in ("HEAD", "main"))
    since = "HEAD" if at == main else _git("merge-base", at, main).strip()
    listed = _git("diff", "--name-only", since) + _git("ls-files", "--others", "--exclude-standard")
    return set(listed.splitlines())


def concerned(changed: set[str], tests: dict[str, str]) -> Iterator[str]:
    """Yield the tests that `changed` concerns; `tests` are their texts by path."""
    modules = {_module(path) for path in changed if path.startswith(f"{PACKAGE}/")}
    for path, text in tests.items():
        if path in changed or not modules.isdisjoint(_imported(text)):
            yield path


def _module(path: str) -> str:
    """Return the module of a file; one that is no module belongs to its folder."""
    pure = PurePosixPath(path)
    parts = pure.with_suffix("").parts if pure.suffix == ".py" else pure.parts[:-1]
    return ".".join(parts).removesuffix(".__init__")


def _imported(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{each.name}" for each in node.names)


def _git(*argv: str) -> str:
    return subprocess.check_output(["git", *argv], text=True)


def main() -> None:
    found = {str(path): path.read_text() for path in Path("tests").glob("**/test_*.py")}
    sys.stdout.writelines(f"{path}\n" for path in sorted(concerned(changed_files(), found)))


if __name__ == "__main__":
    main()
