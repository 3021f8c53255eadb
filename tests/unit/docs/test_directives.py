"""The page of directives and languages names tests that exist, and leaves nothing out."""

import re
from pathlib import Path

import pytest
from snakemake import parser

from snakemake_executor_plugin_osgpilot.staging import scripts

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/directives.md").read_text()
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(test_\w+)`", PAGE)))
SUFFIXES = {"rmarkdown": ".Rmd", "python": ".py", "r": ".R", "julia": ".jl", "rust": ".rs"}
SUFFIXES |= {"bash": ".sh", "xonsh": ".xsh", "hy": ".hy"}
SUFFIXES |= {"jupyter_python": ".py.ipynb", "jupyter_r": ".r.ipynb"}


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_named_test_exists(file, test):
    assert re.search(rf"^def {test}\(", (ROOT / "tests/integration" / file).read_text(), re.M)


def test_every_row_names_a_test():
    rows = [row for row in PAGE.splitlines() if row.startswith("| `") or row.startswith("| check")]
    assert len(rows) > 30
    assert [row for row in rows if "::test_" not in row and "not tested" not in row] == []


@pytest.mark.parametrize(
    "directive", sorted({*parser.rule_property_subautomata, *parser.rule_run_subautomata})
)
def test_every_directive_of_a_rule_has_a_row(directive):
    assert f"`{directive}:`" in PAGE


@pytest.mark.parametrize("language", sorted({**scripts._LANGUAGES, **scripts._NOTEBOOKS}))
def test_every_language_has_a_row(language):
    assert f"(`{SUFFIXES[language]}`)" in PAGE
