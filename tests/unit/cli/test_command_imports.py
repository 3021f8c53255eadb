"""Commands answer at once: each imports only what it needs."""

import json
import subprocess
import sys

import pytest
from histories import small_lines

from snakemake_executor_plugin_osgpilot.cli import main
from snakemake_executor_plugin_osgpilot.monitoring.history_file import HISTORY

PACKAGE = "snakemake_executor_plugin_osgpilot"
HEAVY = {
    "classad2",
    "htcondor2",
    "jinja2",
    "jsonschema",
    "pulp",
    "simpy",
    "snakemake",
    "sqlite3",
    "yaml",
}
OTHERS = {"executor", "htcondor", "local_pool", "pilots", "preview", "scaling_study", "simulator"}
"""Modules that commands which only read a run's history do not need."""

PROBE = """
import json, sys
from snakemake_executor_plugin_osgpilot.cli import main
try:
    main(sys.argv[1:], standalone_mode=False)
except (Exception, SystemExit):
    pass
print(json.dumps(list(sys.modules)))
"""


def imported(*argv):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *argv], capture_output=True, text=True, check=True
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "words", [["status", "--help"], ["status"], ["status", "--json"], ["runs"], ["cancel", "--yes"]]
)
def test_a_command_that_reads_the_history_imports_nothing_heavy(words, tmp_path):
    folder = tmp_path / ".snakemake" / "osgpilot" / "20260921-141320-abcdef"
    folder.mkdir(parents=True)
    (folder / HISTORY).write_text("".join(json.dumps(line) + "\n" for line in small_lines()))
    modules = imported(*words, "--dir", str(tmp_path))
    assert f"{PACKAGE}.cli.{words[0]}" in modules
    own = {name.split(".")[1] for name in modules if name.startswith(f"{PACKAGE}.")}
    assert not HEAVY & modules
    assert not OTHERS & own
    # the jobs of a run that is under way; a history has its own
    assert f"{PACKAGE}.jobs.state.table" not in modules


def test_a_likely_typo_of_a_command_is_reported():
    done = subprocess.run(
        [sys.executable, "-c", f"from {PACKAGE}.cli import main; main()", "staus"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Did you mean 'status'?" in done.stderr


def test_every_listed_command_exists():
    assert [main.commands[name].name for name in main.commands] == list(main.commands)
