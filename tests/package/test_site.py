"""The site builds without a warning, and a link that leads nowhere is one."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from documentation import ROOT

NEEDED = ("docs", "CHANGELOG.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "pyproject.toml")


def build(checkout: Path, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, checkout / "docs/dev/build-site", out], capture_output=True, text=True
    )


def test_the_site_has_every_page_and_links_that_lead_somewhere(tmp_path):
    built = build(ROOT, tmp_path / "site")
    assert built.returncode == 0, built.stderr
    chapters = yaml.safe_load((ROOT / "docs/dev/site/toc.yaml").read_text())
    for page in (page for pages in chapters.values() for page in pages):
        assert (tmp_path / "site" / f"{page}.html").is_file()
    start = (tmp_path / "site/index.html").read_text()
    assert 'href="project/security.html"' in start
    assert "http" not in "".join(line for line in start.splitlines() if "<script" in line)


BROKEN = {
    "docs/faq.md": ("[gone](how-to/gone.md) [gone](how-to/upgrade.md#no-heading)", "no-heading"),
    "SECURITY.md": ("[gone](docs/faq.md#no-question)", "no-question"),
    "docs/orphan.md": ("# Orphan", "orphan.md"),
}


def test_a_broken_link_and_a_page_that_no_chapter_has_are_refused(tmp_path):
    for name in NEEDED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name)
    for page, (text, _) in BROKEN.items():
        with (tmp_path / page).open("a") as file:
            file.write(f"\n{text}\n")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode
    for complaint in ("how-to/gone.md", *(complaint for _, complaint in BROKEN.values())):
        assert complaint in built.stderr
