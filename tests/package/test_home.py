"""The address of the repository is written by one script; links work wherever a page is shown."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from checkout import ROOT, copy_tracked

HOME = "https://github.com/someone/osgpilot"
SHOWN_ELSEWHERE = ("README.md", "docs/intro.md", "docs/further.md")


def set_home(checkout, address):
    return subprocess.run(
        [sys.executable, "docs/dev/set-home", address], cwd=checkout, capture_output=True, text=True
    )


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.fixture
def checkout(tmp_path):
    copy_tracked(tmp_path)
    return tmp_path


@pytest.mark.parametrize("addresses", [[HOME], ["https://github.com/first/name", HOME]])
def test_metadata_and_links_have_the_address(checkout, addresses):
    for address in addresses:
        assert set_home(checkout, address).returncode == 0
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    assert project["urls"]["Repository"] == HOME
    assert set(project["urls"]) == {"Repository", "Documentation", "Changelog", "Issues"}
    for url in project["urls"].values():
        assert url.startswith(HOME)
    assert f"repository-code: {HOME}" in (checkout / "CITATION.cff").read_text().splitlines()
    pages = {name: links((checkout / name).read_text()) for name in SHOWN_ELSEWHERE}
    for name, targets in pages.items():
        assert any(target.startswith(HOME) for target in targets) or name == "docs/intro.md"
        for target in targets:
            assert re.match(r"https?://|mailto:|#", target), (name, target)
            if target.startswith(f"{HOME}/"):
                path = re.sub(r"#.*", "", target.removeprefix(f"{HOME}/")).split("/", 2)
                assert path[:2] in (["blob", "main"], ["raw", "main"])
                assert (checkout / path[2]).exists(), (name, target)
    assert "first/name" not in "".join((checkout / name).read_text() for name in SHOWN_ELSEWHERE)


def test_a_wrong_address_changes_nothing(checkout):
    before = (checkout / "README.md").read_bytes()
    refused = set_home(checkout, "github.com/someone/osgpilot")
    assert refused.returncode == 1
    assert "no address like https://github.com/OWNER/NAME" in refused.stderr
    assert (checkout / "README.md").read_bytes() == before


def test_until_then_no_page_names_an_address_of_the_project():
    names = (Path(ROOT, name).read_text() for name in (*SHOWN_ELSEWHERE, "pyproject.toml"))
    assert not re.search(r"https?://[\w./-]+/snakemake-executor-plugin-osgpilot", "".join(names))
