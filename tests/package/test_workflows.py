"""The workflows of the repository's host are well-formed, and run scripts that are there."""

import re
import subprocess
import sys

import pytest
import yaml
from checkout import ROOT

SCHEMAS = {
    "vendor.github-workflows": ".github/workflows/*.yml",
    "vendor.dependabot": ".github/dependabot.yml",
    "vendor.github-issue-forms": ".github/ISSUE_TEMPLATE/*.yml",
    "vendor.citation-file-format": "CITATION.cff",
}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_files_follow_the_schema_of_their_reader(schema):
    files = sorted(ROOT.glob(SCHEMAS[schema]))
    assert files
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, *files],
        capture_output=True, text=True,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stdout


def steps():
    for file in sorted(ROOT.glob(".github/workflows/*.yml")):
        for name, job in yaml.safe_load(file.read_text())["jobs"].items():
            for step in job["steps"]:
                if "run" in step:
                    yield pytest.param(step["run"], id=f"{file.stem}-{name}-{step['run'][:30]}")


@pytest.mark.parametrize("line", list(steps()))
def test_shell_lines_parse_and_name_scripts_of_the_repository(line):
    subprocess.run(["bash", "-n", "-c", line], check=True)
    for script in re.findall(r"(?:^|\s)((?:docs|tests|\.)/[\w/.-]+)", line):
        assert (ROOT / script).is_file()
    for script in re.findall(r"(?:^|\s)(\.?[\w/.-]*/run)\b", line):
        assert (ROOT / script).is_file()
        options = re.findall(rf"{re.escape(script)}.*?(--[a-z]+)", line)
        usage = subprocess.run(
            [ROOT / "tests/run", "--help"], capture_output=True, text=True
        ).stdout
        assert all(option in usage for option in options)
