"""The example workflow, as a newcomer runs it."""

import gzip
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "example-workflow"
RESULTS = EXAMPLE / "results"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )


def in_pool(*command: str) -> str:
    done = run("osgpilot", "pool", "exec", "--", *command)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def pool() -> Iterator[None]:
    """A pool that outlives the example, so that what it left there can be seen."""
    was_up = run("osgpilot", "pool", "status").returncode == 0
    yield
    if not was_up:
        run("osgpilot", "pool", "down")


@pytest.fixture(scope="module")
def output(pool: None) -> str:
    done = run(str(EXAMPLE / "run"), "--keep")
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("output")
def test_variants_are_called() -> None:
    with gzip.open(RESULTS / "variants.vcf.gz", "rt") as lines:
        variants = [line for line in lines if not line.startswith("#")]
    assert len(variants) > 50


def test_the_plot_is_drawn_where_the_last_line_says(output: str) -> None:
    plot = Path(output.splitlines()[-1].removeprefix("Plot: "))
    assert plot == RESULTS / "coverage.png"
    assert plot.read_bytes().startswith(b"\x89PNG")
