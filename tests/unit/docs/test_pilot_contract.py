"""Each row of the contract of pilots names tests that exist."""

from __future__ import annotations

import re

import pytest
from documentation import ROOT

PAGE = ROOT / "docs/dev/pilot-contract.md"
TEST = re.compile(r"`(tests/[\w/.-]+\.py)::(\w+)`")


def rows() -> list[list[str]]:
    """Return the rows of all tables, without their heads."""
    lines = [line for line in PAGE.read_text().splitlines() if line[:1] == "|"]
    cells = [line.strip("|").split(" | ") for line in lines]
    return [row for row in cells if row[0].strip() != "the container" and row[0].strip(" -|")]


def test_there_are_rows():
    assert len(rows()) > 20


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0].strip()[:40])
def test_a_row_has_a_source_and_tests_that_exist(row):
    there, ours, tests = row
    assert re.search(r"\((P `|F `|supervisord|HTCondor)", there)
    assert ours.strip()
    named = TEST.findall(tests)
    assert named
    for file, name in named:
        assert f"\ndef {name}(" in (ROOT / file).read_text(), f"{file} has no {name}"
