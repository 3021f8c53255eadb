"""Pages are short, and no text has a phrase of the list in docs/dev/documentation.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from documentation import PAGES, ROOT

STYLE = ROOT / "docs/dev/documentation.md"
PACKAGE = ROOT / "snakemake_executor_plugin_osgpilot"
WORDS_MAX = 2500
WORD = re.compile(r"\S*\w\S*")

SOURCES = sorted(
    path for suffix in ("py", "sh", "json", "j2") for path in PACKAGE.rglob(f"*.{suffix}")
)


def phrases() -> Iterator[str]:
    """Yield the phrases in the first column of the word list."""
    table = STYLE.read_text().partition("| not | but |\n| --- | --- |\n")[2].partition("\n\n")[0]
    for row in table.splitlines():
        yield from (each.strip() for each in row.split("|")[1].split(","))


PHRASES = re.compile("|".join(rf"\b{re.escape(each)}\b" for each in phrases()), re.IGNORECASE)


def found_in(path: Path) -> list[str]:
    # a phrase may be broken by the end of a line, and that of a string or comment with it
    return PHRASES.findall(re.sub(r"[\s\"#]+", " ", path.read_text(encoding="utf-8")))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_word_list_is_read():
    assert {"mend", "in vain", "for ever"} <= set(phrases())
    assert PHRASES.search("it is  told".replace("  ", " "))


@pytest.mark.parametrize("page", [page for page in PAGES if page != STYLE], ids=name)
def test_a_page_is_short_and_in_plain_words(page: Path):
    assert found_in(page) == []
    assert len(WORD.findall(page.read_text())) <= WORDS_MAX


def test_names_of_tests_are_in_plain_words():
    files = sorted((ROOT / "tests").rglob("*.py"))
    names = [name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())]
    spoken = {name: PHRASES.findall(name.replace("_", " ")) for name in names}
    assert len(names) > 1000
    assert {name: found for name, found in spoken.items() if found} == {}


def test_messages_help_and_docstrings_are_in_plain_words():
    assert {name(path): found for path in SOURCES if (found := found_in(path))} == {}
