"""The way of docs/tutorial/my-first-site.md: a site file from what Slurm tells, checked, used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

OSGPILOT = str(Path(sys.executable).with_name("osgpilot"))
KNOWN = [
    "--central-manager", "ap.localpool:9618", "--image", "/opt/sif/pilot.sif",
    "--project", "TestProject", "--site", "LocalPool", "--resource", "LocalPool-Slurm",
]  # fmt: skip


@pytest.fixture
def osgpilot(tmp_path):
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([OSGPILOT, *argv], capture_output=True, text=True, cwd=tmp_path)

    return run


def test_a_site_file_is_written_checked_and_used(osgpilot, workflow, tmp_path):
    assert osgpilot("site", "init", *KNOWN, "--force").returncode == 0
    assert osgpilot("site", "check").stdout == "site file site.yaml: no problem found\n"
    reported = osgpilot("doctor")
    assert reported.returncode == 0, reported.stdout
    assert "failed" not in reported.stdout
    workflow.snakefile('rule all:\n    output: "out"\n    shell: "hostname > {output}"\n')
    assert workflow.run(project=None) == 0, workflow.said


def test_a_file_that_is_there_is_kept(osgpilot, tmp_path):
    (tmp_path / "site.yaml").write_text("mine")
    refused = osgpilot("site", "init")
    assert refused.returncode == 1
    assert "site.yaml exists; --force" in refused.stderr
    assert (tmp_path / "site.yaml").read_text() == "mine"
    printed = osgpilot("site", "init", "--out", "-").stdout
    assert yaml.safe_load(printed)["partitions"][0]["name"] == "compute"


def test_what_the_cluster_does_not_have_is_reported_by_line_and_key(osgpilot, tmp_path):
    osgpilot("site", "init", *KNOWN)
    path = tmp_path / "site.yaml"
    path.write_text(path.read_text().replace("    cores: 4", "    cores: 40", 1))
    line = path.read_text().splitlines().index("    cores: 40") + 1
    reported = osgpilot("site", "check")
    assert reported.returncode == 1
    assert (
        f"line {line}: `partitions.0.cores` is 40: its largest node has 4 cores" in reported.stdout
    )
    assert osgpilot("site", "check", "--offline").returncode == 0
    path.write_text(path.read_text().replace("cores: 40", "cores: many"))
    assert f"line {line}: `partitions.0.cores` 'many'" in osgpilot("site", "check").stdout
