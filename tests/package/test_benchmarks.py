"""Benchmarks run by hand and seldom, so what they import is checked here."""

import subprocess
import sys

import pytest
from checkout import ROOT

SCRIPTS = [
    path.relative_to(ROOT).as_posix()
    for path in sorted((ROOT / "tests/benchmarks").glob("*.py"))
    if "argparse.ArgumentParser" in path.read_text()
]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_starts_as_the_test_command_starts_it(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
