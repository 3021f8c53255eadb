"""The page for contributors names files that exist, and stays short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documentation import ROOT, blocks

PAGE = ROOT / "docs/dev/architecture.md"
PACKAGE = ROOT / "snakemake_executor_plugin_osgpilot"
UNIT = ROOT / "tests/unit"
WORDS_MAX, FILES_MAX, CHANGES_MIN = 2500, 2, 20
LISTS = re.compile(r"^\w+(, \w+)* {2,}\w", re.MULTILINE)
FILE = re.compile(r"`([\w/.-]+/[\w.-]+)`")


def changes() -> dict[str, list[str]]:
    """Return the changes of the table "Where do I change …", each with the files that it names."""
    section = PAGE.read_text().partition("## Where do I change …")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
    return {change: FILE.findall(" ".join(files)) for change, *files in rows[2:]}


def located(name: str) -> Path:
    """Return the path of a file or folder as the page names it."""
    return ROOT / name if name.startswith("tests/") else PACKAGE / name


def test_the_table_has_at_least_twenty_changes():
    assert len(changes()) >= CHANGES_MIN


@pytest.mark.parametrize("change", changes())
def test_a_change_names_one_or_two_files_that_exist(change):
    files = changes()[change]
    assert 1 <= len(files) <= FILES_MAX
    assert all(located(name).is_file() for name in files), files


def test_the_tree_names_every_folder_of_the_package():
    tree = next(block.text for block in blocks(PAGE) if block.text.startswith(PACKAGE.name))
    top = set(re.findall(r"^  (\w+)/", tree.partition("\ntests/")[0], re.MULTILINE))
    assert top == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


@pytest.mark.parametrize(
    "init",
    sorted(path for path in PACKAGE.rglob("__init__.py") if LISTS.search(path.read_text())),
    ids=lambda init: init.parent.relative_to(PACKAGE).as_posix(),
)
def test_a_folder_that_lists_its_modules_lists_all(init):
    listed = set(re.findall(r"\w+(?:\.sh)?", init.read_text()))
    modules = {path.stem for path in init.parent.glob("*.py")} - {"__init__"}
    scripts = {path.name for path in init.parent.glob("*.sh")}
    assert (modules | scripts) - listed == set()


def test_unit_tests_mirror_the_package():
    folders = {path.parent.relative_to(UNIT) for path in UNIT.glob("**/test_*.py")}
    for folder in folders - {Path("docs"), Path("faults")}:
        assert (PACKAGE / folder / "__init__.py").exists(), f"tests/unit/{folder} mirrors nothing"


def test_the_ways_through_name_files_that_exist():
    drawn = [block.text for block in blocks(PAGE)][1:]
    named = {name for text in drawn for name in re.findall(r"\b[a-z_]+/[\w/]+\.(?:py|sh)\b", text)}
    assert len(named) > 20
    assert not {name for name in named if not located(name).is_file()}


def test_the_page_stays_short():
    assert len(PAGE.read_text().split()) <= WORDS_MAX


def test_modules_of_the_package_import_each_other_relatively():
    absolute = re.compile(r"^\s*(from|import) snakemake_executor_plugin_osgpilot\b", re.M)
    assert not [path for path in PACKAGE.rglob("*.py") if absolute.search(path.read_text())]
