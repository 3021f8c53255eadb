"""The pages for users name commands that exist, and have an entry for whatever the doctor says."""

import re
import shlex
from pathlib import Path

import pytest

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.doctor import checks

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"
PAGES = ("tutorial/my-first-site.md", "how-to/troubleshooting.md", "how-to/doctor.md")


def commands():
    for page in PAGES:
        text = (DOCS / page).read_text().replace("\\\n", " ")
        shown = re.findall(r"^    (osgpilot .*)$", text, re.M) + re.findall(
            r"`(osgpilot .*?)`", text
        )
        yield from ((page, each) for each in dict.fromkeys(shown))


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_commands_and_options_exist(page, line):
    _, *words = shlex.split(line)
    group, context = main, None
    while words and words[0] in getattr(group, "commands", {}):
        name = words.pop(0)
        group = group.commands[name]
        context = group.make_context(name, list(words), parent=context, resilient_parsing=True)
    assert context is not None, f"{page}: {line}"


def test_every_name_that_the_doctor_says_has_its_entry():
    source = (ROOT / "snakemake_executor_plugin_osgpilot" / "doctor" / "node_report.py").read_text()
    names = {*checks.NAMES, "node-folder", *re.findall(r'"(node-[a-z]+)"', source)}
    entries = re.findall(r"^### (.*)$", (DOCS / "how-to/doctor.md").read_text(), re.M)
    assert names - set(re.findall(r"`(.*?)`", " ".join(entries))) == set()
