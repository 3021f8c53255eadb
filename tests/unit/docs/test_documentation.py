"""Commands, options, settings and links in the documentation exist."""

from __future__ import annotations

import dataclasses
import re
import shlex
from pathlib import Path

import click
import pytest
from documentation import PAGES, ROOT, blocks, commands

import snakemake_executor_plugin_osgpilot
from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.config.settings import ExecutorSettings

PACKAGE = Path(snakemake_executor_plugin_osgpilot.__file__).parent
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SETTINGS = {
    "osgpilot-" + field.name.replace("_", "-") for field in dataclasses.fields(ExecutorSettings)
}
LANGUAGES = {"sh", "text", "yaml", "python", "html", "json", "toml"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_block_says_what_it_is(page: Path):
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block}: say after the fence what this is"
        if block.language == "sh":
            assert re.fullmatch(r"(killed|exits [1-9]|elsewhere \S.*)?", block.note), block


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_row_of_a_table_is_one_line_with_all_cells(page: Path):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for paragraph in re.findall(r"^\|.*(?:\n.+)*", text, re.MULTILINE):
        rows = paragraph.splitlines()
        # a bar divides cells even in code, unless it is escaped
        cells = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
        broken = [row for row, bars in zip(rows, cells, strict=True) if bars != cells[0]]
        assert broken == [], "a row is broken into lines, or has too many or too few cells"
        assert all(row.startswith("|") and row.endswith("|") for row in rows), paragraph


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_option_that_is_named_exists(page: Path):
    for line in commands(page):
        words = shlex.split(line.split("|")[0].split(" #")[0].split(" > ")[0])
        if words[0] == "osgpilot":
            known(line, words[1:])
        for word in words:
            if word.startswith("--osgpilot-"):
                assert word[2:].partition("=")[0] in SETTINGS, f"{word} in: {line}"


def known(line: str, words: list[str]) -> None:
    """Follow the words of a command line through our commands as far as they lead."""
    command: click.Command = main
    for word in words:
        if word == "--":
            return
        if word.startswith("-"):
            options = {name for option in command.params for name in option.opts}
            options |= {name for option in command.params for name in option.secondary_opts}
            assert word.partition("=")[0] in options | {"--help", "-h"}, f"{word} in: {line}"
        elif isinstance(command, click.Group):
            found = command.commands.get(word)
            assert found, f"there is no command {word}: {line}"
            command = found
        elif not command.params:
            return


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_setting_that_is_named_exists(page: Path):
    for name in re.findall(
        r"(?<![\w/-])(osgpilot-[a-z][a-z-]*[a-z])\b(?![-\w.])", page.read_text()
    ):
        if name not in PROGRAMS:
            assert name in SETTINGS, f"{name} in {page.name}"


PROGRAMS = {"osgpilot-job", "osgpilot-out", "osgpilot-in"}
"""Names of programs and folders of ours, which look like settings."""


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_within_the_documentation_leads_somewhere(page: Path):
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        found = (page.parent / path) if path else page
        assert found.exists(), f"{target} in {page.name}"
        if anchor:
            assert anchor in anchors(found), f"{target} in {page.name}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_source_file_that_is_named_exists(page: Path):
    text = page.read_text()
    named = re.findall(r"`((?:[\w-]+/)+[\w.-]+\.(?:py|sh|j2))`", text)
    named += re.findall(r"(?<![\w/])(tests/[\w/-]+\.(?:py|sh))\b", text)
    for name in named:
        assert any((place / name).is_file() for place in (ROOT, PACKAGE)), f"{name} in {page.name}"


def anchors(page: Path) -> set[str]:
    """Return the anchors that a renderer generates from a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
